"""The keys of a context, in memory: what its workers check commands with, and what its process managers sign with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from streams.principals.signature import Key


class ContextKeys(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a context has of one key of the system, in hex digits.

    opens    by aggregate type of the context the key of the type
    signs    by process manager of the context, and by type that it may send to, the key that it signs with

    Empty: the key is kept no longer.
    """

    opens: Mapping[str, str] = {}
    signs: Mapping[str, Mapping[str, str]] = {}


encode_keys = msgspec.json.Encoder().encode
_decode_keys = msgspec.json.Decoder(ContextKeys).decode
MOST_KEYS = 1_000


class KeyRing:
    """The keys that have been read, by id. Of those that are for a type the one signs that came last: several apps may
    hand out keys, which need not know the same types."""

    def __init__(self) -> None:
        self._keys: dict[str, ContextKeys] = {}
        self._of_types: dict[tuple[str, str], bytes] = {}

    def of_type(self, id: str, type: str) -> bytes | None:
        return self._of_types.get((id, type))

    def of_process(self, name: str, type: str) -> Key | None:
        for id, keys in reversed(self._keys.items()):
            if secret := keys.signs.get(name, {}).get(type):
                return Key(id, bytes.fromhex(secret))
        return None

    def take(self, record: Any) -> None:
        """Take in a record of the topic of keys. Raises `ValueError` for one that is none."""
        id, keys = (record.key or b"").decode(), _decode_keys(record.value or b"{}")
        if not id or ":" in id:
            raise ValueError(f"no id of a key: {id!r}")
        former = self._keys.get(id, ContextKeys())
        if not keys.opens:
            self._keys.pop(id, None)
            self._of_types = {place: secret for place, secret in self._of_types.items() if place[0] != id}
            return
        if id not in self._keys and len(self._keys) >= MOST_KEYS:
            raise ValueError(f"there are {MOST_KEYS} keys already")
        self._of_types |= {(id, type): bytes.fromhex(secret) for type, secret in keys.opens.items()}
        if keys.signs:  # of a new key they come when all who check have it
            self._keys.pop(id, None)
        # What was handed out before stays: another version, which hands out again, may know other types.
        names = {*former.signs, *keys.signs}
        signs = {name: {**former.signs.get(name, {}), **keys.signs.get(name, {})} for name in names}
        self._keys[id] = ContextKeys({**former.opens, **keys.opens}, signs)

    async def catch_up(self) -> None:
        """Nothing: whoever fills this ring has filled it."""
