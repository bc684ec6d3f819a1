"""`sourced schemas`: the schemas of all apps of a project, as `faust -A <app> schemas` has those of one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from schemas.drafting import drafts
from streams.cli.run import DONE, CliError
from streams.cli.schemas import FOLDER, SAMPLES, run_check, run_lock, run_sample, run_write
from streams.projects.project import find_project
from streams.runtime.preparation import stop_on_user_error


@click.group()
def schemas() -> None:
    """The schemas of all apps of the project, below whose folder this is said. No server is needed.

    They are changed in this order: write, check, sample, lock.
    """


@schemas.command()
@click.option("--check", "dry", is_flag=True, help="Say what would be written, and write nothing.")
@click.option(
    drafts.RENAMED, multiple=True, metavar="OLD=NEW", help="A record was renamed, or with Record.old=new a field."
)
def write(dry: bool, renamed: tuple[str, ...]) -> None:
    """Make the schema of each command and event from its class, and the next version where the class has changed.

    It says what a change means and what it needs. What is released, in schemas.lock, stays as it is. With
    `released = false` in [tool.sourced] the files of classes that are gone are removed.

    Exit code: 1 when something is wrong, with --check also when there is something to write; 2 wrong use.
    """
    with stop_on_user_error():
        drafts.begin(renamed)
    unreleased = find_project().table.get("released") is False
    _end(lambda types: run_write(dry, unreleased))


@schemas.command()
def check() -> None:
    """Say what would break whom, and what to do. Exit code: 1 when something would; 2 wrong use.

    With `released = false` in [tool.sourced] it is no problem that nothing is released, as long as nothing is.
    """
    unreleased = find_project().table.get("released") is False
    _end(lambda types: run_check(types, unreleased))


@schemas.command()
@click.option("--folder", type=FOLDER, default=SAMPLES, metavar="FOLDER", help="Where the samples are kept.")
@click.option("--update", is_flag=True, help="Also what older ones read as now.")
def sample(folder: Path, update: bool) -> None:
    """Store what new versions write, for the tests of later code. Exit code: 1 when one is missing; 2 wrong use."""
    _end(lambda types: run_sample(types, folder, update))


@schemas.command()
def lock() -> None:
    """Release what is new, when nothing else is wrong. Exit code: 1 when something is; 2 wrong use."""
    _end(run_lock)


def _end(action: Any) -> None:
    """End the process with the code of an action on the types of all apps."""
    types: dict[str, Any] = {}
    for app in find_project().import_apps().values():
        types |= app.types
    try:
        code = action(types)
    except CliError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(error.code)
    sys.exit(code or DONE)
