"""Records of a changelog: what a local store keeps of a table, as it is put on Kafka for standbys and the next owner.

The tables of one aggregate type share a changelog, so a key names its table and what it is of it: a row, the place of
the table, or a key in quarantine. A value says the position that it was made at.

Kafka fences nobody: a worker that was stopped in the middle of a batch and has lost its partition since still puts its
records on the changelog, behind newer ones. Every record is a fold of the log up to its position, so the one with the
newest position is right, wherever it stands.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from projections.stores.rows import Changes, Checkpoint, Quarantined, head_of

log = logging.getLogger(__name__)

ROW, PLACE, QUARANTINED = b"R", b"P", b"Q"
"""In the first format these letters were small: such records are left alone."""
_FORMER = (b"r", b"p", b"q")
_END = b"\0"

_encode = msgspec.json.Encoder().encode
decode_place = msgspec.json.Decoder(Checkpoint).decode
decode_quarantined = msgspec.json.Decoder(Quarantined).decode


class Key(NamedTuple):
    """What a record is of: `kind` is `ROW`, `PLACE` (whose `key` is empty) or `QUARANTINED`."""

    table: str
    kind: bytes
    key: str


def key_of(table: str, kind: bytes, key: str = "") -> bytes:
    """The key of a record. Those of one table and kind stand together, in the order of their keys in UTF-8."""
    return table.encode() + _END + kind + key.encode()


def prefix_of(table: str, kind: bytes = b"") -> bytes:
    """What all keys of a table begin with, or those of one kind."""
    return table.encode() + _END + kind


def read_key(record_key: bytes) -> Key:
    """The opposite of `key_of`. Raises `ValueError` for what is none."""
    table, end, rest = record_key.partition(_END)
    if not end or not rest:
        raise ValueError(f"no key of a changelog: {record_key!r}")
    return Key(table.decode(), rest[:1], rest[1:].decode())


def records_of(changes: Mapping[str, Changes]) -> Iterator[tuple[bytes, bytes]]:
    """What became of tables as records: rows first, so that where a place is read, its rows are there."""
    for table, change in changes.items():
        rows = prefix_of(table, ROW)
        for key in change.rows:
            yield rows + key.encode(), change.value(key)
        for key, quarantined in change.quarantined.items():
            yield key_of(table, QUARANTINED, key), _encode(quarantined)
        yield key_of(table, PLACE), _encode(change.place)


def removal_of(table: str, keys: Iterable[bytes]) -> list[tuple[bytes, bytes | None]]:
    """What removes a table, whose records have these keys.

    Its place is first taken back to before its first event: who comes upon what is left when this is cut off, and wants
    the table after all, because old code has come back, must not go on from where it was. And it goes last, so that the
    table is found until then.
    """
    place = key_of(table, PLACE)
    back: list[tuple[bytes, bytes | None]] = [(place, None), (place, _encode(Checkpoint()))]
    return [*back, *((key, None) for key in keys if key != place), (place, None)]


def is_newer(kind: bytes, value: bytes | None, present: bytes | None) -> bool:
    """Whether a record is to replace what is there; not if its position is older."""
    if value is None or present is None:
        return True
    if kind == ROW:
        return head_of(value).at >= head_of(present).at
    if kind == PLACE:
        return decode_place(value).at >= decode_place(present).at
    return decode_quarantined(value).replaces(decode_quarantined(present))


def is_ours(key: bytes | None, value: bytes | None) -> bool:
    """Whether a record that was read is one that `records_of` or `removal_of` has made."""
    try:
        kind = read_key(key or b"").kind
        if value is not None:
            _READERS[kind](value)
    except (ValueError, KeyError, msgspec.DecodeError, RecursionError):  # nested without end, say
        return False
    return kind in _READERS


def ours(records: Iterable[tuple[bytes, bytes | None]], where: str) -> Iterator[tuple[bytes, bytes | None]]:
    """Of records that were read from a changelog, `where`, those that are ours: what a stranger has put there, or a
    former version, concerns no table."""
    strange = 0
    for key, value in records:
        if is_ours(key, value):
            yield key, value
        elif (key or b"").partition(_END)[2][:1] not in _FORMER:
            strange += 1
    if strange:
        log.warning("%s: %d records of the changelog are none of a table, and are left out", where, strange)


def _read_row(value: bytes) -> object:
    return head_of(value).at


_READERS: Mapping[bytes, Callable[[bytes], object]] = {
    ROW: _read_row,
    PLACE: decode_place,
    QUARANTINED: lambda value: decode_quarantined(value).at,
}
