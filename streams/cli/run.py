"""What all commands of the command line share: their options, how they run and end, and how they print."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

import click
from faust.cli import AppCommand
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streams.aggregate_type import AggregateType
from streams.settings import Settings
from streams.text import printable

DONE, ERROR, USAGE, REJECTED, FAILED, NO_REPLY = range(6)
"""Exit codes. DONE: as asked. ERROR: the answer is no, or a server does not answer. USAGE: wrong use. The others
are outcomes of a command that was sent."""

SECONDS = click.FloatRange(min=0, max=86_400)
"""The type of an option for a time to wait, in seconds."""

_UNLIMITED_WIDTH = 10_000
_LAST_COLUMN = 40
_GAP = 2


class CliError(Exception):
    """Ends a command with one line on stderr and an exit code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class CliCommand(AppCommand):  # type: ignore[misc]
    """A command on a plain event loop: in Faust's worker it would log, and take a second to shut down."""

    abstract = True

    def run_using_worker(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise SystemExit(run(self.run(*self.args, *args, **{**self.kwargs, **kwargs})))


class TypesCommand(CliCommand):
    """A command of an app that has aggregate types.

    types        the app's aggregate types by name, at least one
    more_set_up  makes what else the app needs, and yields a line for each. Raises `CliError`
    """

    abstract = True
    types: ClassVar[Mapping[str, AggregateType]]
    more_set_up: ClassVar[Sequence[Callable[[], AsyncIterator[str]]]]

    @property
    def settings(self) -> Settings:
        return next(iter(self.types.values())).settings

    def type_named(self, name: str) -> AggregateType:
        """The aggregate type of that name. Raises `CliError` when the app has no such type."""
        return type_named(self.types, name, self.app.module)


@dataclass(frozen=True)
class Subcommand:
    """A function that is a command of its own name, with its arguments and options."""

    function: Callable[..., Coroutine[Any, Any, int | None]]
    options: Sequence[Any]


def command(*options: Any) -> Callable[[Callable[..., Coroutine[Any, Any, int | None]]], Subcommand]:
    """Makes a function, whose `self` is a `TypesCommand`, a command with these arguments and options."""
    return lambda function: Subcommand(function, options)


def add_commands(
    app: Any,
    commands: Iterable[Subcommand],
    types: Mapping[str, AggregateType],
    more_set_up: Sequence[Callable[[], AsyncIterator[str]]] = (),
) -> None:
    """Add these commands to an app that has these aggregate types."""
    base = type("AppCommand", (TypesCommand,), {"abstract": True, "types": types, "more_set_up": more_set_up})
    for command in commands:
        app.command(*command.options, base=base)(command.function)


def type_named(types: Mapping[str, AggregateType], name: str, module: str) -> AggregateType:
    """One of the aggregate types of the app `module`. Raises `CliError` when it has no such type."""
    if name in types:
        return types[name]
    here = f"this app has {', '.join(sorted(types))}"
    project = module.split(".")
    if project[0] == "projections" or len(project) < 3:
        raise CliError(USAGE, f"no aggregate type {name}: {here}")
    raise CliError(
        USAGE, f"no aggregate type {name} here: {here}; `faust -A projections.{project[1]}.app` has all types"
    )


def run(work: Coroutine[Any, Any, int | None]) -> int:
    """Run a command to its end; its exit code. What goes wrong becomes one line, not a stack trace."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # its errors reach the user as one sentence instead
    try:
        code = asyncio.run(work) or DONE
        sys.stdout.flush()
        return code
    except CliError as stop:
        click.echo(f"Error: {stop}", err=True)
        return stop.code
    except BrokenPipeError:  # `history .. | head`: the reader has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE


def indented(value: object) -> str:
    """JSON on several lines."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def compact(value: object) -> str:
    """JSON on one line."""
    return json.dumps(value, ensure_ascii=False)


def table(columns: Iterable[str], rows: Iterable[Sequence[object]], numbers: Iterable[str] = ()) -> Table:
    """A plain table; only its last column may be broken into lines, the columns in `numbers` stand to the right."""
    names, right = list(columns), set(numbers)
    cells = [["-" if cell is None else printable(str(cell)) for cell in row] for row in rows]
    result = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0))
    for index, name in enumerate(names):
        width = max(cell_len(text) for text in [name, *(row[index] for row in cells)])
        last = index == len(names) - 1
        result.add_column(
            name.replace("_", " "),
            justify="right" if name in right else "left",
            min_width=min(width, _LAST_COLUMN) if last else width,
            no_wrap=not last,
            overflow="fold",
        )
    for row in cells:
        result.add_row(*map(Text, row))
    return result


def print_rows(
    columns: Iterable[str],
    rows: Sequence[Sequence[object]],
    numbers: Iterable[str] = (),
    *,
    none: str,
    title: str = "",
    more: str = "",
) -> None:
    """A table under its `title`, with the line `more` below it; or `none`, which says that there are no rows."""
    if not rows:
        click.echo(none)
        return
    if title:
        click.echo(title)
    print_table(columns, rows, numbers)
    if more:
        click.echo(more)


def print_table(columns: Iterable[str], rows: Iterable[Sequence[object]], numbers: Iterable[str] = ()) -> None:
    """A table to stdout: as wide as the terminal if it can be, and in a file or pipe as wide as it needs to be."""
    shown = table(columns, rows, numbers)
    console = Console(file=sys.stdout)
    least = sum((column.min_width or 0) + _GAP for column in shown.columns)
    width = max(console.width, least) if console.is_terminal else _UNLIMITED_WIDTH
    console = Console(file=sys.stdout, width=width)
    with console.capture() as capture:
        console.print(shown)
    click.echo("\n".join(line.rstrip() for line in capture.get().splitlines()))
