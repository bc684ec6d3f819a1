"""The headers of a read that has to show one's own write: `At-Least`, and how long it may take."""

from __future__ import annotations

from collections.abc import Container

DEFAULT_WAIT = 5.0
LONGEST_WAIT = 60.0


class BadPosition(Exception):
    """A header `At-Least` that names no stream and commit; the message says how one looks."""


def read_at_least(text: str, partitions: int, types: Container[str]) -> tuple[str, int]:
    """Stream and commit number of a position. Raises `BadPosition`."""
    parts = text.split(":")
    type_, _, partition = parts[0].rpartition("-")
    known = len(parts) in (2, 3) and type_ in types and partition.isdecimal() and int(partition) < partitions
    if known and all(part.isdecimal() and len(part) < 19 for part in parts[1:]):
        return f"{type_}-{int(partition)}", int(parts[1])
    raise BadPosition(f"At-Least: {text!r} is not a position like order-3:125, as a reply names it")


def read_wait(prefer: str, default: float = DEFAULT_WAIT) -> float:
    """Seconds of a header `Prefer: wait=SECONDS`; 5 without, unless told otherwise, and 60 at most."""
    for part in prefer.replace(";", ",").split(","):
        name, _, value = part.strip().partition("=")
        if name.lower() == "wait" and value.isdecimal():
            return min(float(value), LONGEST_WAIT)
    return default
