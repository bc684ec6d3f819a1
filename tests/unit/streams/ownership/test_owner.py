"""One owner of one log, over the journal in memory: fence, group commit, offsets, replies."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from aggregates.shop.order import order
from streams.concurrency.tasks import cancel
from streams.deciding.cache import Cache
from streams.deciding.loading import load_aggregate
from streams.journal.memory import MemoryJournal
from streams.journal.port import (
    Commit,
    SliceHead,
    Unavailable,
)
from streams.slices import slice_of
from tests.unit.streams.ownership.owner_bench import EVENTS, LINE, OPEN, Bench, stuck
from tests.unit.until import until


@pytest.fixture
async def bench() -> Any:
    bench = Bench()
    yield bench
    await bench.close()


async def test_what_it_has_in_memory_ends_with_it(bench: Bench) -> None:
    """And the others have its part again at once: the collector, which looks at little and seldom, may find it hours
    later, and a log that cannot be taken over has another owner every few seconds."""
    owner, _, sent = await bench.owner()
    await owner.deliver(0, [bench.command("OpenOrder", OPEN)])
    await until(lambda: len(sent.replied) == 1)
    cache = owner.handler.cache
    other = Cache(cache._budget)
    assert (1, 500_000) == (len(cache), other.limit)
    await owner.close()
    assert (0, 0, 1_000_000) == (len(cache), cache.weight, other.limit)


async def test_one_that_nobody_has_is_gone(bench: Bench) -> None:
    """Without the collector: so are the caches that it knew of logs before its own."""
    owner, _, sent = await bench.owner()
    await owner.deliver(0, [bench.command("OpenOrder", OPEN)])
    await until(lambda: len(sent.replied) == 1)
    await owner.close()
    gone = weakref.ref(owner)
    bench.owners.clear()
    del owner
    assert gone() is None


async def test_commit_then_reply(bench: Bench) -> None:
    """A reply is sent when the commit that covers its command stands in the journal, and names it."""
    owner, journal, sent = await bench.owner()
    await owner.deliver(0, [bench.command("OpenOrder", OPEN)])
    await until(lambda: len(sent.replied) == 1)
    reply = sent.replied[0]
    assert ("accepted", ["OrderOpened"], "order-0:2") == (reply["status"], reply["events"], reply["position"])
    assert {"type": "order", "id": "1", "sequence": 1} == reply["aggregate"]
    head = await journal.head("order@0")
    assert head is not None
    assert (2, {0: SliceHead(0, 2)}) == (head.nr, head.slices)
    assert 1 == owner.covered[0]


async def test_rejected_and_failed(bench: Bench) -> None:
    """A rejection writes no event but covers its offset; a failure is a dead letter before it is answered."""
    owner, journal, sent = await bench.owner()
    await owner.deliver(0, [bench.command("PlaceOrder")])
    await owner.deliver(0, [bench.command("Nonsense")])
    await until(lambda: len(sent.replied) == 2)
    assert ["rejected", "failed"] == [reply["status"] for reply in sent.replied]
    assert ["UnknownOrder", "UnknownCommand"] == [reply["error"]["type"] for reply in sent.replied]
    kinds = [kind for kind, _ in sent.log]
    assert kinds.index("dead letter") < len(kinds) - 1
    head = await journal.head("order@0")
    assert head is not None
    assert {0: SliceHead(1, 0)} == head.slices


async def test_wrong_partition() -> None:
    """Who sends there is told by whose fault that is: his partitioner, or somebody has added partitions."""
    bench = Bench(slices=8)
    owner, _, sent = await bench.owner()
    assert 3 == slice_of("order-2", 8)
    await owner.deliver(0, [bench.command("OpenOrder", OPEN, order="order-2")])
    await until(lambda: len(sent.replied) == 1)
    bench.advice = "order-commands has 12 partitions, PARTITIONS says 8"
    await owner.deliver(0, [bench.command("OpenOrder", OPEN, order="order-2")])
    await until(lambda: len(sent.replied) == 2)
    one, two = (reply["error"]["message"] for reply in sent.replied)
    assert one.startswith("key 'order-2' belongs to partition 3, not 0: use the murmur2 partitioner")
    assert two == f"key 'order-2' belongs to partition 3, not 0: {bench.advice}"
    await bench.close()


async def test_same_id_again(bench: Bench) -> None:
    """A command id sent again has no second effect and gets the first reply, in memory, loaded, and after takeover."""
    owner, _, sent = await bench.owner(every=2)
    await owner.deliver(0, [bench.command("OpenOrder", OPEN)])
    for number in range(6):
        await owner.deliver(0, [bench.command("AddLine", LINE, id=f"line{number}")])
    await owner.deliver(0, [bench.command("AddLine", LINE, id="line0")])
    await until(lambda: len(sent.replied) == 8)
    assert sent.replied[1] == sent.replied[7]
    await owner.close()
    newcomer, journal, sent_later = await bench.owner()
    await newcomer.deliver(0, [bench.command("AddLine", LINE, id="line3")])
    await until(lambda: len(sent_later.replied) == 1)
    assert sent.replied[4] == sent_later.replied[0]
    aggregate = await load_aggregate(journal, order, EVENTS, "1", 1_000)
    assert (7, Decimal(36)) == (aggregate.sequence, aggregate.state.pieces)
    assert await journal.snapshot("order", "1") is not None


async def test_honoured_before(bench: Bench) -> None:
    """An accepted command without an event is remembered too, also after a takeover."""
    owner, _, sent = await bench.owner()
    for type_, data in (("OpenOrder", OPEN), ("AddLine", LINE), ("PlaceOrder", None)):
        await owner.deliver(0, [bench.command(type_, data)])
    await owner.deliver(0, [bench.command("PlaceOrder", id="again")])
    await until(lambda: len(sent.replied) == 4)
    assert ("accepted", [], 3) == (
        sent.replied[3]["status"],
        sent.replied[3]["events"],
        sent.replied[3]["aggregate"]["sequence"],
    )
    await owner.close()
    newcomer, _, later = await bench.owner()
    await newcomer.deliver(0, [bench.command("CancelOrder", {"reason": "changed my mind"})])
    await newcomer.deliver(0, [bench.command("PlaceOrder", id="again")])
    await until(lambda: len(later.replied) == 2)
    assert sent.replied[3] == later.replied[1]


async def test_fenced(bench: Bench) -> None:
    """The former owner's next append finds another's commit: no reply, no acknowledgement, ownership given up."""
    old, _, old_sent = await bench.owner()
    await old.deliver(0, [bench.command("OpenOrder", OPEN)])
    await until(lambda: len(old_sent.replied) == 1)
    new, journal, new_sent = await bench.owner()
    await old.deliver(0, [bench.command("AddLine", LINE, id="x")])
    await until(lambda: bool(bench.lost))
    assert [old] == bench.lost
    assert not old.is_owner
    assert 1 == len(old_sent.replied)
    assert 1 == old.covered[0]
    await new.deliver(0, [bench.command("AddLine", LINE, id="x", offset=1)])
    await until(lambda: len(new_sent.replied) == 1)
    await new.close()
    assert 2 == len(await journal.events("order", "1"))


@pytest.mark.parametrize("how", ["fails", "is cut off"])
async def test_what_was_loaded_before_a_takeover_was_whole(
    bench: Bench, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the former owner's commits are derived an aggregate that is loaded lacks them. An attempt to take over
    that ends there leaves nothing of it to the next one, which the same owner makes."""
    first, journal, sent = await bench.owner()

    async def refused(commits: Sequence[Commit]) -> None:
        raise RuntimeError("a bug of the driver")

    monkeypatch.setattr(journal, "derive", refused)
    await first.deliver(0, [bench.command("OpenOrder", OPEN)])
    await until(lambda: len(sent.replied) == 1 and first.lost is not None)
    owner, journal, sent = await bench.new_owner()

    async def early(commits: Sequence[Commit]) -> None:
        await owner.warm([bench.command("AddLine", LINE)])
        if how == "is cut off":
            raise asyncio.CancelledError
        raise RuntimeError("a bug of the driver")

    with monkeypatch.context() as broken:
        broken.setattr(journal, "derive", early)
        with pytest.raises((RuntimeError, asyncio.CancelledError)):
            await owner.take_over()
    assert owner.can_go_on
    assert not owner.is_owner
    await owner.take_over()
    owner.resume()
    await owner.deliver(0, [bench.command("AddLine", LINE, offset=1)])
    await until(lambda: len(sent.replied) == 1)
    assert ("accepted", 2) == (sent.replied[0]["status"], sent.replied[0]["aggregate"]["sequence"])


