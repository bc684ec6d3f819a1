"""Foreign records on the topics of replies and orders: left out, and what is behind them is read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from aiokafka.structs import TopicPartition

from projections.applying.control import Control
from projections.gateway.command_log import CommandLog
from projections.gateway.command_records import CommandAggregate, KafkaPosition, SentCommand, read_entry
from projections.gateway.replies import GatewayReplies
from projections.gateway.waiters import ReplyWaiters
from streams.cli import kafka
from streams.deciding.messages import AggregateRef, Reply, encode_reply
from streams.kafka.client import KafkaClient
from streams.kafka.client_factory import ClientFactory
from streams.kafka.fetching.batches import unreadable_record

DEEP = b"[" * 50_000 + b"]" * 50_000
REPLY = encode_reply(Reply("c1", "accepted", AggregateRef("order", "1", 1)))
SENT = SentCommand("c1", CommandAggregate("order", "1"), "PlaceOrder", KafkaPosition("order-commands", 0, 1), "1")
VALUES = [
    DEEP,
    b'{"status":' + DEEP + b"}",
    b'{"status":"accepted","x":' + DEEP + b"}",
    b"\xff",
    b'{"status":"\xff"}',
    b"",
    None,
    b"{}",
    b'{"status":"pending"}',
    b'"' + b"x" * 100_000 + b'"',
]
UNREADABLE = unreadable_record(TopicPartition("t", 0), 0, 0, -1, "it is not what zstd makes")


def record(offset: int, value: bytes | None, key: bytes | None = b"paused/orders") -> Any:
    return SimpleNamespace(topic="t", partition=0, offset=offset, key=key, value=value, headers=(), timestamp=1)


@pytest.mark.parametrize("value", VALUES)
def test_an_entry_or_a_value_error(value: bytes | None) -> None:
    """Reading a record of the topic of replies raises nothing else."""
    with pytest.raises(ValueError):  # noqa: PT011  (that it is one is what counts)
        read_entry(value or b"", 1)


async def test_replies_behind_a_foreign_record(tmp_path: Path) -> None:
    """Whatever stands on the topic of replies, who waits for a reply behind it gets it."""
    commands, waiters = CommandLog(lambda: tmp_path / "commands.sqlite"), ReplyWaiters(2)
    commands.open("topic-1")
    replies = GatewayReplies(
        KafkaClient(ClientFactory([]), 4),
        commands,
        waiters,
        clients=ClientFactory([]),
        topic="gateway-replies",
        partitions=4,
    )
    with waiters.waiting_for(SENT) as waiting:
        replies._keep([*(record(offset, value) for offset, value in enumerate(VALUES)), UNREADABLE], {0: 50})
        assert not waiting.done()
        replies._keep([record(99, REPLY)], {0: 100})
        assert "accepted" == waiting.result().status  # type: ignore[union-attr]


async def test_orders_behind_a_foreign_record() -> None:
    """Whatever stands on the topic of orders, those behind it count, and one who waits for its offset goes on."""
    control = Control("projections-control", SimpleNamespace(), KafkaClient(ClientFactory([]), 1))  # type: ignore[arg-type]
    records = [record(offset, value) for offset, value in enumerate(VALUES)]
    records += [record(50, b"{}", None), record(51, b"{}", b"\xff"), record(52, b"{}", b"paused/" + DEEP)]
    await control._take([*records, UNREADABLE, record(99, msgspec.json.encode({"reason": "because"}))])
    assert ("because", 99) == (control.paused("orders"), control.offset)
    await control.wait_for(99)


async def test_the_command_line_waits_for_its_reply() -> None:
    """Whatever stands on the topic of replies, `send` finds its own."""

    async def read() -> AsyncIterator[Any]:
        for offset, value in enumerate([*VALUES, REPLY]):
            yield record(offset, value)

    consumer: Any = read()
    assert "accepted" == (await kafka._reply(consumer, "c1"))[0].status
