"""Pages that the code says of itself: settings, metrics, the command line."""

from __future__ import annotations

import ast
import inspect
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import get_type_hints

import msgspec

from streams.limits import Limits
from streams.observability.catalog import METRICS
from streams.security.access import KafkaAccess
from streams.security.secret import Secret
from streams.settings import URLS, Settings

APPS = {"a context's app": "streams.shop.orders", "the read side's app": "projections.shop.app"}
"""An app of each kind, whose commands are those of all of its kind."""
MADE = "Made of the code by `make docs`; do not edit.\n"


def pages() -> dict[str, str]:
    """The pages by their names beside those of `docs/`."""
    return {
        "reference/settings.md": settings(),
        "reference/metrics.md": metrics(),
        "reference/commands.md": commands(),
    }


def settings() -> str:
    """All settings, with what their place in the code says of them."""
    said = {name: text for kind in (Limits, KafkaAccess, Settings) for name, text in _attributes(kind)}
    ranges, defaults = Settings.ranges(), Settings()
    rows = []
    for name, hint in get_type_hints(Settings, include_extras=True).items():
        file = f", `{name.upper()}_FILE`" if hint is Secret or name in URLS else ""
        default = "" if hint is Secret else str(getattr(defaults, name))
        kind = f"{ranges[name].ge} to {ranges[name].le:,}" if name in ranges else ""
        cells = (f"`{name.upper()}`{file}", f"`{default}`" if default else "", kind, said.get(name, ""))
        rows.append(f"| {' | '.join(map(_cell, cells))} |")
    return (
        "# All settings\n\n" + MADE + "\nEnvironment variables, read once at the start. What they mean at length is in "
        "[operations](../operations.md#settings), and for those of access in [security](../security.md).\n\n"
        "| name | default | range | |\n|---|---|---|---|\n" + "\n".join(sorted(rows)) + "\n"
    )


def metrics() -> str:
    """All metrics of all workers."""
    rows = [
        f"| `{name}` | {metric.kind} | {_cell(', '.join(metric.labels))} | {_cell(metric.about)} |"
        for name, metric in sorted(METRICS.items())
    ]
    return (
        "# All metrics\n\n" + MADE + "\nAt `/metrics` of every worker: [observability](../observability.md).\n\n"
        "| name | kind | labels | |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"
    )


def commands() -> str:
    """The command line of each kind of app, as `--help` says it."""
    parts = ["# The command line in full\n\n" + MADE]
    for title, module in APPS.items():
        parts.append(f"\n## {title[0].upper()}{title[1:]}\n\nAs `faust -A {module}`.\n")
        for name, text in commands_of(module).items():
            parts.append(f"\n### {name}\n\n```text\n{text}\n```\n")
    return "".join(parts)


def commands_of(module: str) -> dict[str, str]:
    """By name what `--help` says of each command of an app. Asked in a process of its own: click has one table."""
    environment = {"PATH": os.defpath, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = [sys.executable, "-m", "documentation.commands", module]
    found = subprocess.run(run, env=environment, stdout=subprocess.PIPE, check=True)
    return msgspec.json.decode(found.stdout, type=dict[str, str])


def _attributes(kind: type) -> Iterator[tuple[str, str]]:
    """The names of a class's fields, and the text below each."""
    [found] = ast.parse(inspect.getsource(kind)).body
    assert isinstance(found, ast.ClassDef)
    for field, text in zip(found.body, [*found.body[1:], None], strict=True):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            is_text = isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
            yield field.target.id, str(text.value.value) if is_text else ""  # type: ignore[union-attr]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
