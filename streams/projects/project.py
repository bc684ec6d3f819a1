"""A project: a folder whose `pyproject.toml` says with `[tool.sourced]` which apps it has.

    [tool.sourced]
    apps = ["orders.app", "orders.tables"]

Each app is the module after `faust -A`: a write side that `command_app` makes, or a read side.
"""

from __future__ import annotations

import sys
import tomllib
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

FILE = "pyproject.toml"
TABLE = "tool.sourced"


class ProjectError(Exception):
    """The project is not there, or its table is not as it must be; the message is for its developer."""


@dataclass(frozen=True, slots=True)
class Project:
    """A project.

    root   the folder with its `pyproject.toml`; its packages are below it
    apps   the modules of its apps, in the order in which they are written, at least one
    table  all of `[tool.sourced]`, for who has settings of his own there
    """

    root: Path
    apps: tuple[str, ...]
    table: dict[str, Any]

    def import_apps(self) -> dict[str, Any]:
        """The apps of the project by their modules, each the value `app` of its module. Raises `ProjectError`, and
        `SystemExit` where an app itself stops with a line for its user."""
        self.importable()
        return {name: self._import(name) for name in self.apps}

    def _import(self, name: str) -> Any:
        try:
            module = import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise  # something that the app itself imports
            raise ProjectError(
                f"{self.root / FILE}: there is no module {name}, which [{TABLE}] has as an app"
            ) from None
        if not hasattr(module, "app"):
            raise ProjectError(f"{name} has no `app`, as `app = command_app(__name__, ..)` makes it")
        return module.app

    def importable(self) -> None:
        """Let the modules of the project be imported, and before those of the same names elsewhere."""
        if sys.path[:1] != [str(self.root)]:
            sys.path.insert(0, str(self.root))


def find_project(start: Path | None = None) -> Project:
    """The project of a folder or of the nearest one above it, by default of the one where the process is.

    Raises `ProjectError`.
    """
    here = (start or Path.cwd()).absolute()
    for folder in (here, *here.parents):
        if (table := _table(folder / FILE)) is not None:
            return Project(folder, _apps(folder / FILE, table), table)
    raise ProjectError(
        f"no project in {here} or above it: its {FILE} has a table [{TABLE}], as `sourced new NAME` writes it"
    )


def _table(path: Path) -> dict[str, Any] | None:
    """The table of a file, None where there is none."""
    if not path.is_file():
        return None
    try:
        tools = tomllib.loads(path.read_text("utf-8")).get("tool", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProjectError(f"{path} is not TOML: {error}") from None
    table = tools.get("sourced")
    if table is not None and not isinstance(table, dict):
        raise ProjectError(f"{path}: [{TABLE}] is a table")
    return table


def _apps(path: Path, table: dict[str, Any]) -> tuple[str, ...]:
    apps = table.get("apps")
    if not isinstance(apps, list) or not apps or not all(isinstance(app, str) and app for app in apps):
        raise ProjectError(f'{path}: [{TABLE}] has no list of its apps, as in apps = ["orders.app"]')
    if twice := sorted({app for app in apps if apps.count(app) > 1}):
        raise ProjectError(f"{path}: [{TABLE}] has the app {twice[0]} twice")
    return tuple(apps)
