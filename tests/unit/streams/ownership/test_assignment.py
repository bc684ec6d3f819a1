"""Which partitions a worker owns, and that the trouble of one of them is its own."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from types import SimpleNamespace
from typing import Any

import pytest

from streams.concurrency.supervisor import Supervisor
from streams.concurrency.tasks import cancel
from streams.deciding.messages import Message
from streams.journal.commit_codec import UnreadableCommit
from streams.journal.port import Fenced, JournalMissing, Unavailable
from streams.kafka.topic_metadata import TopicMetadata
from streams.ownership.assignment import Assignment
from streams.ownership.waiting import WaitingLog
from streams.settings import SettingsError


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.ownership.assignment.GRACE_SECONDS", 0.05)
    for name, seconds in {"FIRST_PAUSE": 0.001, "LONGEST_PAUSE": 0.01}.items():
        monkeypatch.setattr(f"streams.ownership.owned_log.{name}", seconds)


class Queue:
    """Of commands: open or closed."""

    is_open = False


class Candidate:
    """An owner that takes over as the rig says, and notes what it gets."""

    def __init__(self, rig: Rig, partition: int, topic_id: str) -> None:
        self.partition, self.topic_id, self.rig = partition, topic_id, rig
        self.is_owner = False
        self.head: Any = None
        self.covered = 7
        self.queue = Queue()
        self.intake = SimpleNamespace(next_offset=7, went_back=lambda: self.lose("a bug", rig.look_back))
        self.why_lost, self.lost = "", None
        self.calls: list[str] = []
        self.closing: asyncio.Event | None = None
        self.got: list[int] = []
        self.ended = asyncio.Event()

    @property
    def can_go_on(self) -> bool:
        return self.is_owner

    async def take_over(self) -> None:
        self.rig.attempts[self.partition] += 1
        trouble = self.rig.trouble.get(self.partition)
        if trouble is not None:
            await trouble()
        self.head, self.is_owner = "a commit", True

    def open(self) -> None:
        self.calls.append("open")
        self.queue.is_open = True
        self.ended.clear()

    async def run(self) -> Exception | None:
        await self.ended.wait()
        return self.lost

    def stop(self) -> None:
        self.calls.append("stop")
        self.queue.is_open = False
        self.ended.set()

    async def close(self, why: str = "") -> None:
        self.is_owner = False
        if self.closing is not None:
            await self.closing.wait()
        self.calls.append("close")

    async def deliver(self, messages: Iterable[Message]) -> None:
        self.got += [message.offset for message in messages]

    def lose(self, why: str, by: Exception | None = None) -> None:
        """As `Owner` does."""
        self.is_owner, self.why_lost, self.lost = False, why, by or Unavailable(why)
        self.queue.is_open = False
        self.ended.set()


class Rig:
    """An ownership, its owners by partition, and where it had the consumer go on. The worker of that ownership."""

    def __init__(self) -> None:
        self.trouble: dict[int, Callable[[], Any]] = {}
        self.attempts: Counter[int] = Counter()
        self.made: dict[int, list[Candidate]] = {}
        self.waiting: dict[int, WaitingLog] = {}
        self.sought: list[tuple[int, int]] = []
        self.look_back: Exception = RuntimeError("a bug")
        self.supervisor = Supervisor()
        self.topic: TopicMetadata | None = TopicMetadata("t", 4)
        self.member = asyncio.Event()
        self.member.set()
        self.ownership = Assignment("order", self, self.supervisor)

    def new_owner(self, partition: int, topic_id: str, waiting: WaitingLog) -> Any:
        owner = Candidate(self, partition, topic_id)
        self.made.setdefault(partition, []).append(owner)
        self.waiting[partition] = waiting
        return owner

    async def describe(self) -> TopicMetadata | None:
        return self.topic

    async def seek(self, partition: int, offset: int) -> None:
        self.sought.append((partition, offset))

    async def confirmed(self) -> None:
        await self.member.wait()

    def fails_with(self, partition: int, error: Exception) -> None:
        async def fail() -> None:
            raise error

        self.trouble[partition] = fail

    def hangs(self, partition: int) -> asyncio.Event:
        """Until the event is set."""
        go_on = asyncio.Event()

        async def wait() -> None:
            await go_on.wait()

        self.trouble[partition] = wait
        return go_on

    async def assigned(self, *partitions: int) -> dict[int, int]:
        """As a rebalance does."""
        await self.ownership.revoke()
        await self.ownership.assign(set(partitions))
        return await self.ownership.positions()


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    rig = Rig()
    yield rig
    await rig.ownership.close()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def test_taken_over(rig: Rig) -> None:
    """What is taken over at once is read from where its owner says, and nothing else is sought."""
    assert {0: 7, 1: 7} == await rig.assigned(0, 1)
    assert rig.ownership.ready
    assert {0, 1} == rig.ownership.served
    assert [] == rig.sought


async def test_one_that_hangs_keeps_no_other_waiting(rig: Rig) -> None:
    """It is waited for no longer than takeovers usually take, by nobody; when it is done, it alone is sought."""
    go_on = rig.hangs(1)
    async with asyncio.timeout(1):
        assert {0: 7} == await rig.assigned(0, 1)
    assert {0} == rig.ownership.served
    assert not rig.ownership.ready
    async with asyncio.timeout(1):  # nor does a rebalance wait for it
        assert {0: 7} == await rig.assigned(0, 1)
    go_on.set()
    await until(lambda: rig.ownership.ready)
    assert [(1, 7)] == rig.sought


async def test_all_are_served(rig: Rig) -> None:
    """Who waits for that is let go when the last one is."""
    go_on = rig.hangs(1)
    await rig.assigned(0, 1)
    waiting = asyncio.create_task(rig.ownership.all_served())
    done, _ = await asyncio.wait({waiting}, timeout=0.05)
    assert not done
    go_on.set()
    async with asyncio.timeout(1):
        await waiting
    assert {0, 1} == rig.ownership.served


@pytest.mark.parametrize(
    "error",
    [
        Unavailable("no answer"),
        UnreadableCommit("order-1: commit 9 has a format of tomorrow"),
        JournalMissing("there is no table"),
        SettingsError("JOURNAL_URL: this user is refused"),
        RuntimeError("a bug"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_one_that_cannot_be_taken_over(rig: Rig, error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """It is tried again by itself, says why once, and is served as soon as it can be; the others know nothing of it."""
    rig.fails_with(1, error)
    assert {0: 7} == await rig.assigned(0, 1)
    await until(lambda: rig.attempts[1] > 5)
    assert str(error) in rig.supervisor.troubles["order-1"]
    assert str(error) in rig.ownership.logs[1].waiting.reason
    assert "" == rig.ownership.logs[0].waiting.reason
    lines = [record for record in caplog.records if str(error) in record.getMessage()]
    assert 1 == len(lines)
    assert isinstance(error, RuntimeError) == (lines[0].exc_info is not None)
    del rig.trouble[1]
    await until(lambda: rig.ownership.ready)
    assert ({}, [(1, 7)]) == (rig.supervisor.troubles, rig.sought)
    assert ["open"] == rig.made[0][-1].calls
    assert 1 == rig.attempts[0]


async def test_topic_without_a_leader(rig: Rig) -> None:
    """It is waited for."""
    rig.topic = None
    assert {} == await rig.assigned(0)
    assert "leader" in rig.ownership.logs[0].waiting.reason
    rig.topic = TopicMetadata("t", 4)
    await until(lambda: rig.ownership.ready)


@pytest.mark.parametrize("by", [None, Fenced("another"), RuntimeError("a bug")], ids=repr)
async def test_lost(rig: Rig, by: Exception | None) -> None:
    """An owner that is lost is begun anew, of its partition alone, by another one; the reason is said meanwhile."""
    await rig.assigned(0, 1)
    first = rig.made[1][0]
    go_on = rig.hangs(1)
    first.lose("given up for a reason", by)
    await until(lambda: len(rig.made[1]) == 2)
    assert "given up for a reason" == rig.ownership.logs[1].waiting.reason
    assert {0} == rig.ownership.served
    go_on.set()
    await until(lambda: rig.ownership.ready)
    assert [(1, 7)] == rig.sought
    assert ["open", "close"] == first.calls
    assert ["open"] == rig.made[0][0].calls


async def test_fenced_and_cut_off_from_the_group(rig: Rig) -> None:
    """Who was fenced takes over again when the group says that it is a member: else two would fence each other in
    turn. A rebalance says so too."""
    await rig.assigned(0, 1)
    rig.member.clear()
    rig.made[1][0].lose("fenced, another owner has taken over", Fenced("another"))
    await until(lambda: "close" in rig.made[1][0].calls)
    await asyncio.sleep(0.05)
    assert (1, {0}, "fenced, another owner has taken over") == (
        rig.attempts[1],
        rig.ownership.served,
        rig.ownership.logs[1].waiting.reason,
    )
    rig.member.set()
    await until(lambda: rig.ownership.ready)
    rig.member.clear()
    rig.made[0][0].lose("fenced, another owner has taken over", Fenced("another"))
    await until(lambda: "close" in rig.made[0][0].calls)
    await rig.assigned(0, 1)
    await until(lambda: rig.ownership.ready)


async def test_one_that_waits_in_the_middle_of_its_work(rig: Rig) -> None:
    """It says for what, it is not served, and nobody is ready; when it goes on all is well."""
    await rig.assigned(0, 1)
    rig.waiting[1].begin(Unavailable("no answer"), "no answer")
    assert (False, {0}, "no answer") == (
        rig.ownership.ready,
        rig.ownership.served,
        rig.ownership.logs[1].waiting.reason,
    )
    assert {"order-1": "no answer"} == rig.supervisor.troubles
    waiting = asyncio.create_task(rig.ownership.all_served())
    await asyncio.sleep(0)
    rig.waiting[1].end()
    async with asyncio.timeout(1):
        await waiting
    assert (True, {}) == (rig.ownership.ready, rig.supervisor.troubles)


async def test_revoked_while_it_waits(rig: Rig) -> None:
    """Whether the partition stays or goes, what was waited for is over with the rebalance."""
    await rig.assigned(0, 1)
    for partition in (0, 1):
        rig.waiting[partition].begin(Unavailable("no answer"), "no answer")
    await rig.assigned(0)
    assert (True, {}) == (rig.ownership.ready, rig.supervisor.troubles)


@pytest.mark.parametrize("stays", [True, False])
async def test_revoked_while_it_gives_up(rig: Rig, stays: bool) -> None:
    """An owner whose end was cut short by a rebalance is ended after that."""
    await rig.assigned(0)
    first = rig.made[0][0]
    first.closing = asyncio.Event()
    first.lose("for a reason")
    await until(lambda: rig.ownership.logs[0].waiting.reason == "for a reason")
    await rig.ownership.revoke()
    first.closing.set()
    await rig.ownership.assign({0} if stays else set())
    await until(lambda: "close" in first.calls)
    assert ["open", "stop", "close"] == first.calls


async def test_one_that_cannot_go_on_is_ended_before_another_is_made(rig: Rig) -> None:
    """What it may have begun does not stay behind."""
    rig.fails_with(0, Unavailable("no answer"))
    await rig.assigned(0)
    await until(lambda: len(rig.made[0]) > 2)
    assert [["close"], ["close"]] == [owner.calls for owner in rig.made[0][:2]]


async def test_lost_again_and_again(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """The trace of a bug is said once, however often it ends the owner."""
    await rig.assigned(0)
    for turn in range(4):
        await until(lambda: rig.ownership.ready)
        rig.made[0][-1].lose("the owner failed", RuntimeError("a bug"))
        await until(lambda turn=turn: len(rig.made[0]) == turn + 2)
    assert 1 == len([record for record in caplog.records if record.exc_info])


async def test_kept_over_a_rebalance(rig: Rig) -> None:
    """A partition that stays keeps its owner; one that goes is closed; one that comes back is taken over anew."""
    await rig.assigned(0, 1)
    await rig.assigned(0, 2)
    assert ["open", "stop", "open"] == rig.made[0][0].calls
    assert ["open", "stop", "close"] == rig.made[1][0].calls
    await rig.assigned(0, 1)
    assert [1, 2] == [len(rig.made[partition]) for partition in (0, 1)]


async def test_nothing_assigned(rig: Rig) -> None:
    """A worker that is left with nothing has nothing, says so, and is ready."""
    await rig.assigned(0, 1)
    assert {} == await rig.assigned()
    assert (set(), set(), {}) == (rig.ownership.assigned, rig.ownership.served, rig.ownership.logs)
    assert rig.ownership.ready
    async with asyncio.timeout(1):
        await rig.ownership.all_served()


async def test_one_that_waits_goes_to_another_worker(rig: Rig) -> None:
    """It is no trouble of this one any more, whatever it had waited for."""
    rig.fails_with(1, Unavailable("no answer"))
    rig.topic = None
    await rig.assigned(0, 1)
    await until(lambda: len(rig.supervisor.troubles) == 2)
    await rig.assigned(1)
    assert ["order-1"] == list(rig.supervisor.troubles)
    rig.topic = TopicMetadata("t", 4)
    await until(lambda: "no answer" in rig.ownership.logs[1].waiting.reason)
    await rig.assigned()
    assert {} == rig.supervisor.troubles


async def test_asked_in_the_middle_of_a_rebalance(rig: Rig) -> None:
    """Faust asks for positions also when it finds the flow stopped: nothing is begun then for what is about to go."""
    await rig.assigned(0, 1)
    await rig.ownership.revoke()
    assert {} == await rig.ownership.positions()
    assert set() == rig.ownership.served
    assert ["open", "stop"] == rig.made[0][0].calls


async def test_revoked_while_taking_over(rig: Rig) -> None:
    """What is about to be taken over when a rebalance begins is given up: it may belong to another worker by now."""
    go_on = rig.hangs(0)
    await rig.assigned(0)
    await rig.ownership.revoke()
    await rig.ownership.assign(set())
    go_on.set()
    for _ in range(10):
        await asyncio.sleep(0)
    assert ([], {}) == (rig.sought, rig.ownership.logs)
    assert {} == rig.supervisor.troubles


async def test_what_was_read_before_ownership_was_lost(rig: Rig) -> None:
    """The rest of a batch does not go to the next owner, for which it would be a gap."""
    await rig.assigned(0)
    first = rig.made[0][0]
    taken = asyncio.Event()

    async def deliver(messages: Iterable[Message]) -> None:
        for message in messages:
            first.got.append(message.offset)
            first.lose("for a reason")
            await taken.wait()
            if not first.queue.is_open:
                return

    first.deliver = deliver  # type: ignore[method-assign]
    delivering = asyncio.create_task(
        rig.ownership.deliver(0, [Message(offset, b"1", b"", (), 1.0) for offset in (7, 8, 9)])
    )
    await until(lambda: len(rig.made[0]) == 2 and rig.ownership.ready)
    taken.set()
    await delivering
    assert ([7], []) == (first.got, rig.made[0][1].got)


async def test_the_owner_that_the_consumer_group_hears_of(rig: Rig) -> None:
    """An offset is told of one that has taken over only."""
    go_on = rig.hangs(1)
    await rig.assigned(0, 1)
    assert (7, None, None) == tuple(rig.ownership.covered(partition) for partition in (0, 1, 2))
    go_on.set()


async def test_what_kafka_has_lost(rig: Rig) -> None:
    """Of one partition, ends its owner, which begins anew; nothing else is touched. One that is not here has none."""
    await rig.assigned(0, 1)
    rig.ownership.went_back(1)
    rig.ownership.went_back(2)
    await until(lambda: len(rig.made[1]) == 2 and rig.ownership.ready)
    assert ("a bug", 1) == (rig.made[1][0].why_lost, len(rig.made[0]))
    assert [(1, 7)] == rig.sought


async def test_a_revocation_that_was_cut_short(rig: Rig) -> None:
    """The next assignment ends what it has left, and the partition is served."""
    await rig.assigned(0)
    first: Any = rig.made[0][0]
    stop, first.stop = first.stop, lambda: None
    revoking = asyncio.create_task(rig.ownership.revoke())
    await asyncio.sleep(0.01)
    await cancel(revoking)
    first.stop = stop
    await rig.ownership.assign({0})
    await rig.ownership.positions()
    await until(lambda: rig.ownership.ready)