async def test_lost_response(bench: Bench) -> None:
    """An append whose answer is lost is asked again until it is known, and has one effect."""
    owner, journal, sent = await bench.owner()
    tries: list[int] = []

    async def write_but_say_nothing(commit: Commit) -> None:
        tries.append(commit.nr)
        if len(tries) == 1:
            await MemoryJournal.append(journal, commit)
        if len(tries) < 3:
            raise Unavailable("no answer")

    journal.on_append = write_but_say_nothing
    await owner.deliver(0, [bench.command("OpenOrder", OPEN)])
    await until(lambda: len(sent.replied) == 1)
    assert [2, 2, 2] == tries
    await owner.close()
    assert 1 == len(await journal.events("order", "1"))


async def test_journal_down(bench: Bench) -> None:
    """While the journal is down an owner holds; told to let go, it does so in time, and the next one goes on."""
    owner, sent = await stuck(bench)
    await owner.suspend(0.05)
    assert not owner.is_owner
    assert ([], 0) == (sent.replied, owner.covered[0])
    new, _, new_sent = await bench.owner()
    assert 0 == new.next_offsets[0]
    await new.deliver(0, [bench.command("OpenOrder", OPEN, offset=0)])
    await until(lambda: len(new_sent.replied) == 1)
    assert "accepted" == new_sent.replied[0]["status"]


