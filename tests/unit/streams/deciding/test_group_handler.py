"""One group of messages, decided for one commit."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from streams.deciding.cache import Cache
from streams.deciding.command_handler import CommandHandler
from streams.deciding.decided_group import DecidedGroup
from streams.deciding.group_handler import GroupHandler
from streams.deciding.messages import EPOCH, AggregateRef, Envelope, Message, Reply, command_headers
from streams.journal.memory import MemoryJournal
from streams.journal.port import Commit
from streams.limits import Limits
from tests.unit.streams.ownership.test_owner import COMMANDS, EVENTS, LINE, OPEN, order

HEAD = Commit("order-0", 4, 2, "o", "t", 9, 4, 3, datetime(2026, 11, 29, tzinfo=UTC))
SENT = [("OpenOrder", OPEN), ("Nonsense", {}), ("AddLine", LINE), ("PlaceOrder", {}), ("PlaceOrder", {})]


def handler(limits: Limits) -> GroupHandler:
    commands = CommandHandler(decider=order, events=EVENTS, commands=COMMANDS, window=10, limits=limits)
    return GroupHandler(commands, journal=MemoryJournal(), cache=Cache(10**6), partition=0, partition_of=lambda key: 0)


def messages() -> list[Message]:
    return [
        Message(offset, b"1", json.dumps(data).encode(), command_headers(f"c{offset}", type, "/test", "replies"), 1.0)
        for offset, (type, data) in enumerate(SENT, 10)
    ]


async def test_what_an_owner_gets() -> None:
    """Rows, dead letters and replies are in the order of the commands; all messages are done."""
    group = await handler(Limits()).decide_group(messages(), HEAD)
    assert (5, 5, 5) == (group.nr, group.eventful_nr, group.done)
    assert ["OrderOpened", "LineAdded", "OrderPlaced", ""] == [row.type for row in group.events]
    assert [("c11", "UnknownCommand")] == [(envelope.id, failure.type) for envelope, failure in group.dead_letters]
    assert [f"c{offset}" for offset in range(10, 15)] == [key for _, key, _ in group.replies]


@pytest.mark.parametrize("most", [1, 3])
async def test_a_commit_that_is_full(most: int) -> None:
    """It covers the messages before, and says how many these are."""
    group = await handler(Limits(group_commands=most)).decide_group(messages(), HEAD)
    assert (most, most) == (group.done, len(group.verdicts))


async def test_a_group_without_an_event() -> None:
    """The newest commit that holds an event is an older one."""
    group = await handler(Limits()).decide_group(messages()[1:2], HEAD)
    assert (3, (), 1) == (group.eventful_nr, group.events, group.done)


def test_where_a_reply_goes() -> None:
    """Its key is the one that the command names, or else its correlation id, or else its own id."""
    group = DecidedGroup("order-0", "order", Limits(), nr=1, eventful_nr=1, time=EPOCH)
    reply = Reply("id", "accepted", AggregateRef("order", "1", 1))
    for reply_key, correlation_id in (("k", "c"), ("", "c"), ("", "")):
        envelope = Envelope("id", "AddLine", "1", b"", "application/json", 0, EPOCH, correlation_id, "", "r", reply_key)
        group.add(envelope, reply, [])
    assert ["k", "c", "id"] == [key for _, key, _ in group.replies]
