"""One group of messages, decided for one commit."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from streams.deciding.cache import Cache
from streams.deciding.command_handler import CommandHandler
from streams.deciding.decided_group import DecidedGroup
from streams.deciding.group_handler import GroupHandler
from streams.deciding.messages import EPOCH, AggregateRef, Envelope, Message, Reply, command_headers
from streams.journal.event_decoding import NotReadableYet
from streams.journal.memory import MemoryJournal
from streams.journal.port import Commit, RecordedEvent, SliceHead
from streams.limits import Limits
from tests.unit.streams.ownership.owner_bench import COMMANDS, EVENTS, LINE, OPEN, order

HEAD = Commit("order@0", 4, 2, "o", "t", {0: SliceHead(9, 3)}, 4, datetime(2026, 11, 29, tzinfo=UTC))
SENT = [("OpenOrder", OPEN), ("Nonsense", {}), ("AddLine", LINE), ("PlaceOrder", {}), ("PlaceOrder", {})]


def handler(limits: Limits) -> GroupHandler:
    commands = CommandHandler(decider=order, events=EVENTS, commands=COMMANDS, window=10, limits=limits)
    return GroupHandler(commands, journal=MemoryJournal(), cache=Cache(10**6), log="order@0", slices=1)


def messages() -> list[Message]:
    return [
        Message(0, at, b"1", json.dumps(data).encode(), command_headers(f"c{at}", type, "/test", "replies"), 1.0)
        for at, (type, data) in enumerate(SENT, 10)
    ]


async def test_what_an_owner_gets() -> None:
    """Rows, dead letters and replies are in the order of the commands; all messages are done."""
    group = await handler(Limits()).decide_group(messages(), HEAD)
    assert (5, {0: SliceHead(14, 5)}, 5) == (group.nr, group.slices, group.done)
    assert ["OrderOpened", "LineAdded", "OrderPlaced", ""] == [row.type for row in group.events]
    assert [("c11", "UnknownCommand")] == [(envelope.id, failure.type) for envelope, failure in group.dead_letters]
    assert [f"c{offset}" for offset in range(10, 15)] == [key for _, key, _ in group.replies]


@pytest.mark.parametrize("most", [1, 3])
async def test_a_commit_that_is_full(most: int) -> None:
    """It covers the messages before, and says how many these are."""
    group = await handler(Limits(group_commands=most)).decide_group(messages(), HEAD)
    assert (most, most, 9 + most) == (group.done, len(group.verdicts), group.slices[0].offset)


@pytest.mark.parametrize("most", range(1, 7))
async def test_a_full_commit_of_several_slices(most: int) -> None:
    """The offsets of the slices cover exactly the messages that are done; of the others they stay as they were."""
    commands = CommandHandler(
        decider=order, events=EVENTS, commands=COMMANDS, window=10, limits=Limits(group_commands=most)
    )
    its = GroupHandler(commands, journal=MemoryJournal(), cache=Cache(10**6), log="order@0", slices=8)
    head = replace(HEAD, slices={slice: SliceHead(9, 3) for slice in (1, 3, 6)})
    keys = [(1, b"order-6"), (6, b"order-1"), (6, b"order-5"), (1, b"order-7"), (6, b"order-11"), (1, b"order-13")]
    sent, next_offset = [], {1: 10, 6: 10}
    for slice, key in keys:
        headers = command_headers(key.decode(), "OpenOrder", "/test")
        sent.append(Message(slice, next_offset[slice], key, json.dumps(OPEN).encode(), headers, 1.0))
        next_offset[slice] += 1
    group = await its.decide_group(sent, head)
    expected = dict(head.slices)
    for message in sent[:most]:
        expected[message.partition] = SliceHead(message.offset, 5)
    assert (most, expected) == (group.done, group.slices)
    assert [key.decode() for _, key in keys[:most]] == [row.aggregate_id for row in group.events]


async def test_warm_aggregates_are_those_of_the_slice() -> None:
    """A command in a wrong partition has nothing loaded: the aggregate is another owner's, who goes on changing it."""
    commands = CommandHandler(decider=order, events=EVENTS, commands=COMMANDS, window=10, limits=Limits())
    its = GroupHandler(commands, journal=MemoryJournal(), cache=Cache(10**6), log="order@1", slices=8)
    await its.warm([Message(1, 10, b"order-6", b"{}", [], 1.0), Message(1, 11, b"order-1", b"{}", [], 1.0)], 0)
    assert (True, False) == ("order-6" in its.cache, "order-1" in its.cache)


async def test_a_group_without_an_event() -> None:
    """The newest commit of the slice that holds an event is an older one."""
    group = await handler(Limits()).decide_group(messages()[1:2], HEAD)
    assert ({0: SliceHead(11, 3)}, (), 1) == (group.slices, group.events, group.done)


def test_where_a_reply_goes() -> None:
    """Its key is the one that the command names, or else its correlation id, or else its own id."""
    group = DecidedGroup("order@0", "order", Limits(), nr=1, slices={}, time=EPOCH)
    reply = Reply("id", "accepted", AggregateRef("order", "1", 1))
    for reply_key, correlation_id in (("k", "c"), ("", "c"), ("", "")):
        envelope = Envelope(
            "id", "AddLine", "1", b"", "application/json", 0, 0, EPOCH,
            correlation_id=correlation_id, reply_to="r", reply_key=reply_key,
        )  # fmt: skip
        group.add(envelope, reply, [])
    assert ["k", "c", "id"] == [key for _, key, _ in group.replies]


async def test_a_note_of_a_newer_version() -> None:
    """It is as an event that this code does not know: its slice is held, and the owner of the log goes on."""
    its = handler(Limits())
    note = RecordedEvent("1", 0, "#tomorrow", b"", "c0")
    journal = MemoryJournal()
    await journal.derive([replace(HEAD, events=(note,))])
    its._journal = journal
    group = await its.decide_group(messages(), HEAD)
    assert [(10, "1")] == [(held.offset, held.aggregate_id) for held in group.held.values()]
    with pytest.raises(NotReadableYet, match="#tomorrow"):
        await its.look("1")
