"""The console script `sourced`: what is done with a project as a whole, where `faust -A` is about one of its apps.

A further command is one line of `COMMANDS`. It is imported when it is asked for, so that `sourced --help` is quick and
a command needs only what it uses itself.
"""

from __future__ import annotations

import sys
from importlib import import_module

import click

from streams.projects.project import ProjectError

DISTRIBUTION = "sourced-streams"
ERROR, USAGE = 1, 2
"""Exit codes: the answer is no; wrong use."""

COMMANDS: dict[str, tuple[str, str]] = {
    "new": ("streams.projects.new:new", "Write a project: a context with an aggregate, rows and tests."),
    "add": ("streams.projects.new:add", "Add an aggregate, a process manager or a projection to it."),
    "schemas": (
        "streams.projects.schemas:schemas",
        "Write the schemas of its classes, check, sample and release them.",
    ),
    "dev": ("streams.dev.command:dev", "Run all apps of the project on this machine, without any server."),
}
"""By name the click command as `module:attribute`, and what it does in a line."""


class _Commands(click.Group):
    """A group whose commands are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help) for name, (_, help) in COMMANDS.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name=DISTRIBUTION, message="%(version)s")
def sourced() -> None:
    """Event-sourced contexts in Python: a new project, its schemas, its apps."""


def main() -> None:
    """Run the command line. What its user can mend is one line on stderr: 2 for wrong use, or the command's own
    code."""
    try:
        code = sourced.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(ERROR)
    except ProjectError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(USAGE)
    sys.exit(code)


if __name__ == "__main__":
    main()
