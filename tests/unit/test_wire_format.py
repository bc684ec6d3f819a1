"""Headers of events as they are exchanged on the way out and in."""

from __future__ import annotations

import pytest

from aggregates.shop.order import OrderCancelled, order
from schemas.codec import Codec, Undecodable
from schemas.formats import JSON
from schemas.registry import Schemas
from schemas.wire_format import avro_fingerprint, from_wire, to_wire
from tests.unit.boxes import CODEC as BOXES
from tests.unit.boxes import Boxes, put, swapped

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


async def test_events_are_the_same_from_both_forms() -> None:
    """The wire format is read by the event's own headers, with no registry and whatever the id."""
    here = Boxes()
    await here.write(("1", put("a")), ("1", swapped("b")))
    plain = await here.published()
    for number, record in enumerate(here.topic.records):
        schema = BOXES.schema_of(record.value)
        said = [value.decode() for name, value in record.headers if name == "ce_dataschema"]
        assert [f"urn:avro:{schema.full_name}:{schema.version}:{schema.fingerprint}"] == said
        here.topic.records[number] = record._replace(value=to_wire(record.value, 99))
    wired = await here.published()
    assert [(event.at, event.parts) for event in plain] == [(event.at, event.parts) for event in wired]