@pytest.mark.parametrize("where", ["append", "load"])
async def test_what_an_owner_waits_for(bench: Bench, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal that is away is told once it has gone on for a while, and that it is over."""
    monkeypatch.setattr("streams.concurrency.retry.PATIENCE_SECONDS", 0.1)
    owner, journal, sent = await bench.owner()
    for _ in range(2):
        well, bench.waits[:] = asyncio.Event(), []

        async def down(commit: Commit, well: asyncio.Event = well) -> None:
            if not well.is_set():
                raise Unavailable("the journal is away")

        async def held(ids: Any, well: asyncio.Event = well, load: Any = owner.handler.load) -> None:
            if not well.is_set():
                raise Unavailable("the journal is away")
            await load(ids)

        if where == "append":
            journal.on_append = down
        else:
            owner.handler.load = held  # type: ignore[method-assign]
        await owner.deliver(0, [bench.command("OpenOrder", OPEN)])
        await until(lambda: bool(bench.waits))
        assert "the journal is away" == bench.waits[0]
        well.set()
        await until(lambda: "" in bench.waits)
    await until(lambda: len(sent.replied) == 2)


async def test_cut_short_while_it_lets_go(bench: Bench) -> None:
    """Whoever ends an owner after that ends what is left of it: none of its tasks stays behind."""
    owner, journal, _ = await bench.owner()
    hang, tried = asyncio.Event(), asyncio.Event()

    async def hangs(commit: Commit) -> None:
        tried.set()
        await hang.wait()

    journal.on_append = hangs
    await owner.deliver(0, [bench.command("OpenOrder", OPEN)])
    await tried.wait()
    closing = asyncio.create_task(owner.close(60))
    await asyncio.sleep(0)
    await cancel(closing)
    await owner.close(0.01)
    assert [] == [task.get_name() for task in asyncio.all_tasks() if "order@0" in task.get_name()]


async def test_offsets(bench: Bench) -> None:
    """What is covered is not done twice; where messages are missing, ownership begins anew."""
    owner, _, sent = await bench.owner()
    await owner.deliver(0, [bench.command("OpenOrder", OPEN)])
    await until(lambda: len(sent.replied) == 1)
    await owner.deliver(0, [bench.command("OpenOrder", OPEN, offset=0)])
    assert (1, (0, 0)) == (owner.next_offsets[0], owner.queued)
    await owner.deliver(0, [bench.command("AddLine", LINE, offset=5)])
    assert [owner] == bench.lost
    assert (1, (0, 0)) == (owner.next_offsets[0], owner.queued)


async def test_gap_looked_into_over_a_rebalance(bench: Bench) -> None:
    """A gap found empty says nothing once the owner has gone back: what it then skipped would be lost. The batch was
    read before that, and is left out."""
    owner, _, sent = await bench.owner()
    await owner.deliver(0, [bench.command("OpenOrder", OPEN)])
    await until(lambda: len(sent.replied) == 1)
    looked: list[tuple[int, int]] = []

    async def look(slice: int, start: int, end: int) -> bool:
        looked.append((start, end))
        if len(looked) == 1:
            await owner.suspend(1)
            owner.resume()
            return True
        return False

    bench.topic.gap_is_empty = look  # type: ignore[method-assign]
    owner.intakes[0].next_offset = 4
    await owner.deliver(0, [bench.command("AddLine", LINE, offset=6)])
    assert [(4, 6)] == looked
    assert (1, (0, 0)) == (owner.next_offsets[0], owner.queued)
    assert [] == bench.lost


async def test_topic_made_again(bench: Bench) -> None:
    """Offsets belong to one incarnation of the topic: after it was made again, reading starts at its beginning."""
    owner, _, sent = await bench.owner("t1")
    await owner.deliver(0, [bench.command("OpenOrder", OPEN)])
    await until(lambda: len(sent.replied) == 1)
    await owner.close()
    assert 1 == (await bench.owner("t1"))[0].next_offsets[0]
    bench.topic.id = "t2"
    assert 0 == (await bench.owner("t2"))[0].next_offsets[0]


async def test_topic_that_lost_its_end(bench: Bench) -> None:
    """Where Kafka has lost what the journal covers, new commands get old offsets: the owner that is told to look gives
    up, and the next one goes on from the end of what is left."""
    owner, _, sent = await bench.owner()
    for number in range(4):
        await owner.deliver(0, [bench.command("OpenOrder", OPEN, order=str(number))])
    await until(lambda: len(sent.replied) == 4)
    bench.topic.length = 2
    owner.went_back(0)
    await until(lambda: bool(bench.lost))
    await owner.close()
    new, _, new_sent = await bench.owner()
    assert 2 == new.next_offsets[0]
    await new.deliver(0, [bench.command("AddLine", LINE, order="0", id="new", offset=2)])
    await until(lambda: len(new_sent.replied) == 1)
    assert ("accepted", 2) == (new_sent.replied[0]["status"], new_sent.replied[0]["aggregate"]["sequence"])


async def test_topic_that_lost_its_end_and_grew_again(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Where new commands have taken the old offsets, nobody can tell which: it is said, and the owner goes on."""
    owner, _, sent = await bench.owner()
    await owner.deliver(0, [bench.command("OpenOrder", OPEN)])
    await until(lambda: len(sent.replied) == 1)
    bench.topic.length = 7
    owner.went_back(0)
    await until(lambda: "Kafka had lost commands of partition 0 before offset 1" in caplog.text)
    await owner.deliver(0, [bench.command("AddLine", LINE)])
    await until(lambda: len(sent.replied) == 2)
    assert [] == bench.lost


async def test_topic_made_again_during_takeover(bench: Bench) -> None:
    """An owner that learned of its topic before that was made again does not go back: its commands would come again."""
    await bench.owner("t1")
    bench.topic.id = "t2"
    _, journal, sent = await bench.owner("t2")
    await bench.owners[1].deliver(0, [bench.command("OpenOrder", OPEN)])
    await until(lambda: len(sent.replied) == 1)
    with pytest.raises(Unavailable, match="made again"):
        await bench.owner("t1")
    head = await journal.head("order@0")
    assert head is not None
    assert ("t2", 0) == (head.topic_id, head.slices[0].offset)


async def test_topic_made_again_before_the_first_message(bench: Bench) -> None:
    """Kafka gives messages by the topic's name: an owner looks whether its first ones are of the topic it knows."""
    owner, journal, sent = await bench.owner("t1")
    bench.topic.id = "t2"
    await owner.deliver(0, [bench.command("OpenOrder", OPEN)])
    await until(lambda: bool(bench.lost))
    assert ([owner], 0, []) == (bench.lost, owner.covered[0], sent.replied)
    head = await journal.head("order@0")
    assert head is not None
    assert 1 == head.nr


async def test_bounded(bench: Bench) -> None:
    """The cache stays within its weight, and what it forgot is loaded again."""
    owner, _, sent = await bench.owner(cache=20_000)
    for number in range(100):
        await owner.deliver(0, [bench.command("OpenOrder", OPEN, order=str(number))])
    await until(lambda: len(sent.replied) == 100)
    await until(lambda: owner.derivation.derived_nr == (owner.head.nr if owner.head else 0))
    await owner.deliver(0, [bench.command("AddLine", LINE, order="0")])
    await until(lambda: len(sent.replied) == 101)
    assert ("accepted", 2) == (sent.replied[100]["status"], sent.replied[100]["aggregate"]["sequence"])
    assert owner.handler.cache.weight <= 20_000


@pytest.mark.parametrize("where", ["in a gap", "at the end"])
async def test_what_is_done_for_an_owner_fails(bench: Bench, where: str) -> None:
    """Be it in a look at a gap, or at what Kafka has lost: it is lost by that, and says so."""
    owner, _, _ = await bench.owner()

    async def fails(*offsets: int) -> Any:
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "a header")

    bench.topic.gap_is_empty = bench.topic.ends = fails  # type: ignore[method-assign]
    if where == "in a gap":
        await owner.deliver(0, [bench.command("OpenOrder", OPEN, offset=3)])
    else:
        owner.went_back(0)
    await until(lambda: bench.lost == [owner])
    assert "a header" in owner.why_lost


async def test_a_gap_between_messages_that_were_read_together(bench: Bench) -> None:
    """There Kafka itself had nothing: nobody looks. So it is where the first of them have come before."""
    owner, _, sent = await bench.owner()
    for offsets in ((0, 3), (3, 5)):
        await owner.deliver(0, [bench.command("OpenOrder", OPEN, order=str(at), offset=at) for at in offsets])
    await until(lambda: len(sent.replied) == 3)
    assert ([], 6) == (bench.lost, owner.covered[0])


async def test_one_that_is_lost_in_the_middle_of_a_group(bench: Bench) -> None:
    """Nothing is said any more of what it waits for: another reason is shown by then."""
    owner, _ = await stuck(bench)
    owner.lose(RuntimeError("a bug"))
    owner._waits(Unavailable("no answer"))
    owner._waits(None)
    assert ([], "a bug") == (bench.waits, str(owner.lost))
    await owner.suspend(0)
