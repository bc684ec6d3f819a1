"""How many commands have no reply yet, of each aggregate type."""

from __future__ import annotations

from collections import Counter


class UnansweredCount:
    """Each command counts once, from the first that is known of it until its reply, or until it is too old."""

    def __init__(self) -> None:
        self._commands: dict[str, tuple[str, int]] = {}
        self._count: Counter[str] = Counter()

    def __getitem__(self, type: str) -> int:
        return self._count[type]

    def __contains__(self, id: str) -> bool:
        return id in self._commands

    def add(self, id: str, type: str, at: int) -> bool:
        """A command was sent; `at` in milliseconds, and about in order. False when it counts already."""
        if id in self._commands:
            return False
        self._commands[id] = (type, at)
        self._count[type] += 1
        return True

    def remove(self, id: str) -> None:
        """It has its reply, or was not sent after all."""
        if (command := self._commands.pop(id, None)) is not None:
            self._count[command[0]] -= 1

    def remove_before(self, at: int) -> None:
        """Nobody waits any more for those that were sent before."""
        while self._commands:
            id, (_, its) = next(iter(self._commands.items()))
            if its >= at:
                return
            self.remove(id)
