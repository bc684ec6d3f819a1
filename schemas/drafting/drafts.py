"""The run that writes schemas: the apps are made as ever, with drafts in place of the files that are missing.

An app does not start without its schemas, and what its classes are is known when it is made. So it is made in a process
in which this is said first, `sourced schemas write` or `faust -A <app> schemas write`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from aggregates.decider import Decider
from schemas.drafting.merging import Renamed
from schemas.drafting.plan import Plan, plan, renamed_of
from schemas.registry import DRAFTED

WRITE = ("schemas", "write")
RENAMED = "--renamed"


class Drafts:
    """The plans of the aggregate types that were made since."""

    def __init__(self, renamed: Renamed) -> None:
        self._renamed = renamed
        self.plans: dict[tuple[str | Path, str], Plan] = {}

    def add(self, decider: Decider[Any, Any, Any], schema_root: str | Path) -> None:
        """Plan the schemas of a type, from now on those that are loaded for it. Raises `SchemaError`."""
        key = schema_root, decider.type
        if key not in self.plans:
            self.plans[key] = plan(decider, schema_root, self._renamed)
            DRAFTED[key] = self.plans[key].schemas


_drafts: Drafts | None = None


def begin(renamed: Sequence[str]) -> Drafts:
    """From now on in this process schemas are drafted. `renamed` is as `renamed_of` takes it. Raises `SchemaError`."""
    global _drafts
    if _drafts is None:
        _drafts = Drafts(renamed_of(renamed))
    return _drafts


def drafting(argv: Sequence[str] = sys.argv) -> Drafts | None:
    """The drafts of this process, None where none are asked for. An app under `faust -A` is made before its command
    line is read, so the words are looked for here. Raises `SchemaError`."""
    if _drafts is None and any(tuple(argv[at : at + 2]) == WRITE for at in range(1, len(argv) - 1)):
        return begin(_values_of(RENAMED, argv))
    return _drafts


def _values_of(option: str, argv: Sequence[str]) -> list[str]:
    behind = [value for name, value in pairwise(argv) if name == option]
    return [*behind, *(word.partition("=")[2] for word in argv if word.startswith(f"{option}="))]
