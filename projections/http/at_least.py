"""The headers of a read that has to show one's own write: `At-Least`, and how long it may take."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable

from projections.http.etags import read_tag
from projections.http.problems import HttpProblem
from streams.journal.position import BadPosition, parse_commit, stream_name, stream_slice, stream_type

DEFAULT_WAIT = 5.0
LONGEST_WAIT = 60.0

_WAIT = re.compile(r'[ \t]*wait[ \t]*=[ \t]*("?)([0-9]+)\1[ \t]*', re.IGNORECASE)
_SHOWN = 100
"""Characters of a header that an answer repeats."""


class BadPositionHeader(HttpProblem):
    """400: `At-Least` or `Last-Event-ID` names no position; the detail says how one looks."""

    def __init__(self, detail: str) -> None:
        super().__init__(400, "Bad position", detail)


def read_at_least(text: str, partitions: int, types: Container[str]) -> tuple[str, int]:
    """Stream and commit number of a position, or of an ETag, strong or weak: it has the position of its row.

    Raises `BadPositionHeader`.
    """
    tag = read_tag(text.removeprefix("W/").strip('"'))
    try:
        stream, nr = parse_commit(text if tag is None else tag.position)
        type, partition = stream_type(stream), stream_slice(stream)
        if type in types and partition < partitions:
            return stream_name(type, partition), nr
    except BadPosition:
        pass
    shown = text if len(text) <= _SHOWN else text[:_SHOWN] + ".."
    raise BadPositionHeader(f"At-Least: {shown!r} is not a position like order-3:125, as a reply names it")


def read_all_at_least(values: Iterable[str], partitions: int, types: Container[str]) -> dict[str, int]:
    """By stream the newest commit that the headers name. Each header is a position, or several with commas between.

    Raises `BadPositionHeader`.
    """
    newest: dict[str, int] = {}
    for text in ",".join(values).split(","):
        stream, nr = read_at_least(text.strip(" \t"), partitions, types)
        newest[stream] = max(nr, newest.get(stream, 0))
    return newest


def read_wait(prefer: str, default: float = DEFAULT_WAIT) -> float:
    """Seconds of a header `Prefer: wait=SECONDS`, 60 at most; the default without one.

    Anything but a whole number of seconds (`nan`, `-1`, `1.5`, `3x`) is ignored, as RFC 7240 wants of a preference that
    a server does not know.
    """
    for part in prefer.replace(";", ",").split(","):
        if (wait := _WAIT.fullmatch(part)) is not None:
            return min(float(wait[2]), LONGEST_WAIT)
    return default
