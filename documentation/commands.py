"""Prints as JSON what `--help` says of each command of an app: `python -m documentation.commands MODULE`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator

import click
import msgspec
from faust.cli.base import cli


def below(path: tuple[str, ...], command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """A command, or those of a group, by name."""
    if isinstance(command, click.Group):
        for name, inner in sorted(command.commands.items()):
            yield from below((*path, name), inner)
    else:
        yield " ".join(path), command


def main() -> None:
    """Import the app, and print what click knows then."""
    [module] = sys.argv[1:]
    importlib.import_module(module)
    said = {}
    for name, command in sorted(cli.commands.items()):
        for path, found in below((name,), command):
            context = click.Context(found, info_name=f"faust -A {module} {path}", terminal_width=100)
            said[path] = found.get_help(context)
    sys.stdout.buffer.write(msgspec.json.encode(said))


if __name__ == "__main__":
    main()
