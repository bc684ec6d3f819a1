"""The versions of a type's records: what differs, how each is read today, and how many events are of each."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from aggregates.shop.order import order
from aggregates.shop.product import product
from projections.console.schemas.counting import SchemaCounts
from projections.console.schemas.versions import Record, Seen, Step, changes, records_of, type_text
from projections.publishing.heads import Heads
from schemas.registry import Schema
from streams.aggregate_type import AggregateType
from streams.journal.layout import first_layout
from streams.journal.memory import MemoryJournal, MemoryStore
from streams.journal.port import Commit, RecordedEvent, SliceHead, Unavailable
from streams.settings import Settings


@pytest.fixture(scope="module")
def products() -> AggregateType:
    return AggregateType("products", product, Settings(), "shop")


@pytest.fixture(scope="module")
def orders() -> AggregateType:
    return AggregateType("orders", order, Settings(), "shop")


def records(context: AggregateType, kept: dict[str, str] | None = None, **seen: Seen) -> dict[str, Record]:
    commands = [schema for schema in context.schemas if schema.name in context.decider.commands]
    classes = {**context.decider.commands, **context.decider.events}
    return {found.name: found for found in records_of(context.events, commands, classes, kept or {}, seen)}


def test_what_differs(products: AggregateType) -> None:
    """A field that is new, has another name, another type, or is gone; the newest version first."""
    refused = records(products)["StockRefused"]
    assert [5, 4, 3, 2, 1] == [version.version for version in refused.versions]
    found = {version.version: [(it.change, it.name, it.was) for it in version.changes] for version in refused.versions}
    assert [("renamed", "wanted", "quantity")] == found[2]
    assert ("changed", "available", "") in found[3]
    assert [("removed", "available", "")] == found[4]
    assert [("added", "reason", "")] == found[5]


def test_how_it_is_read_today(orders: AggregateType, products: AggregateType) -> None:
    """By resolution to the newest version, by an upcaster, or as it is; commands are messages, and not read again."""
    ways = {version.version: version.way for version in records(products)["StockRefused"].versions}
    assert ([], [Step("resolution", "StockRefused.v5")]) == (ways[5], ways[1])
    cancelled = {version.version: version.way for version in records(orders)["OrderCancelled"].versions}
    assert [Step("upcaster")] == cancelled[1]
    dropped = records(products)["StockLevelNoted"]
    assert (False, [Step("upcaster")]) == (dropped.is_used, dropped.versions[0].way)
    command = records(products)["DefineProduct"]
    assert ("command", None, []) == (command.kind, command.versions[0].events, command.versions[0].way)


def test_of_another_version_of_the_code(products: AggregateType) -> None:
    """What newer code has left in the journal is there, and said to be that; what is no schema is passed over, and
    what is of another type, unless an event has it."""
    [newest, *_] = records(products)["StockRefused"].versions
    json = products.events.schemas[newest.fingerprint].replace('"name":"wanted"', '"name":"asked"')
    newer = Schema.parse(json, 6)
    found = records(products, {newer.fingerprint: newer.json, "0" * 16: "no schema"})["StockRefused"].versions
    assert [(6, False), (5, True)] == [(version.version, version.is_known) for version in found[:2]]
    other = Schema.parse('{"type": "record", "name": "Commit", "fields": [{"name": "nr", "type": "long"}]}', 1)
    kept = {other.fingerprint: other.json}
    assert "Commit" not in records(products, kept)
    assert 3 == records(products, kept, **{other.fingerprint: Seen(3)})["Commit"].versions[0].events


@pytest.mark.parametrize(
    ("type_", "text"),
    [
        ("string", "string"),
        (["null", {"type": "long", "logicalType": "timestamp-millis"}], "timestamp-millis or null"),
        ({"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 4}, "decimal(12, 4)"),
        ({"type": "array", "items": {"type": "map", "values": "int"}}, "list of map of int"),
        ({"type": "enum", "name": "Kind", "symbols": ["a", "b"]}, "Kind (a, b)"),
        ({"type": "record", "name": "Line", "fields": [{"name": "sku", "type": "string"}]}, "Line (sku: string)"),
        ({"type": "fixed", "name": "Id", "size": 16}, "Id (16 bytes)"),
        ("a.b.Line", "Line"),
    ],
)
def test_types_for_people(type_: Any, text: str) -> None:
    """As somebody would say it."""
    assert text == type_text(type_)


def test_no_difference(products: AggregateType) -> None:
    """Between a version and itself."""
    [schema, *_] = [Schema.parse(json) for json in products.events.schemas.values()]
    assert [] == changes(schema, schema)


class Journal(MemoryJournal):
    """In memory; it counts how often it is read, and may not answer."""

    def __init__(self) -> None:
        super().__init__(MemoryStore())
        self.answers = True

    async def commits(self, log: str, after: int, limit: int) -> Any:
        if not self.answers:
            raise Unavailable("no")
        return await super().commits(log, after, limit)


async def test_counting(orders: AggregateType) -> None:
    """All events of all logs, once each, as they were written; it says how far it is, and goes on from there."""
    journal = Journal()
    await journal.create()
    layout = first_layout(2, 2)
    known: Any = type("Known", (), {"layout": layout})
    counts = SchemaCounts("order", journal, Heads({"order": journal}, {"order": known}, apart=0), orders.events, known)
    [newest] = [it for it in orders.event_schemas if it.name == "OrderOpened" and it is orders.schemas.newest(it.name)]
    data = bytes.fromhex("c301" + newest.fingerprint)
    rows = [RecordedEvent("o", 1, "OrderOpened", data, "c"), RecordedEvent("o", 1, "", b"1", "c")]
    rows += [RecordedEvent("o", 2, "OrderOpened", b"?", "c")]
    for log in ("order@0", "order@1"):
        for nr in (1, 2, 3):
            await journal.append(
                Commit(
                    log=log, nr=nr, epoch=1, owner="me", topic_id="t", slices={0: SliceHead(nr, nr)}, derived_nr=0,
                    recorded_at=datetime.now(UTC), events=tuple(rows) if nr == 2 else (),
                )
            )  # fmt: skip
    assert (0, False) == (counts.want().events, counts.want().is_complete)
    assert await counts.count_some()
    assert not await counts.count_some()
    found = counts.want()
    assert (4, 6, 6, True) == (found.events, found.commits, found.of_commits, found.is_complete)
    assert {newest.fingerprint: 2, "": 2} == {fingerprint: seen.events for fingerprint, seen in counts.seen.items()}
