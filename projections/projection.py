"""A projection as a value: which events make which rows. It knows nothing of storage."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, is_dataclass
from math import isfinite
from typing import Any, is_typeddict

import msgspec

from aggregates.personal import PersonalForm
from schemas.sealing import from_plain
from schemas.sealing import plain as as_sealed
from streams.journal.position import position_text

Row = dict[str, Any]
"""In plain JSON values: None, bool, int, finite float, str, list, and dict with str as keys."""


class PublishedEvent(msgspec.Struct, frozen=True, gc=False):
    """An event as consumers see it: `event` is an object of the newest version of its class, `type` that class's name.

    One that was stored before its class was split comes as several, all with its sequence and its position.
    `correlation_id` is that of the command which caused it.
    """

    event: Any
    type: str
    aggregate_id: str
    sequence: int
    time: str
    stream: str
    nr: int
    index: int
    correlation_id: str = ""

    @property
    def position(self) -> str:
        """Its place in the journal, `<stream>:<commit number>:<index>`."""
        return position_text(self.stream, self.nr, self.index)


def _by_aggregate(event: PublishedEvent) -> Iterable[str]:
    return (event.aggregate_id,)


@dataclass(frozen=True)
class Projection:
    """Rows folded from the events of one aggregate type.

    `keys(event)` names the rows an event touches, by default the one of its aggregate. `evolve(row, key,
    event)` returns the row after the event, None to have none (any more). It must not change the row it is given.

    A row is a dict of plain JSON values; what is none raises `RowError` at once, since the row that `evolve` gets next
    would not be the one that it has returned. With `row`, a dataclass, a TypedDict or a msgspec.Struct, `evolve` gets
    and returns rows of that type, with whatever msgspec can convert to JSON and back: decimals, times, enums, tuples.
    They are converted for each event, so it never matters whether the row was read from a store in between.

    What is personal in an event comes sealed, and stands so in the row: as `{"sealed": ".."}`, of which the text is
    another one in each event; `evolve` may pass it on, and not look at it.

    `local` rows may be touched by any events of their partition, and by only some of an aggregate's. Where their keys
    are not those of aggregates they are partial: each partition of the events keeps its own, and a query adds them up,
    so that what runs over many aggregates is as exact as what runs over one.
    """

    name: str
    version: int
    source: str
    evolve: Callable[[Any, str, PublishedEvent], Any]
    keys: Callable[[PublishedEvent], Iterable[str]] = _by_aggregate
    local: bool = False
    row: Any = None

    def __post_init__(self) -> None:
        if not (self.row is None or is_dataclass(self.row) or is_typeddict(self.row) or _is_struct(self.row)):
            raise ValueError(f"projection {self.name}: rows are a dataclass, a TypedDict or a Struct, not {self.row!r}")

    def after(self, row: Row | None, key: str, event: PublishedEvent) -> Row | None:
        """A row after an event. Raises what `evolve` raises, and `RowError`."""
        if self.row is not None:
            return self._after(row, key, event)
        evolved = self.evolve(row, key, event)
        if evolved is None:
            return None
        if type(evolved) is not dict:
            raise RowError(f"a row is a dict, not {_a(evolved)}")
        if evolved is not row:
            try:
                _require_plain(evolved, row, "")
            except RowError:
                evolved = _with_sealed(evolved)
                _require_plain(evolved, row, "")
        result: Row = evolved
        return result

    def _after(self, row: Row | None, key: str, event: PublishedEvent) -> Row | None:
        given = None if row is None else msgspec.convert(row, self.row, str_keys=True, dec_hook=from_plain)
        evolved = self.evolve(given, key, event)
        if evolved is None:
            return None
        encoded = msgspec.json.encode(evolved, enc_hook=as_sealed)
        plain = msgspec.json.decode(encoded)
        try:
            if type(plain) is not dict:
                raise RowError(f"a row is an object in JSON, not {_a(evolved)}")
            msgspec.convert(plain, self.row, str_keys=True, dec_hook=from_plain)
        except msgspec.ValidationError as error:
            raise RowError(f"the row is not what its type says: {error}") from None
        return plain


def _with_sealed(value: Any) -> Any:
    """A row with what is personal in the form in which rows keep it: sealed."""
    if isinstance(value, PersonalForm):
        return as_sealed(value)
    if type(value) is dict:
        return {name: _with_sealed(item) for name, item in value.items()}
    return [_with_sealed(item) for item in value] if type(value) is list else value


def _is_struct(row: Any) -> bool:
    return isinstance(row, type) and issubclass(row, msgspec.Struct)


class RowError(TypeError):
    """A row that would not be the same when it is read again."""


_SCALARS = frozenset((str, bool, type(None)))


def _require_plain(value: Any, former: Any, where: str) -> None:
    """Raise `RowError` unless a dict or list holds plain JSON values. What it shares with the `former` one does."""
    if type(value) is dict:
        known = former if type(former) is dict else {}
        for name, item in value.items():
            if type(name) is not str:
                raise RowError(f"{where or 'the row'} has the key {name!r:.40}, {_a(name)}: keys of JSON are str")
            if type(item) not in _SCALARS and (item is not known.get(name)):
                _require_plain_item(item, known.get(name), f"{where}.{name}" if where else name)
    else:
        count = len(former) if type(former) is list else 0
        for index, item in enumerate(value):
            before = former[index] if index < count else None
            if type(item) not in _SCALARS and item is not before:
                _require_plain_item(item, before, f"{where}[{index}]")


def _require_plain_item(item: Any, former: Any, where: str) -> None:
    kind = type(item)
    if kind is dict or kind is list:
        _require_plain(item, former, where)
    elif kind is int:
        if not -(1 << 63) <= item < 1 << 64:
            raise RowError(f"{where} is an int of more than 64 bits: keep it as a str")
    elif kind is not float:
        raise RowError(f"{where} is {_a(item)}: return plain JSON, or declare the type of rows: Projection(row=..)")
    elif not isfinite(item):
        raise RowError(f"{where} is {item}: JSON has no such number")


def _a(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
