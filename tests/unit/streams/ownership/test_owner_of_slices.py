"""One owner of a log with several slices: each has offsets, positions and troubles of its own; commits they share."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from streams.deciding.messages import Message, command_headers
from streams.journal.layout import LogSpan
from streams.journal.port import Commit, SliceHead
from streams.slices import slice_of
from tests.owners import RunningOwner
from tests.unit.streams.ownership.owner_bench import LINE, OPEN, Bench, Sent
from tests.unit.until import until

SPAN = LogSpan(number=1, seat=5, slices=(1, 6))
KEYS = {1: ["order-6", "order-7", "order-13"], 6: ["order-1", "order-5", "order-11"]}


class Slices(Bench):
    """The two slices of `order@1`, of eight that there are."""

    def __init__(self) -> None:
        super().__init__(slices=8, span=SPAN)
        assert all(slice_of(key, 8) == slice for slice, keys in KEYS.items() for key in keys)
        self.ends: Counter[int] = Counter()

    def put(self, slice: int, type: str, data: Any = None, key: str = "", id: str = "") -> Message:
        """The next command of a slice."""
        at = self.ends[slice]
        self.ends[slice] += 1
        headers = command_headers(id or f"{slice}/{at}", type, "/test", "replies")
        value = json.dumps(data or {}).encode()
        return Message(slice, at, (key or KEYS[slice][0]).encode(), value, headers, 1.0)

    @property
    def log(self) -> list[Commit]:
        return self.store.log["order@1"]


@pytest.fixture
async def it() -> AsyncIterator[Slices]:
    slices = Slices()
    yield slices
    await slices.close()


async def held_up(it: Slices, group_bytes: int = 10_000) -> tuple[RunningOwner, Sent, asyncio.Event]:
    """An owner in the middle of its first group, an order opened in slice 1, until the event is set."""
    owner, journal, sent = await it.owner(group_bytes=group_bytes)
    tried, go = asyncio.Event(), asyncio.Event()

    async def hold(commit: Commit) -> None:
        tried.set()
        await go.wait()

    journal.on_append = hold
    await owner.deliver(1, [it.put(1, "OpenOrder", OPEN)])
    await tried.wait()
    return owner, sent, go


async def test_one_commit_for_all(it: Slices) -> None:
    """What waits in any of the slices shares a commit, whose hint goes to the seat of the log; each reply names the
    position in the stream of its slice."""
    owner, sent, go = await held_up(it)
    await owner.deliver(6, [it.put(6, "OpenOrder", OPEN, key) for key in KEYS[6]])
    await owner.deliver(1, [it.put(1, "AddLine", LINE)])
    go.set()
    await until(lambda: len(sent.replied) == 5)
    assert {1: SliceHead(0, 2), 6: SliceHead()} == it.log[1].slices
    assert {1: SliceHead(1, 3), 6: SliceHead(2, 3)} == it.log[2].slices
    assert ["order-1:2", *["order-6:3"] * 3, "order-1:3"] == [reply["position"] for reply in sent.replied]
    assert [(5, 1), (5, 2), (5, 3)] == [hint for kind, hint in sent.log if kind == "hint"]
    assert ({1: 2, 6: 3}, (1, 6), "order@1") == (owner.covered, owner.slices, owner.log)


@pytest.mark.parametrize(("group_bytes", "commits"), [(1, 9), (300, 4), (100_000, 3)])
async def test_a_group_that_is_cut_short(it: Slices, group_bytes: int, commits: int) -> None:
    """The offsets of the slices cover the commands that the commit has, and no other: an owner that takes over behind
    any of the commits begins with the first ones that are not done."""
    owner, sent, go = await held_up(it, group_bytes)
    done = [(1, "1/0")]
    for key in range(3):
        for slice in SPAN.slices:
            command = it.put(slice, "OpenOrder", OPEN, KEYS[slice][key])
            done.append((slice, f"{slice}/{command.offset}"))
            await owner.deliver(slice, [command])
    await owner.deliver(6, [it.put(6, "PlaceOrder", key=key) for key in KEYS[6][1:]])
    done += [(6, "6/3"), (6, "6/4")]
    go.set()
    await until(lambda: len(sent.replied) == len(done))
    assert [id for _, id in done] == [reply["command_id"] for reply in sent.replied]
    for commit in it.log:
        covered = sum(head.offset + 1 for head in commit.slices.values())
        so_far = Counter(slice for slice, _ in done[:covered])
        assert {slice: so_far[slice] - 1 for slice in SPAN.slices} == {
            slice: head.offset for slice, head in commit.slices.items()
        }
    assert (it.ends, commits) == (owner.covered, len(it.log))


async def test_a_position_where_nothing_happened(it: Slices) -> None:
    """A command that is rejected, fails, or was honoured before names the newest commit of its own slice that has an
    event, however much the others have: a reader who waits for it gets there."""
    owner, _, sent = await it.owner()
    await owner.deliver(1, [it.put(1, "OpenOrder", OPEN)])
    await until(lambda: len(sent.replied) == 1)
    await owner.deliver(6, [it.put(6, "PlaceOrder"), it.put(6, "Nonsense"), it.put(6, "OpenOrder", OPEN)])
    await until(lambda: len(sent.replied) == 4)
    await owner.deliver(1, [it.put(1, "PlaceOrder"), it.put(1, "OpenOrder", OPEN, id="again")])
    await until(lambda: len(sent.replied) == 6)
    assert ["order-1:2", "order-6:0", "order-6:0", "order-6:3", "order-1:2", "order-1:2"] == [
        reply["position"] for reply in sent.replied
    ]
    statuses = ["accepted", "rejected", "failed", "accepted", "rejected", "accepted"]
    assert statuses == [reply["status"] for reply in sent.replied]
    await owner.close()
    newcomer, _, later = await it.owner()
    await newcomer.deliver(1, [it.put(1, "OpenOrder", OPEN, id="again")])
    await until(lambda: len(later.replied) == 1)
    assert sent.replied[-1] == later.replied[0]


async def test_a_key_in_another_slice_of_the_log(it: Slices) -> None:
    """It is refused there, though its aggregate is at hand: the order of its commands is that of its own slice alone.
    The dead letter is where it was sent to."""
    owner, _, sent = await it.owner()
    await owner.deliver(1, [it.put(1, "OpenOrder", OPEN)])
    await until(lambda: len(sent.replied) == 1)
    assert KEYS[1][0] in owner.handler.cache
    await owner.deliver(6, [it.put(6, "AddLine", LINE, key=KEYS[1][0])])
    await until(lambda: len(sent.replied) == 2)
    assert "key 'order-6' belongs to partition 1, not 6:" in sent.replied[1]["error"]["message"]
    [(envelope, type)] = [letter for kind, letter in sent.log if kind == "dead letter"]
    assert (6, 0, "WrongPartition") == (envelope.partition, envelope.offset, type)


async def test_messages_without_an_id(it: Slices) -> None:
    """The same offset of two slices are two commands."""
    owner, _, sent = await it.owner()
    for slice in SPAN.slices:
        message = Message(slice, 0, KEYS[slice][0].encode(), b"{}", [("ce_replyto", b"replies")], 1.0)
        await owner.deliver(slice, [message])
    await until(lambda: len(sent.replied) == 2)
    assert ["t1/1/0/1.000", "t1/6/0/1.000"] == [reply["command_id"] for reply in sent.replied]


async def test_messages_are_missing_in_one_slice(it: Slices) -> None:
    """Then the log begins anew, each slice from what is covered of it."""
    owner, _, sent = await it.owner()
    await owner.deliver(1, [it.put(1, "OpenOrder", OPEN)])
    await owner.deliver(6, [it.put(6, "OpenOrder", OPEN)])
    await until(lambda: len(sent.replied) == 2)
    it.ends[6] += 1
    await owner.deliver(6, [it.put(6, "AddLine", LINE)])
    assert [owner] == it.lost
    assert "offset 2 of partition 6 came where 1 was due" in owner.why_lost
    await owner.close()
    new, _, _ = await it.owner()
    assert {1: 1, 6: 1} == new.next_offsets


async def test_one_slice_lost_its_end(it: Slices) -> None:
    """The next owner goes on from the end of what is left of it; of the other one nothing is done twice or left out."""
    owner, _, sent = await it.owner()
    for slice in SPAN.slices:
        await owner.deliver(slice, [it.put(slice, "OpenOrder", OPEN, key) for key in KEYS[slice]])
    await until(lambda: len(sent.replied) == 6)
    it.topic.lengths[6] = it.ends[6] = 1
    owner.went_back(1)
    owner.went_back(6)
    await until(lambda: bool(it.lost))
    assert "partition 6 of the command topic ends before offset 1, and 3 was due" in owner.why_lost
    await owner.close()
    new, _, later = await it.owner()
    assert {1: 3, 6: 1} == new.next_offsets
    for slice in SPAN.slices:
        await new.deliver(slice, [it.put(slice, "AddLine", LINE, id=f"new/{slice}")])
    await until(lambda: len(later.replied) == 2)
    assert [("accepted", 2)] * 2 == [(reply["status"], reply["aggregate"]["sequence"]) for reply in later.replied]
