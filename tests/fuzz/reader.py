"""What reads bytes from outside, and what it may raise over them."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis.strategies import SearchStrategy

MOST_SECONDS = 2.0
"""Of processor time for one input, with much to spare."""
MOST_BYTES = 32 * 1024 * 1024
BYTES_FOR_ONE = 400
"""Of memory for each byte that comes in; what Python's lists of one number take is about half of it."""


class TooMuch(Exception):
    """A reader takes more time or memory over an input than its size explains."""


@dataclass(frozen=True)
class Reader:
    """What reads, what it is given, what it may raise, and whether its memory is watched, which takes time."""

    name: str
    given: SearchStrategy[Any]
    read: Callable[[Any], Any]
    declared: tuple[type[Exception], ...] = ()
    watched: bool = False

    def hold(self, value: Any) -> None:
        """Read it. Raises what is not declared, and `TooMuch`."""
        began = time.thread_time()
        if self.watched:
            tracemalloc.start()
        try:
            self.read(value)
        except self.declared:
            pass
        finally:
            most = tracemalloc.get_traced_memory()[1] if self.watched else 0
            tracemalloc.stop()
        if (seconds := time.thread_time() - began) > MOST_SECONDS * (5 if self.watched else 1):
            raise TooMuch(f"{seconds:.1f} s")
        if most > MOST_BYTES + BYTES_FOR_ONE * _size(value):
            raise TooMuch(f"{most / 2**20:.0f} MB for {_size(value)} bytes")


def _size(value: Any) -> int:
    if isinstance(value, bytes | str):
        return len(value)
    if isinstance(value, tuple | list):
        return sum(map(_size, value))
    return 8
