"""Which logs a worker owns, that the trouble of one is its own, and that a rebalance stops only what moves."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import TopicAuthorizationFailedError

from streams.concurrency.supervisor import Supervisor
from streams.concurrency.tasks import cancel
from streams.deciding.messages import Message
from streams.journal.commit_codec import UnreadableCommit
from streams.journal.layout import Layout, LogSpan
from streams.journal.port import Fenced, JournalMissing, Unavailable
from streams.kafka.topic_metadata import TopicMetadata
from streams.ownership.assignment import Assignment
from streams.ownership.waiting import WaitingLog
from streams.settings import SettingsError
from tests.unit.until import until


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {"FIRST_PAUSE": 0.001, "LONGEST_PAUSE": 0.01}.items():
        monkeypatch.setattr(f"streams.ownership.owned_log.{name}", seconds)


class Queue:
    """Of commands: open or closed."""

    is_open = False


class Candidate:
    """An owner that takes over as the rig says, and notes what it gets."""

    def __init__(self, rig: Rig, span: LogSpan, topic_id: str) -> None:
        self.number, self.topic_id, self.rig = span.number, topic_id, rig
        self.log = f"order@{span.number}"
        self.is_owner = False
        self.head: Any = None
        self.is_first = False
        self.covered = dict.fromkeys(span.slices, 7)
        self.queue = Queue()
        self.why_lost, self.lost = "", None
        self.calls: list[str] = []
        self.closing: asyncio.Event | None = None
        self.got: list[tuple[int, int]] = []
        self.back: list[int] = []
        self.ended = asyncio.Event()

    @property
    def can_go_on(self) -> bool:
        return self.is_owner

    async def take_over(self, known: Sequence[Any], inherits: Callable[[Mapping[int, int]], None]) -> None:
        self.rig.attempts[self.number] += 1
        trouble = self.rig.trouble.get(self.number)
        if trouble is not None:
            await trouble()
        self.head, self.is_owner = SimpleNamespace(is_seal=False), True

    def open(self, source: Any) -> None:
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

    async def deliver(self, slice: int, messages: Iterable[Message]) -> None:
        self.got += [(slice, message.offset) for message in messages]

    def went_back(self, slice: int) -> None:
        self.back.append(slice)

    def lose(self, error: Exception | str, by: Exception | None = None) -> None:
        """As `Owner` does."""
        self.is_owner, self.why_lost, self.lost = False, str(error), by or Unavailable(str(error))
        self.queue.is_open = False
        self.ended.set()


class Reader:
    """A consumer of a log: notes from where it reads, and whether it does."""

    def __init__(self, rig: Rig, slices: Sequence[int]) -> None:
        self.rig, self.number = rig, min(slices)
        self.starts: list[Mapping[int, int]] = []
        self.receiver: Any = None
        self.error: Exception | None = None
        self.is_open = self.reads = False

    async def __aenter__(self) -> Reader:
        self.is_open = True
        return self

    async def __aexit__(self, *error: object) -> None:
        self.is_open = False

    async def run(self, start: Mapping[int, int], receiver: Any) -> None:
        self.starts.append(dict(start))
        self.receiver = receiver
        self.reads = True
        try:
            while self.error is None:
                await asyncio.sleep(0.001)
            raise self.error
        finally:
            self.reads = False


class Rig:
    """An ownership, its owners and readers by log. The worker of that ownership."""

    def __init__(self) -> None:
        self.trouble: dict[int, Callable[[], Any]] = {}
        self.attempts: Counter[int] = Counter()
        self.made: dict[int, list[Candidate]] = {}
        self.readers: dict[int, list[Reader]] = {}
        self.waiting: dict[int, WaitingLog] = {}
        self.supervisor = Supervisor()
        self.topic: TopicMetadata | None = TopicMetadata("t", 4)
        self.member = asyncio.Event()
        self.member.set()
        self.ownership = Assignment("order", self, self.supervisor)  # type: ignore[arg-type]

    async def place(self, *numbers: int) -> None:
        """A rebalance gives the worker the seats of these logs."""
        await self.ownership.assign(numbers, LAYOUT)

    async def note_seal(self, span: LogSpan, nr: int) -> None:
        raise AssertionError("none of these logs ends")

    def new_owner(self, span: LogSpan, parents: Sequence[LogSpan], topic_id: str, waiting: WaitingLog) -> Any:
        owner = Candidate(self, span, topic_id)
        self.made.setdefault(span.number, []).append(owner)
        self.waiting[span.number] = waiting
        return owner

    def new_reader(self, slices: Sequence[int]) -> Any:
        reader = Reader(self, slices)
        self.readers.setdefault(reader.number, []).append(reader)
        return reader

    async def describe(self) -> TopicMetadata | None:
        return self.topic

    async def confirmed(self) -> None:
        await self.member.wait()

    def fails_with(self, number: int, error: Exception) -> None:
        async def fail() -> None:
            raise error

        self.trouble[number] = fail

    def hangs(self, number: int) -> asyncio.Event:
        """Until the event is set."""
        go_on = asyncio.Event()

        async def wait() -> None:
            await go_on.wait()

        self.trouble[number] = wait
        return go_on

    @property
    def served(self) -> set[int]:
        return {log.span.number for log in self.ownership.served}

    async def assigned(self, *numbers: int) -> None:
        """As a rebalance does."""
        await self.ownership.revoke()
        await self.place(*numbers)

    async def serves(self, *numbers: int) -> None:
        """A rebalance, and all is taken over."""
        await self.assigned(*numbers)
        await until(lambda: self.ownership.ready)


def span(number: int) -> LogSpan:
    """A log of two slices."""
    return LogSpan(number=number, seat=number, slices=(number, number + 10))


LAYOUT = Layout(version=1, slices=20, logs=tuple(map(span, range(10))))


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    rig = Rig()
    yield rig
    await rig.ownership.close()
    assert not any(reader.is_open for readers in rig.readers.values() for reader in readers)


async def test_taken_over(rig: Rig) -> None:
    """What is taken over is read from where its owner says, and what is read goes to the owner."""
    await rig.serves(0, 1)
    assert {0, 1} == rig.served
    await until(lambda: all(readers[0].reads for readers in rig.readers.values()))
    assert [{0: 7, 10: 7}] == rig.readers[0][0].starts
    record = SimpleNamespace(offset=7, key=b"1", value=b"", headers=(), timestamp=1.0, partition=10, topic="t")
    await rig.readers[0][0].receiver.deliver(10, [record])
    rig.readers[0][0].receiver.went_back(0)
    assert ([(10, 7)], [0], []) == (rig.made[0][0].got, rig.made[0][0].back, rig.made[1][0].got)


async def test_one_that_hangs_keeps_no_other_waiting(rig: Rig) -> None:
    """It is waited for by nobody; neither is it by a rebalance."""
    go_on = rig.hangs(1)
    async with asyncio.timeout(20):
        await rig.assigned(0, 1)
        await until(lambda: rig.served == {0})
        assert not rig.ownership.ready
        await rig.assigned(0, 1)
        await until(lambda: rig.attempts[1] == 2)
    assert {0} == rig.served
    go_on.set()
    await until(lambda: rig.ownership.ready)
    assert ["open"] == rig.made[0][0].calls


async def test_all_are_served(rig: Rig) -> None:
    """Who waits for that is let go when the last one is."""
    go_on = rig.hangs(1)
    await rig.assigned(0, 1)
    waiting = asyncio.create_task(rig.ownership.all_served())
    done, _ = await asyncio.wait({waiting}, timeout=0.05)
    assert not done
    go_on.set()
    async with asyncio.timeout(20):
        await waiting
    assert {0, 1} == rig.served


@pytest.mark.parametrize(
    "error",
    [
        Unavailable("no answer"),
        UnreadableCommit("order@1: commit 9 has a format of tomorrow"),
        JournalMissing("there is no table"),
        SettingsError("JOURNAL_URL: this user is refused"),
        RuntimeError("a bug"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_one_that_cannot_be_taken_over(rig: Rig, error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """It is tried again by itself, says why once, and is served as soon as it can be; the others know nothing of it."""
    rig.fails_with(1, error)
    await rig.assigned(0, 1)
    await until(lambda: rig.attempts[1] > 5)
    assert str(error) in rig.supervisor.troubles["order@1"]
    assert str(error) in rig.ownership.logs[1].waiting.reason
    assert "" == rig.ownership.logs[0].waiting.reason
    lines = [record for record in caplog.records if str(error) in record.getMessage()]
    assert 1 == len(lines)
    assert isinstance(error, RuntimeError) == (lines[0].exc_info is not None)
    del rig.trouble[1]
    await until(lambda: rig.ownership.ready)
    assert {} == rig.supervisor.troubles
    assert ["open"] == rig.made[0][-1].calls
    assert 1 == rig.attempts[0]


async def test_a_topic_that_is_not_there(rig: Rig) -> None:
    """It is waited for."""
    rig.topic = None
    await rig.assigned(0)
    await until(lambda: "no command topic" in rig.ownership.logs[0].waiting.reason)
    rig.topic = TopicMetadata("t", 4)
    await until(lambda: rig.ownership.ready)


@pytest.mark.parametrize("by", [None, Fenced("another"), RuntimeError("a bug")], ids=repr)
async def test_lost(rig: Rig, by: Exception | None) -> None:
    """An owner that is lost is begun anew, of its log alone, by another one; the reason is said meanwhile, and nothing
    is read."""
    await rig.serves(0, 1)
    first, [reader] = rig.made[1][0], rig.readers[1]
    go_on = rig.hangs(1)
    first.lose("given up for a reason", by)
    await until(lambda: len(rig.made[1]) == 2)
    assert "given up for a reason" == rig.ownership.logs[1].waiting.reason
    assert {0} == rig.served
    assert not reader.reads
    go_on.set()
    await until(lambda: rig.ownership.ready and reader.reads)
    assert ([reader], 2) == (rig.readers[1], len(reader.starts))
    assert ["open", "close"] == first.calls
    assert ["open"] == rig.made[0][0].calls


async def test_one_that_cannot_be_read(rig: Rig) -> None:
    """An error of Kafka's ends its owner, which says so, and is begun anew."""
    await rig.serves(0, 1)
    rig.readers[1][0].error = TopicAuthorizationFailedError("order-commands")
    await until(lambda: len(rig.made[1]) > 1)
    assert "order-commands" in rig.made[1][0].why_lost
    rig.readers[1][0].error = None
    await until(lambda: rig.ownership.ready)
    assert ["open"] == rig.made[0][0].calls


