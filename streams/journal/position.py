"""Positions: where an event stands in its stream, and the text of that, `<stream>:<commit number>:<index>`.

A stream is all that happens in one slice of a type, `<type>-<slice>`: a partition of its topics. Its commits stand in
the log that has the slice, whose numbers they have. They rise within the stream, and need not be dense there.

Records, rows, headers and HTTP carry positions as text. All of it is made and read here, so that one text is a position
everywhere or nowhere.
"""

from __future__ import annotations

import re

import msgspec

_STREAM = r'[^/\s:"]+-[0-9]{1,9}'
PATTERN = _STREAM + ":[0-9]{1,18}:[0-9]{1,9}"
"""The regular expression of a position. A stream is `<aggregate type>-<slice>`."""
_position = re.compile(f"({_STREAM}):([0-9]{{1,18}}):([0-9]{{1,9}})").fullmatch
_commit = re.compile(f"({_STREAM}):([0-9]{{1,18}})(?::[0-9]{{1,9}})?").fullmatch
_SHOWN = 100
"""Characters of a text that an error repeats."""

Place = tuple[int, int]
"""A position without its stream, where that is known: commit number, from 1, and index in the commit, from 0."""
BEGINNING: Place = (0, -1)
"""Before all events of a stream."""


class BadPosition(ValueError):
    """A text that is no position."""


class Position(msgspec.Struct, frozen=True, order=True, gc=False):
    """Where an event stands: at `index` in commit `nr` of a stream. Positions of one stream have its order."""

    stream: str
    nr: int
    index: int

    @classmethod
    def parse(cls, text: str) -> Position:
        """The opposite of `str(position)`; leading zeros are passed over. Raises `BadPosition`."""
        match = _position(text)
        if match is None:
            raise _bad(text)
        stream, nr, index = match.groups()
        return cls(stream, int(nr), int(index))

    def __str__(self) -> str:
        return position_text(self.stream, self.nr, self.index)

    @property
    def place(self) -> Place:
        """Commit number and index."""
        return self.nr, self.index

    @property
    def slice(self) -> int:
        """The slice whose stream it is."""
        return stream_slice(self.stream)


def position_text(stream: str, nr: int, index: int) -> str:
    """The text of a position."""
    return f"{stream}:{nr}:{index}"


def parse_place(text: str) -> Place:
    """The place of a position, for those who read thousands a second. Raises `BadPosition`."""
    match = _position(text)
    if match is None:
        raise _bad(text)
    _, nr, index = match.groups()
    return int(nr), int(index)


def parse_commit(text: str) -> tuple[str, int]:
    """Stream and commit number of a position; the index may be missing, as in replies. Raises `BadPosition`."""
    match = _commit(text)
    if match is None:
        raise _bad(text)
    return match[1], int(match[2])


def stream_name(type: str, slice: int) -> str:
    """The stream of a slice."""
    return f"{type}-{slice}"


def stream_type(stream: str) -> str:
    """The aggregate type of a stream."""
    return stream.rpartition("-")[0]


def stream_slice(stream: str) -> int:
    """The slice whose stream it is."""
    return int(stream.rpartition("-")[2])


def _bad(text: str) -> BadPosition:
    shown = text if len(text) <= _SHOWN else text[:_SHOWN] + ".."
    return BadPosition(f"{shown!r} is not a position like order-3:125:0")
