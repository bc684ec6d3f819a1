"""Who waits for a reply, and for how long."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from projections.gateway.command_log import CommandLog
from projections.gateway.command_records import (
    CommandAggregate,
    KafkaPosition,
    KnownCommand,
    SentCommand,
    encode_sent,
    now_ms,
)
from projections.gateway.command_request import CheckedCommand
from projections.gateway.gateway import Gateway
from projections.gateway.replies import GatewayReplies, read_record, seldom
from projections.gateway.waiters import NotHere, ReplyWaiters, TooMany
from streams.deciding.messages import AggregateRef, Error, Reply, encode_reply
from streams.kafka.client import KafkaClient
from streams.kafka.client_factory import ClientFactory
from streams.kafka.topics import DAY
from streams.runtime.log_lines import RateLimit


def sent(id: str, order: str = "7", command: str = "PlaceOrder") -> SentCommand:
    """A command that was sent."""
    return SentCommand(id, CommandAggregate("order", order), command, KafkaPosition("order-commands", 1, 5), "1")


@pytest.fixture
def replies(tmp_path: Path) -> GatewayReplies:
    """Nothing is read, and all partitions are here; two may wait."""
    commands = CommandLog(lambda: tmp_path / "commands.sqlite")
    broker = KafkaClient(ClientFactory([]), 4)
    replies = GatewayReplies(
        broker, commands, ReplyWaiters(2), clients=ClientFactory([]), topic="gateway-replies", partitions=4
    )
    replies._active = frozenset(range(4))
    commands.open("topic-1")
    return replies


async def test_as_many_as_may_wait(replies: GatewayReplies) -> None:
    """One more is refused, until another one waits no longer."""
    with replies.waiters.place(sends=False):
        with (
            replies.waiters.place(sends=False),
            pytest.raises(TooMany, match="2 requests"),
            replies.waiters.place(sends=False),
        ):
            pass
        with replies.waiters.place(sends=False):
            pass


async def test_several_may_wait_for_one_command(replies: GatewayReplies) -> None:
    """Each gets its reply."""
    with replies.waiters.waiting_for(sent("a")) as one, replies.waiters.waiting_for(sent("a")) as other:
        read(replies, record("a", "7"))
        assert (True, True) == (one.done(), other.done())
    assert {} == replies.waiters._waiting


async def test_who_asks_does_not_take_the_place_of_who_sends(replies: GatewayReplies) -> None:
    """As many as may ask what became of commands, and then commands are taken all the same; and the other way round."""
    with replies.waiters.place(sends=False), replies.waiters.place(sends=False):
        with replies.waiters.place(sends=True), replies.waiters.place(sends=True):
            for sends in (False, True):
                with pytest.raises(TooMany), replies.waiters.place(sends):
                    pass
        with replies.waiters.place(sends=True):
            pass


async def test_a_reply_of_another_aggregate(replies: GatewayReplies) -> None:
    """Who waits for the reply of one aggregate does not get that of another to a command with its id, nor the reply to
    another command; one that does not say to which command it is is taken."""
    with replies.waiters.waiting_for(sent("a")) as waits, replies.waiters.waiting_for(sent("a")) as also:
        read(replies, record("a", "8"))
        read(replies, record("a", "7", command="CancelOrder"))
        assert not waits.done()
        read(replies, record("a", "7", command="PlaceOrder"))
        assert "PlaceOrder" == waits.result().command  # type: ignore[union-attr]
        assert also.done()
    with replies.waiters.waiting_for(sent("a")) as waits:
        read(replies, record("a", "7"))
        assert waits.done()


@pytest.mark.parametrize("error", ["", "IdUsedBefore"])
async def test_what_others_say_is_not_what_became_of_it(replies: GatewayReplies, error: str) -> None:
    """A reply of another aggregate, or to another command, is not that of the command that was sent, nor does it free
    its slot."""
    read(replies, of(encode_sent(sent("a"))))
    others = [record("a", "8", error), record("a", "7", error, "CancelOrder")]
    read(replies, *others)
    assert KnownCommand(sent("a"), None) == replies.commands.find("a")
    assert "a" in replies.pending

    read(replies, record("a", "7", command="PlaceOrder"), *others)
    known: Any = replies.commands.find("a")
    assert ("7", "PlaceOrder", "accepted") == (known.reply.aggregate.id, known.reply.command, known.reply.status)
    assert "a" not in replies.pending


def read(replies: GatewayReplies, *records: Any) -> None:
    """Have records read."""
    replies._keep(records, {0: replies._read_to.get(0, 0) + len(records)})


def test_a_time_to_come() -> None:
    """A record whose time is still to come is taken for one of now, so that what stands behind it becomes too old."""
    entry = read_record(of(encode_sent(sent("a")), DAY))
    assert entry is not None
    assert entry[0].at <= now_ms()


def test_what_counts_for_nothing_is_said_seldom(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an update the topic has a day of notes that are not signed; and whoever may write there may write more."""
    monkeypatch.setattr(seldom, "filters", [RateLimit()])
    for _ in range(100):
        assert read_record(of(encode_sent(sent("a")), 0), lambda record: False) is None
    assert 1 == len(caplog.messages)
    assert "no worker of the read side" in caplog.text


