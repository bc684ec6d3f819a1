"""given / when / then, for all that is pure: deciders, process managers, projections and upcasters.

given(order, OrderOpened(..)).when(PlaceOrder()).then(rejected("EmptyOrder"))
given(checkout).when(happened("order", "17", OrderPlaced(..))).then(Send("product", ..))
given(orders, OrderOpened(..)).when(OrderPlaced(..)).then_row("1", {"status": "placed", ..})
given(customers, ("user", "1", UserRegistered(..)), ("order", "17", OrderPlaced(..))).then_row("1", Customer(..))
given(Upcasting(order, SCHEMAS)).when(Written("OrderOpened", 1, {..})).then(OrderOpened(..))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

import msgspec

from aggregates import specification
from aggregates.decider import Decider
from aggregates.differences import require_same
from aggregates.process_manager import ForeignEvent, ProcessManager
from aggregates.specification import Given, GivenProcess
from projections.projection import Projection
from projections.views.join import Join
from schemas.codec import Codec, Undecodable
from schemas.fit import fitted
from schemas.formats import AVRO
from schemas.registry import Schema, Schemas
from sourced.testing.joined import joined_rows
from sourced.testing.rows import FoldedRows, in_sequence

C = TypeVar("C")
E = TypeVar("E")
S = TypeVar("S")


@dataclass(frozen=True)
class Upcasting(Generic[E]):
    """How the stored events of a decider are read today, with the schemas and upcasters of this folder."""

    decider: Decider[Any, E, Any]
    schemas: str | Path


@dataclass(frozen=True)
class Written:
    """An event as code of another day has written it: its name and version then, and its fields."""

    name: str
    version: int
    fields: Mapping[str, Any]


@overload
def given(subject: Decider[C, E, S], *events: E) -> Given[C, E, S]: ...
@overload
def given(subject: ProcessManager[C, E, S], *events: E | ForeignEvent | tuple[str, C]) -> GivenProcess[C, E, S]: ...
@overload
def given(subject: Projection, *events: object) -> GivenRows: ...
@overload
def given(subject: Join, *events: tuple[str, str, object]) -> GivenJoined: ...
@overload
def given(subject: Upcasting[E]) -> GivenUpcasting[E]: ...
def given(subject: Any, *events: Any) -> Any:
    """What is tested, and what was before.

    decider          its events
    process manager  what it has heard, and commands to its processes as (process id, command); or its own events
    projection       events of its type, of the aggregate "1" or of another one as (aggregate id, event)
    join             events of both types, as (aggregate type, aggregate id, event)
    """
    if isinstance(subject, Join):
        return GivenJoined(subject, events)
    if isinstance(subject, Projection):
        return GivenRows(subject, events)
    if isinstance(subject, Upcasting):
        return GivenUpcasting(subject)
    return specification.given(subject, *events)


def happened(source: str, id: str, event: object) -> ForeignEvent:
    """An event of another aggregate as a process manager hears it: its fields as JSON has them."""
    return ForeignEvent(source, id, type(event).__name__, msgspec.to_builtins(event))


class GivenRows:
    """A projection, and the events before the test."""

    def __init__(self, subject: Projection, events: Sequence[object]) -> None:
        self.subject, self.events = subject, tuple(events)

    def when(self, *events: object) -> GivenRows:
        """These happen, too."""
        return GivenRows(self.subject, self.events + events)

    def then_rows(self, expected: Mapping[str, Any]) -> None:
        """Its rows by key, all aggregates being in one partition: dicts, or of the type that it declares."""
        require_same(dict(expected), self._rows(), "the rows")

    def then_row(self, key: str, expected: Any) -> None:
        """One row; None for none."""
        require_same(expected, self._rows().get(key), f"the row {key}")

    def _rows(self) -> dict[str, Any]:
        folded = FoldedRows(self.subject)
        for event in in_sequence(self.events):
            folded.apply(event)
        return folded.rows


class GivenJoined:
    """A join, and the events of both types before the test, in whatever order."""

    def __init__(self, subject: Join, events: Sequence[tuple[str, str, object]]) -> None:
        self.subject, self.events = subject, tuple(events)

    def when(self, *events: tuple[str, str, object]) -> GivenJoined:
        """These happen, too."""
        return GivenJoined(self.subject, self.events + events)

    def then_rows(self, expected: Mapping[str, Any]) -> None:
        """Its rows by key, those of which it has any."""
        require_same(dict(expected), joined_rows(self.subject, self.events), "the rows")

    def then_row(self, key: str, expected: Any) -> None:
        """One row; None for none."""
        require_same(expected, joined_rows(self.subject, self.events).get(key), f"the row {key}")


class GivenUpcasting(Generic[E]):
    """The reading of stored events."""

    def __init__(self, subject: Upcasting[E]) -> None:
        decider = subject.decider
        schemas = Schemas.load(subject.schemas, decider.type)
        self._schemas = [schema for schema in schemas if schema.name not in decider.commands]
        self._codec = Codec(self._schemas, decider.events, schemas.upcasters)

    def when(self, written: Written) -> Read[E]:
        """An event is read. Raises `AssertionError` for one that could not have been written or is not to be read."""
        schema = self._schema(written)
        try:
            data = AVRO.writer(schema)(fitted(schema).fit(dict(written.fields)))
        except Exception as error:
            raise AssertionError(f"no {written.name}.v{written.version} has these fields: {error!r}") from error
        try:
            return Read(self._codec.decode(data))
        except Undecodable as error:
            raise AssertionError(str(error)) from error

    def _schema(self, written: Written) -> Schema:
        for schema in self._schemas:
            if (schema.name, schema.version) == (written.name, written.version):
                return schema
        known = ", ".join(f"{schema.name}.v{schema.version}" for schema in self._schemas)
        raise AssertionError(f"there is no {written.name}.v{written.version}: there are {known}")


class Read(Generic[E]):
    """What a stored event stands for today."""

    def __init__(self, events: Sequence[E]) -> None:
        self.events = list(events)

    def then(self, *expected: E) -> None:
        """These events, in this order."""
        require_same(list(expected), self.events)

    def then_nothing(self) -> None:
        """No event: nobody needs it any more."""
        require_same([], self.events)
