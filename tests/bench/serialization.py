"""Events to bytes and back, beside fastavro alone with the same schema, in turn: A B A B."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from io import BytesIO
from typing import Any

import fastavro

from aggregates.decider import Decider
from aggregates.shop.order import Line, LineAdded, OrderPlaced, order
from aggregates.shop.product import product
from aggregates.shop.user import user
from schemas.codec import Codec
from schemas.formats import AVRO, HEADER_BYTES, JSON, Format
from schemas.registry import Schema, Schemas

ROUNDS = 5
SECONDS = 0.2
NOON = datetime(2010, 12, 1, 12, tzinfo=UTC)
ADDED = LineAdded("85123A", "WHITE HANGING HEART T-LIGHT HOLDER", 6, Decimal("2.5500"))
LINES = tuple(Line(f"85123{n}", "WHITE HANGING HEART T-LIGHT HOLDER", n, Decimal("2.5500")) for n in range(1, 11))
PLACED = OrderPlaced("17850", "sale", "United Kingdom", NOON, LINES, Decimal("140.2500"))

Work = Callable[[], object]


def codec_of(decider: Decider[Any, Any, Any], format: Format = AVRO) -> tuple[Schemas, Codec]:
    """The schemas of an aggregate type, and the codec of its events as a worker has it."""
    schemas = Schemas.load("shop", decider.type)
    own = [schema for schema in schemas if schema.name not in decider.commands]
    return schemas, Codec(own, decider.events, schemas.upcasters, format)


def version(schemas: Schemas, name: str, number: int) -> Schema:
    """One version of a record."""
    return next(schema for schema in schemas if (schema.name, schema.version) == (name, number))


def plain_read(data: bytes, written: Schema, reader: Schema | None = None) -> Work:
    """What fastavro alone does with the body of these bytes."""
    body, parsed, resolved = data[HEADER_BYTES:], written.parsed, None if reader is None else reader.parsed
    return lambda: fastavro.schemaless_reader(BytesIO(body), parsed, resolved)


def plain_write(data: bytes, written: Schema) -> Work:
    """What fastavro alone does with the fields of these bytes."""
    fields: Any = plain_read(data, written)()
    return lambda: fastavro.schemaless_writer(BytesIO(), written.parsed, fields)


def pairs() -> Iterator[tuple[str, Work, Work]]:
    """What is measured: ours, and fastavro alone."""
    orders, avro = codec_of(order)
    _, json = codec_of(order, JSON)
    for name, event in (("LineAdded", ADDED), ("OrderPlaced, 10 lines", PLACED)):
        data, schema = avro.encode(event), orders.newest(type(event).__name__)
        yield f"{name}: encode", lambda event=event: avro.encode(event), plain_write(data, schema)  # type: ignore[misc]
        yield f"{name}: decode", lambda data=data: avro.decode(data), plain_read(data, schema)  # type: ignore[misc]
        text = json.encode(event)
        yield f"{name}: encode JSON", lambda event=event: json.encode(event), plain_write(data, schema)  # type: ignore[misc]
        yield f"{name}: decode JSON", lambda text=text: json.decode(text), plain_read(data, schema)  # type: ignore[misc]
    products, codec = codec_of(product)
    old = version(products, "ProductDefined", 1)
    data = AVRO.writer(old)({"name": "WHITE HANGING HEART T-LIGHT HOLDER", "price": Decimal("2.5500")})
    newest = products.newest("ProductDefined")
    yield "ProductDefined v1: decode by resolution", lambda: codec.decode(data), plain_read(data, old, newest)
    users, ours = codec_of(user)
    first = version(users, "EmailChanged", 1)
    changed = AVRO.writer(first)({"email": "Ada@Example.org"})
    yield "EmailChanged v1: decode through an upcaster", lambda: ours.decode(changed), plain_read(changed, first)
    cancelled = version(orders, "OrderCancelled", 1)
    sale: Any = plain_read(avro.encode(PLACED), orders.newest("OrderPlaced"))()
    split = AVRO.writer(cancelled)({"reason": "changed mind", "withdrawn": sale})
    yield (
        "OrderCancelled v1, 10 lines: split in two, one renamed",
        lambda: avro.decode(split),
        plain_read(split, cancelled),
    )


def rate(work: Work) -> float:
    """How often a second."""
    count, began = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < SECONDS:
        for _ in range(200):
            work()
        count += 200
    return count / elapsed


def measure_serialization() -> list[tuple[str, float]]:
    """Rates a second and the ratio of ours to fastavro's, the best round of each."""
    results: list[tuple[str, float]] = []
    for name, ours, plain in pairs():
        best, best_plain = 0.0, 0.0
        for _ in range(ROUNDS):
            best, best_plain = max(best, rate(ours)), max(best_plain, rate(plain))
        results += [(f"{name}: events/s", best), ("- fastavro alone", best_plain), ("- ratio", best / best_plain)]
    return results
