"""Headers of events as they are exchanged on the way out and in."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aggregates.shop.order import OrderCancelled, order
from projections.applier import Applier
from projections.shop.orders import orders
from schemas.codec import Codec, Undecodable
from schemas.formats import JSON
from schemas.registry import Schemas
from schemas.wire_format import avro_fingerprint, from_wire, to_wire
from tests.unit.test_applier_positions import Rows, opened

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


async def test_tables_are_the_same_from_both_forms() -> None:
    """The applier reads the wire format by the event's own headers, with no registry and whatever the id."""
    rows, nothing = Rows(), Any
    args: Any = ("order", "order-events", [orders], {"orders": rows}, Rows(), nothing, CODEC, nothing)
    applier = Applier(*args, let_go=lambda event: None, rejoin=lambda: None)
    plain, wired = opened(0, 1, "1"), opened(1, 2, "2")
    schema = CODEC.schema_of(wired.message.value)
    urn = f"urn:avro:{schema.full_name}:{schema.version}:{schema.fingerprint}"
    wired.message.headers.append(("ce_dataschema", urn.encode()))
    wired.message.value = to_wire(wired.message.value, 99)
    await applier.apply([plain, wired])
    one, two = (json.loads(rows.rows[key] or b"") for key in (b"1", b"2"))
    assert {**one, "id": "2", "position": "order-0:2:0"} == two
