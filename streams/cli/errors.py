"""How a command of the command line ends: its exit code, and the line that says why."""

from __future__ import annotations

DONE, ERROR, USAGE, REJECTED, FAILED, NO_REPLY = range(6)
"""Exit codes. DONE: as asked. ERROR: the answer is no, or a server does not answer. USAGE: wrong use. The others
are outcomes of a command that was sent."""


class CliError(Exception):
    """Ends a command with one line on stderr and an exit code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
