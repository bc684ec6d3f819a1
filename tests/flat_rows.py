"""Rows as tests write them: one dict, with `position` and `sequence`; what a removed row leaves has `GONE` besides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from projections.stores.rows import StoredRow, decode_stored, encode_stored

GONE = "gone"
_HEAD = ("position", "sequence", "revision")


def stored(flat: Mapping[str, Any]) -> StoredRow:
    """Such a row as stores keep it."""
    head = {name: flat[name] for name in _HEAD if name in flat}
    row = {name: value for name, value in flat.items() if name not in _HEAD}
    return StoredRow(**head, row=None if GONE in row else row)


def flat(kept: StoredRow | bytes) -> dict[str, Any]:
    """The opposite, also of one that is encoded."""
    it = decode_stored(kept) if isinstance(kept, bytes) else kept
    head = {"position": it.position, "sequence": it.sequence, "revision": it.revision}
    return {**({GONE: True} if it.row is None else it.row), **{name: value for name, value in head.items() if value}}


def encoded(**fields: Any) -> bytes:
    """Such a row as it stands in a store or on a changelog."""
    return encode_stored(stored(fields))
