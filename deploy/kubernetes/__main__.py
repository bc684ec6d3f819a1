"""Writes the manifests of the apps of the Procfile beside this file, or says with `--check` which of them differ.

For apps of your own: `python -m deploy.kubernetes --procfile Procfile --into FOLDER`."""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
TEMPLATE = HERE / "worker.yaml.in"
_LINE = re.compile(r"(?P<name>[a-z][a-z0-9-]*): .*?faust -A (?P<app>\S+) worker .*?--web-port[ =](?P<port>\d+)")
READ_SIDE = "projections"
"""How the apps of the read side begin. Their workers keep tables, and ask those of the write side for the console."""


@dataclass(frozen=True)
class App:
    """One app, as a line of the Procfile says it."""

    name: str
    module: str
    port: int

    @property
    def storage(self) -> str:
        """Tables need room; a worker of the write side keeps a few small files."""
        return "20Gi" if self.module.startswith(READ_SIDE) else "1Gi"


def apps(procfile: str) -> list[App]:
    """The apps of a Procfile, in its order."""
    found = (_LINE.match(line) for line in procfile.splitlines())
    return [App(match["name"], match["app"], int(match["port"])) for match in found if match]


def manifest(app: App, template: str) -> str:
    """The manifest of one app. A line that ends in `# read side` is left out of the others."""
    values = {"name": app.name, "app": app.module, "port": str(app.port), "storage": app.storage}
    lines = []
    for line in template.splitlines():
        text, mark, _ = line.partition("  # read side")
        if not mark or app.module.startswith(READ_SIDE):
            lines.append(text)
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], "\n".join(lines) + "\n")


def main() -> int:
    """Write, or compare: 1 when a file is not as it would be written."""
    parser = argparse.ArgumentParser(prog="python -m deploy.kubernetes", description=__doc__)
    parser.add_argument("--procfile", type=Path, default=HERE.parents[1] / "Procfile", metavar="FILE")
    parser.add_argument("--into", type=Path, default=HERE, metavar="FOLDER")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    template = TEMPLATE.read_text("utf-8")
    stale = []
    for app in apps(options.procfile.read_text("utf-8")):
        file, text = options.into / f"{app.name}.yaml", manifest(app, template)
        if not options.check:
            file.write_text(text, "utf-8")
        elif not file.is_file() or file.read_text("utf-8") != text:
            stale.append(file.name)
    if stale:
        print(f"not as the template has them: {', '.join(stale)}: run python -m deploy.kubernetes", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
