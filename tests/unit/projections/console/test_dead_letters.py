"""Dead letters in groups, tried over what is there now, and on their way back."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition

from aggregates.shop.order import NEVER, OrderOpened, order
from projections.console.dry_run import handler_of
from projections.console.letter_groups import alike, line_of
from projections.console.letter_trial import Again, Tried, envelope_of, tried
from streams.aggregate_type import AggregateType
from streams.cli.dead_letters import DeadLetterTopic
from streams.deciding.cache import Aggregate
from streams.deciding.messages import RETRY_TOPIC, UNKNOWN_TYPE, Failure
from streams.settings import Settings

LINE = {"sku": "tea", "description": "Tea", "quantity": 2, "unit_price": "2.55"}
TRACE = """Traceback (most recent call last):
  File "/app/streams/handler.py", line 141, in _decide
    events = self.decider.decide(command, state)
  File "/app/aggregates/order.py", line 81, in decide
    raise ZeroDivisionError
ZeroDivisionError
"""


def letter(offset: int, command: str = "AddLine", data: Any = LINE, **ours: str) -> Any:
    """A dead letter of an order as it is read from Kafka."""
    reason = {
        "dl_type": "DomainError",
        "dl_message": f"at {offset}",
        "dl_time": f"{1000 * offset}",
        "dl_id": "c",
        **ours,
    }
    headers = {"ce_id": f"c-{offset}", "ce_type": command, **reason}
    return SimpleNamespace(
        partition=3,
        offset=offset,
        key=b"o-1",
        value=json.dumps(data).encode(),
        headers=[(name, text.encode()) for name, text in headers.items()],
        timestamp=0,
    )


@pytest.fixture(scope="module")
def orders() -> AggregateType:
    return AggregateType("orders", order, Settings(), "shop")


def would_be_said(orders: AggregateType, record: Any, *events: Any) -> Tried:
    """To a letter, over what these events have made."""
    aggregate = Aggregate(order.fold(list(events)), len(events))
    return tried(handler_of(orders), record, envelope_of(record), aggregate)


def test_groups() -> None:
    """By command, failure and the line that raised; the largest first, with all places."""
    groups = alike("order", [letter(9, dl_trace=TRACE), letter(8), letter(7), letter(6, "PlaceOrder", dl_type="Late")])
    assert [
        ("AddLine", "DomainError", "", ["3:8", "3:7"]),
        ("AddLine", "DomainError", "order.py:81 in decide", ["3:9"]),
        ("PlaceOrder", "Late", "", ["3:6"]),
    ] == [(group.command, group.failure, group.line, group.places) for group in groups]
    assert "at 8" == groups[0].message
    assert groups[0].first is not None
    assert groups[0].last is not None
    assert groups[0].first < groups[0].last


def test_the_line_of_no_trace() -> None:
    """What raised nothing, or whose trace was cut, has none."""
    assert ["", "order.py:81 in decide"] == [line_of("Kafka said no"), line_of(TRACE[TRACE.index("  File") :])]


def test_what_would_be_said_now(orders: AggregateType) -> None:
    """As the aggregate is now, not as it was when the command failed."""
    record = letter(9)
    assert ("rejected", "UnknownOrder") == (
        (said := would_be_said(orders, record)).status,
        said.error and said.error.type,
    )
    said = would_be_said(orders, record, OrderOpened("u-1", "sale", None, NEVER))
    assert ("accepted", ["LineAdded"], 1, "3:9", "o-1") == (
        said.status, said.events, said.sequence, said.place, said.id
    )  # fmt: skip


def test_what_would_fail_again(orders: AggregateType) -> None:
    """What cannot be read, has been cut, or is of somebody who is not believed."""
    assert "failed" == would_be_said(orders, letter(9, "NoSuchCommand")).status
    assert "failed" == would_be_said(orders, letter(9, dl_type="ForgedPrincipal")).status
    with pytest.raises(Failure, match="too large"):
        envelope_of(letter(9, dl_cut="5"))


def test_the_way_back() -> None:
    """As they first came, in order, where their key belongs; not those that were cut, or go where this app may not."""
    again = Again("order", "", 8, {"order-commands"})
    foreign = letter(4, dl_type=UNKNOWN_TYPE.decode(), **{RETRY_TOPIC: "product-commands"})
    again.add([letter(1), letter(2), letter(3, dl_cut="5"), foreign])
    [((topic, partition), records)] = again.records.items()
    assert ("order-commands", ["3:1", "3:2"], ["3:3", "3:4"]) == (
        topic,
        again.sent,
        [each.place for each in again.refused],
    )
    assert 0 <= partition < 8
    assert [[("ce_id", b"c-1"), ("ce_type", b"AddLine")], [("ce_id", b"c-2"), ("ce_type", b"AddLine")]] == [
        headers for _, _, headers in records
    ]


class Partition:
    """A consumer of one that has these records."""

    def __init__(self, *records: Any) -> None:
        self.records, self.at = records, 0

    def assign(self, partitions: list[TopicPartition]) -> None: ...

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self.at = offset

    async def position(self, tp: TopicPartition) -> int:
        return self.at

    async def getmany(self, *tps: TopicPartition, timeout_ms: int) -> dict[TopicPartition, list[Any]]:
        first, self.at = self.at, len(self.records)
        return {tps[0]: list(self.records[first:])}


async def test_some_of_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are wanted and were not dropped, whole; those between are not kept in memory."""
    dropped = letter(4, dl_dropped="2")
    dropped.value = None
    consumer = Partition(*(letter(offset) for offset in range(4)), dropped)

    @asynccontextmanager
    async def opened(self: Any) -> AsyncIterator[Any]:
        yield consumer, {TopicPartition("order-dead-letters", 3): (0, 5)}

    monkeypatch.setattr(DeadLetterTopic, "_opened", opened)
    found = await DeadLetterTopic(Settings(), "order").some([(3, 0), (3, 2), (3, 3), (7, 1)])
    assert [(0, LINE), (3, LINE)] == [(record.offset, json.loads(record.value)) for record in found]
    assert (b"", []) == (consumer.records[1].value, consumer.records[1].headers)
