"""What is personal in a row, opened for who may read the row: a row itself has the sealed form alone.

| in the row | in the answer |
|---|---|
| `{"sealed": ".."}` | the value |
| the same, of somebody who was forgotten | `{"erased": true}` |
| the same, where its key does not open it | as it is |
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal, NamedTuple, TypedDict

import msgspec

from aggregates.personal import Erased, Known
from schemas.sealing import GONE, TOKEN, Sealer, opened, sealed_of, with_keys

_MARK = b'{"' + TOKEN.encode() + b'":'


class ErasedValue(TypedDict):
    """Stands for a personal value of somebody who was forgotten."""

    erased: Literal[True]


class OpenedRow(NamedTuple):
    """The JSON of a row, and how many of its values were erased: that makes another representation of it."""

    json: bytes
    erased: int = 0

    @property
    def mark(self) -> bytes:
        """What the digest of the row as it is kept has behind it."""
        return b"erased %d" % self.erased if self.erased else b""


async def opened_row(json: bytes, sealer: Sealer | None) -> OpenedRow:
    """The JSON of a row with what is personal opened. Raises what the stores of keys raise."""
    if sealer is None or _MARK not in json:
        return OpenedRow(json)
    row = msgspec.json.decode(json)
    return await with_keys(sealer, partial(_opened, row, sealer))


def _opened(row: Any, sealer: Sealer) -> OpenedRow:
    erased = 0

    def of(value: Any) -> Any:
        nonlocal erased
        if type(value) is list:
            return [of(item) for item in value]
        if type(value) is not dict:
            return value
        if len(value) == 1 and isinstance(text := value.get(TOKEN), str):
            try:
                held = opened(sealed_of(text), sealer)
            except ValueError:  # of another journal, say: who looks is to see that it is there
                return value
            if isinstance(held, Known):
                return held.value
            assert isinstance(held, Erased)
            value = {GONE: True}
        if value == {GONE: True}:
            erased += 1
            return value
        return {name: of(item) for name, item in value.items()}

    shown = of(row)
    return OpenedRow(msgspec.json.encode(shown), erased)
