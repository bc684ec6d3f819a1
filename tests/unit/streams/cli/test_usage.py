"""The help of each command, and arguments that will not do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from click.testing import CliRunner
from faust.cli.base import cli

from streams.cli.main import register
from streams.journal.memory import MemoryStore
from tests.unit.streams.cli.orders_context import FakeContext


class FakeApp:
    """Keeps what is registered."""

    module = "streams.shop.orders"

    def __init__(self) -> None:
        self.classes: dict[str, Any] = {}

    def command(self, *options: Any, base: Any) -> Callable[[Any], Any]:
        """Like Faust's."""

        def decorate(function: Any) -> Any:
            self.classes[function.__name__] = base.from_handler(*options)(function)
            return self.classes[function.__name__]

        return decorate


COMMANDS = ["send", "show", "history", "lag", "setup", "dead-letters", "quarantine", "token", "audit"]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_teaches(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The help of each command has an example that can be typed, and its exit codes."""
    monkeypatch.setattr(cli, "commands", dict(cli.commands))
    register(FakeApp(), {"order": FakeContext(MemoryStore())})  # type: ignore[dict-item]
    text = CliRunner().invoke(cli.commands[name], ["--help"]).output
    assert f" {name}" in text.partition("faust -A ")[2].partition("\n")[0]
    assert "Exit code" in text


@pytest.mark.parametrize(
    "arguments",
    [
        ["send", "order", "1"],
        ["send", "order", "1", "X", "{}", "--wait", "-1"],
        ["show", "order", "1", "--at", "0"],
        ["dead-letters", "burn", "order", "0:1"],
        ["dead-letters", "list", "order", "--limit", "0"],
        ["lag", "more"],
        ["quarantine", "lift", "order", "1"],
    ],
    ids=" ".join,
)
def test_wrong_use(arguments: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing, superfluous and impossible arguments end with 2 before anything is done."""
    monkeypatch.setattr(cli, "commands", dict(cli.commands))
    register(FakeApp(), {"order": FakeContext(MemoryStore())})  # type: ignore[dict-item]
    result = CliRunner().invoke(cli.commands[arguments[0]], list(arguments[1:]))
    assert 2 == result.exit_code, result.output