async def test_fenced_and_cut_off_from_the_group(rig: Rig) -> None:
    """Who was fenced takes over again when the group says that it is a member: else two would fence each other in
    turn. A rebalance says so too."""
    await rig.serves(0, 1)
    rig.member.clear()
    rig.made[1][0].lose("fenced, another owner has taken over", Fenced("another"))
    await until(lambda: "close" in rig.made[1][0].calls)
    await asyncio.sleep(0.05)
    assert (1, {0}, "fenced, another owner has taken over") == (
        rig.attempts[1],
        rig.served,
        rig.ownership.logs[1].waiting.reason,
    )
    rig.member.set()
    await until(lambda: rig.ownership.ready)
    rig.member.clear()
    rig.made[0][0].lose("fenced, another owner has taken over", Fenced("another"))
    await until(lambda: "close" in rig.made[0][0].calls)
    await rig.serves(0, 1)


async def test_fenced_in_the_middle_of_a_rebalance(rig: Rig) -> None:
    """Who is a member, and does not know yet whether the log is still its own, takes nothing over: it may fence the one
    that has it. When it stays here it is taken over, and when it leaves it is not."""
    await rig.serves(0, 1)
    await rig.ownership.revoke()
    for number in (0, 1):
        rig.made[number][0].lose("fenced, another owner has taken over", Fenced("another"))
    await until(lambda: all("close" in rig.made[number][0].calls for number in (0, 1)))
    await asyncio.sleep(0.05)
    assert [1, 1] == [rig.attempts[number] for number in (0, 1)]
    await rig.place(1)
    await until(lambda: rig.ownership.ready)
    assert [1, 2] == [rig.attempts[number] for number in (0, 1)]