async def test_a_refusal_of_another_command(replies: GatewayReplies) -> None:
    """That an id was used before is told to who waits, and is not what became of the first command with that id."""
    with replies.waiters.waiting_for(sent("a")) as reply:
        read(replies, record("a", "7"))
        read(replies, record("a", "7", "IdUsedBefore"))
        assert "accepted" == reply.result().status  # type: ignore[union-attr]
    with replies.waiters.waiting_for(sent("a")) as reply:
        read(replies, record("a", "7", "IdUsedBefore"))
        assert "failed" == reply.result().status  # type: ignore[union-attr]
    known = replies.commands.find("a")
    assert known is not None
    assert "accepted" == known.reply.status  # type: ignore[union-attr]


def record(id: str, order: str, error: str = "", command: str = "") -> Any:
    """A reply as it comes."""
    status: Any = "failed" if error else "accepted"
    why = Error(error, "..") if error else None
    return of(encode_reply(Reply(id, status, AggregateRef("order", order, 1), error=why, command=command)))


def of(value: bytes, ahead: int = 0) -> Any:
    """A record as it comes, of now or so many milliseconds ahead."""
    return SimpleNamespace(value=value, timestamp=now_ms() + ahead, topic="gateway-replies", partition=0, offset=0)


async def test_who_looks_for_a_command_when_its_partition_moves(replies: GatewayReplies) -> None:
    """He is told so at once, also when it moves as the worker ends."""
    broker: Any = SimpleNamespace(end_offset=end_offset)
    replies._broker = broker
    finding = asyncio.create_task(replies.find_for_sure("a"))
    await asyncio.sleep(0.01)
    assert not finding.done()
    await replies.assign((), ())
    async with asyncio.timeout(5):
        with pytest.raises(NotHere, match="moved"):
            await finding


async def end_offset(topic: str, partition: int) -> int:
    """More than is read."""
    return 5


async def test_a_partition_moves(replies: GatewayReplies) -> None:
    """Who waits for a command of it is let go without a reply, and its commands count no more; the others wait on."""
    replies._run = nothing  # type: ignore[method-assign]
    moves, stays = "a", next(id for id in "bcdefgh" if replies._partition(id) != replies._partition("a"))
    for id in (moves, stays):
        replies.pending.add(sent(id), 1)
    with replies.waiters.waiting_for(sent(moves)) as ended, replies.waiters.waiting_for(sent(stays)) as waits:
        await replies.assign({0, 1, 2, 3} - {replies._partition(moves)}, {replies._partition(moves)})
        assert (None, False) == (ended.result(), waits.done())
    assert (
        [False, True] == [replies.has(id) for id in (moves, stays)] == [id in replies.pending for id in (moves, stays)]
    )


async def nothing() -> None:
    """Read nothing."""


async def test_a_copy_counts_nothing(replies: GatewayReplies) -> None:
    """What is read for the time when another worker has gone is kept, and counts when the partition is here."""
    replies._run = nothing  # type: ignore[method-assign]
    await replies.assign((), range(4))
    read(replies, of(encode_sent(sent("a"))))
    assert "a" not in replies.pending
    await replies.assign(range(4), ())
    replies._add_pending(replies.commands.pending())
    assert "a" in replies.pending


async def test_the_same_again_is_not_given_the_reply_of_another(replies: GatewayReplies) -> None:
    """Of a command that is sent again before its note is read, what is known under its id may be the reply of another
    aggregate: it is sent again. With its note and its own reply it is not."""
    command = CheckedCommand("a", "order", "7", "PlaceOrder", [], "1")
    gateway: Any = SimpleNamespace(_replies=replies)
    replies.pending.add(sent("a"), now_ms())
    read(replies, record("a", "8", command="PlaceOrder"))
    assert None is Gateway._first_reply(gateway, command)
    read(replies, of(encode_sent(sent("a"))), record("a", "7", command="PlaceOrder"))
    assert "7" == Gateway._first_reply(gateway, command).aggregate.id  # type: ignore[union-attr]
