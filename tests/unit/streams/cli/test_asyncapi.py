"""`asyncapi`: a document that AsyncAPI's own schema takes, with all that clients may send and all that is published.

The schema beside this file is that of AsyncAPI 3.0.0, of asyncapi/spec-json-schemas (Apache License 2.0), packed.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import fastavro
import jsonschema_rs
import msgspec

from projections.shop.wiring import contexts_of
from streams.settings import Settings
from streams.web.asyncapi import document

SCHEMA = msgspec.json.decode(gzip.decompress(Path(__file__).with_name("asyncapi-3.0.0.schema.json.gz").read_bytes()))
CONTEXTS = contexts_of(Settings())
DOCUMENT = msgspec.json.decode(msgspec.json.encode(document(CONTEXTS.values(), "shop")))


def references(value: Any) -> set[str]:
    """All that a part of the document refers to, but for what is within Avro schemas."""
    if isinstance(value, list):
        return {found for entry in value for found in references(entry)}
    if not isinstance(value, dict):
        return set()
    own = {value["$ref"]} if "$ref" in value else set()
    return own.union(*(references(entry) for name, entry in value.items() if name != "payload"))


def test_it_is_valid() -> None:
    """And what is no AsyncAPI is not."""
    validator = jsonschema_rs.validator_for(SCHEMA)
    assert [] == [error.message for error in validator.iter_errors(DOCUMENT)]
    assert not validator.is_valid({**DOCUMENT, "operations": {"o": {"action": "shout"}}})


def test_what_it_refers_to_is_there() -> None:
    """Channels and messages."""
    found = references(DOCUMENT)
    assert len(found) > 40
    for reference in found:
        place: Any = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]


def test_all_types_are_in_it() -> None:
    """Each event, each command that clients may send and none of the others, each with a schema that Avro takes."""
    for type in CONTEXTS.values():
        name = type.decider.type
        assert set(type.decider.events) == set(DOCUMENT["channels"][f"{name}-events"]["messages"])
        sent = DOCUMENT["channels"].get(f"{name}-commands", {"messages": {}})["messages"]
        assert set(type.accepts) == set(sent)
    for name, message in DOCUMENT["components"]["messages"].items():
        if name != "Reply":
            assert fastavro.parse_schema(message["payload"]["schema"])
    assert {"checkout.hear.order", "checkout.hear.product"} <= set(DOCUMENT["operations"])