async def test_one_that_waits_in_the_middle_of_its_work(rig: Rig) -> None:
    """It says for what, it is not served, and nobody is ready; when it goes on all is well."""
    await rig.serves(0, 1)
    rig.waiting[1].begin(Unavailable("no answer"), "no answer")
    assert (False, {0}, "no answer") == (rig.ownership.ready, rig.served, rig.ownership.logs[1].waiting.reason)
    assert {"order@1": "no answer"} == rig.supervisor.troubles
    waiting = asyncio.create_task(rig.ownership.all_served())
    await asyncio.sleep(0)
    rig.waiting[1].end()
    async with asyncio.timeout(20):
        await waiting
    assert (True, {}) == (rig.ownership.ready, rig.supervisor.troubles)


async def test_a_rebalance_while_one_waits(rig: Rig) -> None:
    """One that goes waits here no more; one that stays still waits, and says so."""
    await rig.serves(0, 1)
    for number in (0, 1):
        rig.waiting[number].begin(Unavailable("no answer"), "no answer")
    await rig.assigned(0)
    assert (False, ["order@0"]) == (rig.ownership.ready, list(rig.supervisor.troubles))
    rig.waiting[0].end()
    assert (True, {}) == (rig.ownership.ready, rig.supervisor.troubles)


@pytest.mark.parametrize("stays", [True, False])
async def test_revoked_while_it_gives_up(rig: Rig, stays: bool) -> None:
    """An owner whose end was cut short by a rebalance is ended after that."""
    await rig.serves(0)
    first = rig.made[0][0]
    first.closing = asyncio.Event()
    first.lose("for a reason")
    await until(lambda: rig.ownership.logs[0].waiting.reason == "for a reason")
    await rig.ownership.revoke()
    first.closing.set()
    await (rig.place(0) if stays else rig.place())
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


