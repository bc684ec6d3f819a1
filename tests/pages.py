"""What a reader of a page does: files that he writes, changes of them, commands, and what these print."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

STEP = re.compile(
    r"(?:^`(?P<file>[\w./]+)`:\n\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$"
    r"|(?P<restart>^End both workers with Ctrl-C)"
    r"|(?P<stop>^End the first worker)",
    re.DOTALL | re.MULTILINE,
)


@dataclass
class Step:
    """A block of a page: a file, a change of one, commands, a worker in a terminal of its own, or what commands print;
    or the order to end or to start again what runs."""

    kind: str
    text: str = ""
    file: str = ""


def steps(page: str) -> Iterator[Step]:
    """What the page tells to do, in its order."""
    for found in STEP.finditer(page):
        if found["restart"] or found["stop"]:
            yield Step("restart" if found["restart"] else "stop")
        elif found["file"]:
            yield Step("file", found["text"], found["file"])
        elif found["language"] == "bash":
            yield Step("worker" if serves(found["text"]) else "bash", found["text"])
        elif found["language"] != "mermaid":
            yield Step("diff" if found["language"] == "diff" else "output", found["text"])


def serves(commands: str) -> bool:
    """Whether commands run until Ctrl-C."""
    lines = commands.rstrip().splitlines()
    return " worker " in commands or bool(re.search(r"sourced dev( --\w+)*$", lines[-1]))
