"""Headers of events as they are exchanged on the way out and in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import pytest

from aggregates.shop.order import OrderCancelled, OrderOpened, order
from projections.applying.event_reader import EventReader
from projections.applying.fold import TableFold
from projections.publishing.publication import COMMIT_END
from projections.shop.tables.orders import orders
from schemas.codec import Codec, Undecodable
from schemas.formats import JSON
from schemas.registry import Schemas
from schemas.wire_format import avro_fingerprint, from_wire, to_wire
from streams.journal.memory import MemoryJournal
from tests.layouts import logs_of
from tests.memory_rows import MemoryRows

SCHEMAS = [schema for schema in Schemas.load("shop", "order") if schema.name not in order.commands]
CODEC = Codec(SCHEMAS, order.events)
DATA = CODEC.encode(OrderCancelled("no stock"))
SCHEMA = CODEC.schema_of(DATA)


@pytest.mark.parametrize(
    "dataschema", [f"urn:avro:shop.order.OrderCancelled:2:{SCHEMA.fingerprint}", f"urn:avro:{SCHEMA.fingerprint}"]
)
@pytest.mark.parametrize("id", [0, 1, 2**31 - 1])
def test_there_and_back(id: int, dataschema: str) -> None:
    """A zero, the id in 4 bytes, the highest first, and the body untouched; what comes back is what the journal has."""
    wire = to_wire(DATA, id)
    assert (b"\x00" + id.to_bytes(4, "big"), DATA[10:]) == (wire[:5], wire[5:])
    assert DATA == from_wire(wire, {"ce_dataschema": dataschema.encode()})


def test_other_forms_stay_as_they_are() -> None:
    """Avro single objects, JSON, and nothing at all: a topic may hold all forms."""
    as_json = Codec(SCHEMAS, order.events, format=JSON).encode(OrderCancelled("no stock"))
    for value in (DATA, as_json, b""):
        assert value == from_wire(value, {})
    assert bytes.fromhex(SCHEMA.fingerprint) == avro_fingerprint(DATA)
    assert [None, None, None] == [avro_fingerprint(value) for value in (as_json, b"", b"\xc3\x01short")]


@pytest.mark.parametrize(
    ("value", "dataschema"),
    [
        (to_wire(DATA, 7), b""),
        (to_wire(DATA, 7), b"urn:avro:shop.order.OrderCancelled:2"),
        (to_wire(DATA, 7), b"https://registry/schemas/7"),
        (b"\x00\x00\x00\x00", f"urn:avro:{SCHEMA.fingerprint}".encode()),
    ],
)
def test_a_value_whose_schema_is_not_said_is_not_guessed(value: bytes, dataschema: bytes) -> None:
    """Without a fingerprint in the event's headers, or cut short, it cannot be read."""
    with pytest.raises(Undecodable, match="wire format"):
        from_wire(value, {"ce_dataschema": dataschema})


class Record(NamedTuple):
    """A record of the events topic."""

    offset: int
    key: bytes
    value: bytes
    headers: Sequence[tuple[str, bytes]]


def opened(nr: int, id: str) -> Record:
    """The first event of an order, alone in its commit, in the form that the journal has."""
    value = CODEC.encode(OrderOpened("17850", "sale", "France", datetime(2010, 12, 1, tzinfo=UTC)))
    schema = CODEC.schema_of(value)
    headers = {
        "ce_id": f"order-0:{nr}:0",
        "ce_position": f"order-0:{nr}:0",
        "ce_type": "OrderOpened",
        "ce_sequence": "1",
        "ce_time": "2010-12-01T00:00:00Z",
        "ce_dataschema": f"urn:avro:{schema.full_name}:{schema.version}:{schema.fingerprint}",
    }
    encoded = [(name, text.encode()) for name, text in headers.items()]
    return Record(nr - 1, id.encode(), value, [*encoded, COMMIT_END])


async def test_tables_are_the_same_from_both_forms() -> None:
    """Events are read from the wire format by their own headers, with no registry and whatever the id."""
    rows, plain, wired = MemoryRows(), opened(1, "1"), opened(2, "2")
    wired = wired._replace(value=to_wire(wired.value, 99))
    events = await EventReader(CODEC, MemoryJournal(), logs_of(MemoryJournal(), "order")).read(
        [plain, wired], "order-0"
    )
    folded = await TableFold("orders-1", orders, rows, 0).fold(events)
    assert folded is not None
    one, two = folded.changes.rows["1"], folded.changes.rows["2"]
    assert ({**(one.row or {}), "id": "2"}, "order-0:2:0") == (two.row, two.position)