async def test_a_rebalance_that_leaves_a_log_here(rig: Rig) -> None:
    """It stops neither its owner nor its reading, at no moment of it. One that goes is closed; one that comes back is
    taken over anew."""
    await rig.serves(0, 1)
    await rig.ownership.revoke()
    assert {0, 1} == rig.served
    await rig.place(0, 2)
    await until(lambda: rig.ownership.ready)
    [reader] = rig.readers[0]
    assert (["open"], 1, True) == (rig.made[0][0].calls, len(reader.starts), reader.reads)
    assert ["open", "stop", "close"] == rig.made[1][0].calls
    assert not rig.readers[1][0].is_open
    await rig.serves(0, 1)
    assert [1, 2] == [len(rig.made[number]) for number in (0, 1)]


async def test_nothing_assigned(rig: Rig) -> None:
    """A worker that is left with nothing has nothing, says so, and is ready."""
    await rig.serves(0, 1)
    await rig.assigned()
    assert (set(), {}) == (rig.served, rig.ownership.logs)
    assert rig.ownership.ready
    async with asyncio.timeout(20):
        await rig.ownership.all_served()


async def test_the_end_of_a_worker(rig: Rig) -> None:
    """It lets go of all, and goes on with nothing; its owners are closed later."""
    await rig.serves(0, 1)
    await rig.ownership.revoke()
    await rig.ownership.leave()
    assert (set(), [["open", "stop"]] * 2) == (rig.served, [rig.made[number][0].calls for number in (0, 1)])
    assert not any(reader.is_open for readers in rig.readers.values() for reader in readers)
    await rig.ownership.close()
    await rig.place(0)
    assert ({}, ["open", "stop", "close"]) == (rig.ownership.logs, rig.made[0][0].calls)


async def test_one_that_waits_goes_to_another_worker(rig: Rig) -> None:
    """It is no trouble of this one any more, whatever it had waited for."""
    rig.fails_with(1, Unavailable("no answer"))
    rig.topic = None
    await rig.assigned(0, 1)
    await until(lambda: len(rig.supervisor.troubles) == 2)
    await rig.assigned(1)
    assert ["order@1"] == list(rig.supervisor.troubles)
    rig.topic = TopicMetadata("t", 4)
    await until(lambda: "no answer" in rig.ownership.logs[1].waiting.reason)
    await rig.assigned()
    assert {} == rig.supervisor.troubles


async def test_revoked_while_taking_over(rig: Rig) -> None:
    """What is about to be taken over when a rebalance begins is given up: it may belong to another worker by now."""
    go_on = rig.hangs(0)
    await rig.assigned(0)
    await until(lambda: rig.attempts[0])
    await rig.ownership.revoke()
    await rig.place()
    go_on.set()
    for _ in range(10):
        await asyncio.sleep(0)
    assert ({}, {}) == (rig.ownership.logs, rig.supervisor.troubles)
    assert ["stop"] == rig.made[0][0].calls[:1]


async def test_what_was_read_before_ownership_was_lost(rig: Rig) -> None:
    """The rest of a batch does not go to the next owner, for which it would be a gap."""
    await rig.serves(0)
    first = rig.made[0][0]
    await until(lambda: rig.readers[0][0].reads)
    receiver = rig.readers[0][0].receiver
    first.lose("for a reason")
    await until(lambda: len(rig.made[0]) == 2 and rig.ownership.ready)
    record = SimpleNamespace(offset=8, key=b"1", value=b"", headers=(), timestamp=1.0, partition=0, topic="t")
    await receiver.deliver(0, [record])
    assert [] == rig.made[0][1].got


async def test_what_the_consumer_group_hears_of(rig: Rig) -> None:
    """The offsets of owners that have taken over only."""
    rig.hangs(1)
    await rig.assigned(0, 1)
    await until(lambda: rig.served == {0})
    assert {0: 7, 10: 7} == rig.ownership.covered


async def test_letting_go_that_was_cut_short(rig: Rig) -> None:
    """The next assignment ends what it has left, and the log is served."""
    await rig.serves(0)
    first: Any = rig.made[0][0]
    stop, first.stop = first.stop, lambda: None
    leaving = asyncio.create_task(rig.ownership.leave())
    await asyncio.sleep(0.01)
    await cancel(leaving)
    first.stop = stop
    await rig.place(0)
    await until(lambda: rig.ownership.ready)


async def test_one_that_is_not_served_goes(rig: Rig) -> None:
    """Whoever waits until all is served waits for it no more."""
    rig.fails_with(1, Unavailable("no answer"))
    await rig.serves(0)
    await rig.assigned(0, 1)
    waiting = asyncio.create_task(rig.ownership.all_served())
    await until(lambda: rig.attempts[1] > 2)
    assert not waiting.done()
    await rig.place(0)
    async with asyncio.timeout(5):
        await waiting
