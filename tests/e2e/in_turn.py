"""Commands of one app, one after another in one process: `python -m tests.e2e.in_turn APP [FILE] < COMMANDS`.

FILE gets what Kafka would have to allow them, as in `recording.py`.

Standard input has a JSON list of lists of arguments. Standard output gets, as its last line, the exit code and what was
printed of each. A process for each would spend most of its time on importing.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path

import click
from click.testing import CliRunner
from faust.cli.base import cli

from tests.e2e.recording import record


def commands(app: str) -> dict[str, list[str]]:
    """What an app has added to the commands of Faust: by name the choices of the argument `action`, or none."""
    before = set(cli.commands)
    import_module(app)
    return {name: _actions(cli.commands[name]) for name in set(cli.commands) - before}


def _actions(command: click.Command) -> list[str]:
    return [
        choice
        for parameter in command.params
        if parameter.name == "action" and isinstance(parameter.type, click.Choice)
        for choice in parameter.type.choices
    ]


if __name__ == "__main__":
    app = sys.argv[1]
    if sys.argv[2:] == ["--list"]:
        print(json.dumps(commands(app)))
    else:
        if len(sys.argv) > 2:
            record(Path(sys.argv[2]))
        import_module(app)
        runner, done = CliRunner(), []
        for arguments in json.load(sys.stdin):
            result = runner.invoke(cli, ["-A", app, *arguments])
            done.append([result.exit_code, result.output])
        print(json.dumps(done))
