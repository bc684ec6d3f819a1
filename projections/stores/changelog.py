"""Records of a changelog: the content of a local table on Kafka, for standbys and for the next owner.

The tables of one aggregate type share a changelog. So a key names its table and a kind of record: a row, the checkpoint
of the table, or a key in quarantine. A value says the position at which it was made.

Kafka fences nobody: a worker that was paused in the middle of a batch, and has lost its partition since, still puts its
records on the changelog, behind newer ones. Every record is a fold of the log up to its position, so the record with
the newest position is right, wherever it stands.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from projections.stores.rows import Changes, Checkpoint, Quarantined, head_of
from streams.notices import warn

log = logging.getLogger(__name__)

ROW, PLACE, QUARANTINED = b"R", b"P", b"Q"
_END = b"\0"

_encode = msgspec.json.Encoder().encode
decode_place = msgspec.json.Decoder(Checkpoint).decode
decode_quarantined = msgspec.json.Decoder(Quarantined).decode


class Key(NamedTuple):
    """The key of a record, taken apart: `kind` is `ROW`, `PLACE` (whose `key` is empty) or `QUARANTINED`."""

    table: str
    kind: bytes
    key: str


def key_of(table: str, kind: bytes, key: str = "") -> bytes:
    """The key of a record. The keys of one table and kind stand together, in the order of UTF-8."""
    return table.encode() + _END + kind + key.encode()


def prefix_of(table: str, kind: bytes = b"") -> bytes:
    """The beginning of all keys of a table, or of its keys of one kind."""
    return table.encode() + _END + kind


def read_key(record_key: bytes) -> Key:
    """The opposite of `key_of`. Raises `ValueError` for bytes that are no such key."""
    table, end, rest = record_key.partition(_END)
    if not end or not rest:
        raise ValueError(f"no key of a changelog: {record_key!r}")
    return Key(table.decode(), rest[:1], rest[1:].decode())


def records_of(changes: Mapping[str, Changes]) -> Iterator[tuple[bytes, bytes]]:
    """The changes of tables as records: rows first, so that a reader who has the checkpoint has its rows."""
    for table, change in changes.items():
        rows = prefix_of(table, ROW)
        for key in change.rows:
            yield rows + key.encode(), change.value(key)
        for key, quarantined in change.quarantined.items():
            yield key_of(table, QUARANTINED, key), _encode(quarantined)
        yield key_of(table, PLACE), _encode(change.place)


def removal_of(table: str, keys: Iterable[bytes]) -> list[tuple[bytes, bytes | None]]:
    """The records that remove a table, whose records have these keys.

    First the checkpoint is taken back to before the first event: if the removal is cut off, and old code comes back and
    wants the table, that code must not go on from the former checkpoint. The checkpoint is removed last, so that the
    table is found until then.
    """
    place = key_of(table, PLACE)
    back: list[tuple[bytes, bytes | None]] = [(place, None), (place, _encode(Checkpoint()))]
    return [*back, *((key, None) for key in keys if key != place), (place, None)]


def is_newer(kind: bytes, value: bytes | None, present: bytes | None) -> bool:
    """Whether a record replaces the one that is present: not if its position is older."""
    if value is None or present is None:
        return True
    if kind == ROW:
        return head_of(value).at >= head_of(present).at
    if kind == PLACE:
        return decode_place(value).at >= decode_place(present).at
    return decode_quarantined(value).replaces(decode_quarantined(present))


def is_ours(key: bytes | None, value: bytes | None) -> bool:
    """Whether a record was made by `records_of` or `removal_of`."""
    try:
        kind = read_key(key or b"").kind
        if value is not None:
            _READERS[kind](value)
    except (ValueError, KeyError, msgspec.DecodeError, RecursionError):  # the last for endless nesting
        return False
    return kind in _READERS


def ours(records: Iterable[tuple[bytes, bytes | None]], where: str) -> Iterator[tuple[bytes, bytes | None]]:
    """The records of a changelog, called `where`, that were made here. A record of a stranger or of a former version
    concerns no table."""
    strange = 0
    for key, value in records:
        if is_ours(key, value):
            yield key, value
        else:
            strange += 1
    if strange:
        text = "%s: %d records of the changelog are none of a table, and are left out"
        warn(log, "strangers-record", where, text, where, strange)


def _read_row(value: bytes) -> object:
    return head_of(value).at


_READERS: Mapping[bytes, Callable[[bytes], object]] = {
    ROW: _read_row,
    PLACE: decode_place,
    QUARANTINED: lambda value: decode_quarantined(value).at,
}
