"""What commands print, and how they end."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from streams.cli.run import CliError, print_table, run, table
from streams.text import printable


def rendered(shown: Any) -> str:
    """A table as text."""
    console = Console(width=200)
    with console.capture() as capture:
        console.print(shown)
    return capture.get()


def test_nothing_steers_the_terminal() -> None:
    """Control characters of what others have sent are shown, not obeyed."""
    assert "a\\x1b[31mé\\n\\u202e" == printable("a\x1b[31mé\n\u202e")


def test_table_takes_text_as_it_is() -> None:
    """Square brackets are no markup, and a missing value is a dash."""
    assert ["a", "n", "[red]x", "-"] == rendered(table(["a", "n"], [["[red]x", None]], ["n"])).split()


def test_table_in_a_pipe_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """In a file or pipe each row is one line, however long, and nothing is cut off."""
    cells = ["a" * 200, "b " * 400 + "end"]
    print_table(["x", "y"], [cells])
    assert ["x" + " " * 201 + "y", "  ".join(cells)] == capsys.readouterr().out.splitlines()


def test_run_ends_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A command that stops prints its reason on stderr, nothing on stdout, and ends with its code."""

    async def stops() -> None:
        raise CliError(3, "no such thing")

    async def ends(code: int | None) -> int | None:
        return code

    assert 3 == run(stops())
    assert ("", "Error: no such thing\n") == capsys.readouterr()
    assert [0, 0, 4] == [run(ends(code)) for code in (None, 0, 4)]
