"""Timers are asked to fire by the owner of their log, from that log alone: there is no table in these tests."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from aggregates.timer import timer
from streams.aggregate_type import AggregateType
from streams.concurrency import retry
from streams.concurrency.supervisor import Supervisor
from streams.deciding.cache import Cache
from streams.deciding.command_handler import CommandHandler
from streams.deciding.group_handler import GroupHandler
from streams.deciding.messages import Message, command_headers
from streams.journal.layout import LogSpan, first_layout
from streams.journal.memory import MemoryJournal, MemoryStore
from streams.journal.port import Commit, Snapshot
from streams.kafka.client import ProducerRecord
from streams.kafka.topic_metadata import TopicMetadata
from streams.limits import Limits
from streams.moments import in_utc
from streams.observability import catalog, event_traces
from streams.observability.event_traces import SendTraces
from streams.observability.instruments import Instruments
from streams.observability.traces import HEADER, SpanRef, of_command
from streams.ownership.replies import Replies
from streams.processes import timer_watch
from streams.processes.dispatcher import CommandDispatcher
from streams.processes.pending_timers import FORM, PAGES, PendingTimer, PendingTimers
from streams.processes.process_signature import ProcessSignature
from streams.processes.timer_watch import FIRST_REPEAT, MOST_ASKED, PAGE_TYPE, ROWS_AROUND, TimerWatch, fire_timer
from streams.settings import Settings
from streams.slices import partition_of, slice_of
from tests.command_log import Topic
from tests.kept_spans import KeptSpans
from tests.owners import RunningOwner
from tests.unit.until import until

SLICES = 4
CONTEXT = AggregateType("timers", timer, Settings(journal_url="memory://", partitions=SLICES), "engine")
NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
START = SpanRef("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")
SPAN = LogSpan(number=0, seat=0, slices=tuple(range(SLICES)))


class NoReplies(Replies):
    """Nobody waits for a reply."""

    def __init__(self) -> None:
        pass

    async def dead_letters(self, letters: Sequence[Any]) -> None:
        raise AssertionError(letters)

    async def replies(self, replies: Sequence[tuple[str, str, bytes]]) -> None:
        pass

    def hint(self, seat: int, commit: Commit, previous: Commit | None = None) -> None:
        pass


class World:
    """The topics `timer-commands` and `order-commands`, a journal, a clock, and one owner after the other."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.journal = MemoryJournal(self.store)
        self.watched = MemoryJournal(self.store)
        """The journal as the watch sees it."""
        self.supervisor = Supervisor()
        self.instruments = Instruments()
        self.now = NOON
        self.commands: list[Message] = []
        """All that were sent, and in `topic` those of each slice."""
        self.topic: list[list[Message]] = [[] for _ in range(SLICES)]
        self.fire_ids: list[str] = []
        """Of each `FireTimer` that was sent."""
        self.sent: list[tuple[str, str, str]] = []
        """Order, command id and correlation id of each command that a timer has sent."""
        self.traces: list[tuple[str, str, str]] = []
        """Command, `ce_traceparent` and `traceparent` of each command that was sent here."""
        self.spans: KeptSpans | None = None
        self.holds_back = False
        """Whether `FireTimer` stays on Kafka, unread."""
        self.owners: list[RunningOwner] = []

    # -- Kafka -------------------------------------------------------------------------------------

    async def existing(self, topics: Iterable[str]) -> dict[str, TopicMetadata | None]:
        return {name: TopicMetadata("id", 1) for name in topics}

    async def publish(self, topic: str, partition: int, records: Sequence[ProducerRecord], refuse: bool = False) -> int:
        await asyncio.sleep(0)
        for key, value, headers in records:
            assert partition == partition_of(key or b"", SLICES if topic == "timer-commands" else 1)
            texts = {name: text.decode() for name, text in headers}
            self.traces.append((texts["ce_type"], texts.get("ce_traceparent", ""), texts.get(HEADER, "")))
            if topic == "order-commands":
                self.sent.append(((key or b"").decode(), texts["ce_id"], texts["ce_correlationid"]))
            else:
                self.fire_ids.append(texts["ce_id"])
                self.put((key or b"").decode(), value or b"", list(headers))
        if topic == "timer-commands" and not self.holds_back:
            await self.read()
        return len(self.commands) - 1

    def put(self, id: str, data: bytes, headers: list[tuple[str, bytes]]) -> None:
        slice = partition_of(id.encode(), SLICES)
        offset = len(self.topic[slice])
        self.commands.append(Message(slice, offset, id.encode(), data, headers, self.now.timestamp()))
        self.topic[slice].append(self.commands[-1])

    def lose(self, number: int) -> None:
        """So many commands, the last ones, are lost."""
        for _ in range(number):
            self.topic[self.commands.pop().partition].pop()

    async def read(self) -> None:
        """The owner reads what it has not read."""
        owner = self.owners[-1]
        for slice, messages in enumerate(self.topic):
            await owner.deliver(slice, messages[owner.next_offsets[slice] :])

    @property
    def pages(self) -> list[Snapshot]:
        return [page for (type, _), page in self.store.snapshots.items() if type == PAGE_TYPE]

    # -- owners ------------------------------------------------------------------------------------

    async def take_over(self) -> RunningOwner:
        """A new owner, who knows nothing of the one before."""
        broker: Any = self
        dispatcher = CommandDispatcher(
            sends=timer.sends,
            codec=CONTEXT.events,
            journal=self.journal,
            broker=broker,
            namespace="",
            source="/timers",
            slices=SLICES,
            dead_letters_topic="timer-dead-letters",
            signature=ProcessSignature("timer"),
        )
        commands = CommandHandler(
            decider=timer.decider,
            events=CONTEXT.events,
            commands=CONTEXT.commands,
            window=1_000,
            limits=Limits(group_linger=0.001),
            check=dispatcher.check,
        )
        owner = RunningOwner(
            span=SPAN,
            topic_id="t1",
            identity=f"owner {len(self.owners)}",
            journal=self.journal,
            handler=GroupHandler(commands, journal=self.journal, cache=Cache(1_000_000), log="timer@0", slices=SLICES),
            replies=NoReplies(),
            commands=Topic(),
            dispatch=dispatcher.dispatch,
            follower=TimerWatch(
                CONTEXT,
                SPAN,
                self.watched,
                broker,
                self.supervisor,
                self.instruments,
                traces=SendTraces(self.spans, "timer") if self.spans is not None else None,
                now=lambda: self.now,
            ),
        )
        self.owners.append(owner)
        await owner.take_over()
        owner.resume()
        await self.read()
        return owner

    def kill(self) -> None:
        """The owner of now does nothing any more, and nothing of it is written down."""
        owner = self.owners[-1]
        owner._follower.lost()
        for task in (owner.running, owner._deriving):
            if task is not None:
                task.cancel()

    async def schedule(self, traceparent: str = "", **dues: datetime) -> None:
        """Timers of these ids, which cancel the orders of the same ids; decided on return."""
        for id, due in dues.items():
            fields = {"due": in_utc(due), "to": "order", "id": id, "command": "CancelOrder"}
            await self.tell(id, "ScheduleTimer", fields, traceparent)
        await self.decided()

    async def tell(self, id: str, command: str, fields: Any, traceparent: str = "") -> None:
        headers = command_headers(
            f"c{len(self.commands)}", command, "/test", correlation_id="placing", traceparent=traceparent
        )
        self.put(id, json.dumps(fields).encode(), headers)
        await self.read()

    async def decided(self) -> None:
        await until(lambda: sum(self.owners[-1].covered.values()) == len(self.commands))

    async def orders(self, *expected: str) -> None:
        """Exactly these orders have got a command, of one id each, and none follows."""
        await until(lambda: {order for order, _, _ in self.sent} == set(expected))
        await self.quiet()
        assert sorted(expected) == sorted(order for order, _, _ in set(self.sent))

    async def quiet(self) -> None:
        """Time enough for a watch to do what it is about to do."""
        await asyncio.sleep(0.05)


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(timer_watch, "LONGEST_SLEEP", 0.01)
    world = World()
    await world.journal.create()
    await world.take_over()
    yield world
    for owner in world.owners:
        await owner.close(0.1)


async def test_fires_without_any_table(world: World) -> None:
    """The owner fires what is due, not before, once each, in the trace of whoever scheduled it: no projection runs."""
    await world.schedule(a=NOON + SECOND, b=NOON + 2 * SECOND, c=NOON - timedelta(days=9_000))
    await world.orders("c")
    world.now += SECOND - timedelta(milliseconds=1)
    await world.orders("c")
    world.now += timedelta(milliseconds=1)
    await world.orders("a", "c")
    assert {"placing"} == {correlation for _, _, correlation in world.sent}
    assert f"fire:timer-{partition_of(b'a', SLICES)}:2:0" in world.fire_ids
    world.now += SECOND
    await world.orders("a", "b", "c")


async def test_what_is_late_is_counted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked to fire or not, until it has fired; then how late that was. An owner that is lost counts nothing."""
    monkeypatch.setattr(timer_watch, "LATE_SECONDS", 0.0)

    def late() -> list[float]:
        gauges = [world.instruments.gauge(metric) for metric in (catalog.TIMERS_LATE, catalog.TIMERS_LATE_SECONDS)]
        return [sample.value for gauge in gauges for sample in gauge.family().samples]

    await until(lambda: late() == [0.0, 0.0])
    await world.schedule(a=NOON + SECOND, b=NOON + 2 * SECOND, c=NOON + 60 * SECOND)
    world.holds_back = True
    world.now += 5 * SECOND
    await until(lambda: late() == [2.0, 4.0])
    world.holds_back = False
    await world.read()
    await world.orders("a", "b")
    await until(lambda: late() == [0.0, 0.0])
    delay = world.instruments.histogram(catalog.TIMER_DELAY).of()
    assert 2 == sum(delay.counts)
    world.kill()
    await until(lambda: not late())


async def test_takeover(world: World) -> None:
    """Killed with timers that are due, asked or not: the next owner fires them, and those to come, once each."""
    await world.schedule(a=NOON + SECOND, b=NOON + SECOND, c=NOON + 3 * SECOND)
    world.holds_back = True
    world.now += SECOND
    await until(lambda: len(world.fire_ids) == 2)
    world.kill()
    world.holds_back = False
    await world.take_over()
    await world.orders("a", "b")
    world.now += 2 * SECOND
    await world.orders("a", "b", "c")


async def test_a_watch_that_waits_shows_in_health(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the reason, for as long as the journal does not bring what it is to have, and the watch is there."""
    monkeypatch.setattr(retry, "PATIENCE_SECONDS", 0.01)
    await world.schedule(a=NOON + SECOND)

    async def none(stream: str, after: int, limit: int) -> Sequence[Commit]:
        return ()

    for goes_on in (True, False):
        world.kill()
        with monkeypatch.context() as away:
            away.setattr(world.watched, "commits", none)
            owner = await world.take_over()
            await until(lambda: bool(world.supervisor.troubles))
            [reason] = world.supervisor.troubles.values()
            assert re.fullmatch(r"commit \d+ of \d+ cannot be read yet", reason)
            if not goes_on:
                owner._follower.lost()
                await until(lambda: not world.supervisor.troubles)
        await until(lambda: not world.supervisor.troubles)


async def test_two_who_think_that_they_own_it(world: World) -> None:
    """A former owner that does not know of its successor asks too, and that has no effect."""
    await world.schedule(a=NOON + SECOND)
    await world.take_over()
    world.now += SECOND
    await world.orders("a")
    assert 1 == len(set(world.fire_ids))
    await world.orders("a")


async def test_cancelled_at_the_moment_of_firing(world: World) -> None:
    """A cancel that is decided before `FireTimer`, which is on its way, wins: the command is not sent."""
    await world.schedule(a=NOON + SECOND, b=NOON + SECOND)
    cancelling = command_headers("cancel", "CancelTimer", "/test")
    world.put("a", b"{}", cancelling)  # stands on Kafka before `FireTimer`, and is not read yet
    world.now += SECOND
    await world.orders("b")
    assert 2 == len(world.fire_ids)


async def test_another_schedule_at_the_moment_of_firing(world: World) -> None:
    """What is sent on behalf of who has scheduled a timer fires his schedule alone: another one of the same time that
    came in between waits to be asked itself, on behalf of whose it is."""
    await world.schedule(a=NOON + SECOND)
    world.holds_back = True
    other = {"due": in_utc(NOON + SECOND), "to": "order", "id": "b", "command": "CancelOrder"}
    world.put("a", json.dumps(other).encode(), command_headers("theirs", "ScheduleTimer", "/test"))
    world.now += SECOND
    await until(lambda: len(world.fire_ids) == 1)
    await world.read()
    await until(lambda: len(set(world.fire_ids)) == 2)
    await world.quiet()
    assert [] == world.sent
    world.holds_back = False
    await world.read()
    await world.orders("b")


async def test_moved_and_cancelled(world: World) -> None:
    """A moved timer fires at its new time only; a cancelled one never, and scheduled again it does."""
    await world.schedule(a=NOON + SECOND, b=NOON + SECOND)
    await world.schedule(a=NOON + 3 * SECOND)
    await world.tell("b", "CancelTimer", {})
    await world.decided()
    world.now += 2 * SECOND
    await world.quiet()
    assert [] == world.fire_ids
    await world.schedule(b=NOON + SECOND)
    await world.orders("b")
    world.now += SECOND
    await world.orders("a", "b")


async def test_clocks_that_differ(world: World) -> None:
    """The next owner's clock is behind: what has fired does not fire again, the rest fires by the new clock."""
    await world.schedule(a=NOON + SECOND, b=NOON + 10 * SECOND)
    world.now += 5 * SECOND
    await world.orders("a")
    world.kill()
    world.now = NOON - 3_600 * SECOND
    await world.take_over()
    await world.orders("a")
    world.now = NOON + 10 * SECOND
    await world.orders("a", "b")


async def test_asks_again(world: World) -> None:
    """One that is asked and still there is asked again after a minute, then after two."""
    await world.schedule(a=NOON + SECOND)
    world.holds_back = True
    world.now += SECOND
    for pause, asked in ((0, 1), (FIRST_REPEAT - 1, 1), (1, 2), (FIRST_REPEAT, 2), (FIRST_REPEAT, 3)):
        world.now += pause * SECOND
        await world.quiet()
        assert asked == len(world.fire_ids)


async def test_a_flood(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many are asked at the same time; the others follow as those fire."""
    assert MOST_ASKED == 1_000
    monkeypatch.setattr(timer_watch, "MOST_ASKED", 5)
    keys = [f"t{number:02}" for number in range(12)]
    await world.schedule(**dict.fromkeys(keys, NOON + SECOND))
    world.holds_back = True
    world.now += SECOND
    await world.quiet()
    assert 5 == len(world.fire_ids)
    world.holds_back = False
    await world.read()
    await world.orders(*keys)


async def test_a_flood_of_which_some_are_lost(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Kafka has lost of those that were asked is asked again, however many wait for their places."""
    monkeypatch.setattr(timer_watch, "MOST_ASKED", 5)
    keys = [f"t{number:02}" for number in range(12)]
    await world.schedule(**dict.fromkeys(keys, NOON + SECOND))
    world.holds_back = True
    world.now += SECOND
    await world.quiet()
    world.lose(5)
    world.holds_back = False
    world.now += FIRST_REPEAT * SECOND
    await world.orders(*keys)


async def test_a_log_that_is_old(world: World) -> None:
    """What a new owner reads of the log is bounded: the pages of the pending timers say the rest."""
    await world.schedule(first=NOON + SECOND)
    for number in range(ROWS_AROUND // 100 + 20):
        for index in range(50):
            id = f"t{number}-{index}"
            fields = {"due": in_utc(NOON + 9_000 * SECOND), "to": "order", "id": id, "command": "CancelOrder"}
            world.put(id, json.dumps(fields).encode(), command_headers(f"s{id}", "ScheduleTimer", "/test"))
            world.put(id, b"{}", command_headers(f"c{id}", "CancelTimer", "/test"))
        await world.read()
    await world.decided()
    await until(lambda: len(world.pages) == PAGES * len(SPAN.slices))
    await world.quiet()
    world.kill()
    oldest = min(page.nr for page in world.pages)
    assert oldest > 2
    log = world.store.log["timer@0"]
    log[:oldest] = [replace(commit, events=()) for commit in log[:oldest]]  # the beginning is not needed
    await world.take_over()
    world.now += SECOND
    await world.orders("first")


async def test_pages_of_another_log_are_left_aside(world: World) -> None:
    """A page from beyond the head, or of another form, is not believed: the log is."""
    await world.schedule(a=NOON + SECOND)
    world.kill()
    ghosts = PendingTimers(SLICES)
    ghosts.schedule([PendingTimer("ghost", in_utc(NOON), 1, 0, "")])
    pages = [
        Snapshot(f"timer-{slice}/{number}", 0, 1_000, FORM, ghosts.page((slice, number)))
        for slice in SPAN.slices
        for number in range(PAGES)
    ]
    ghosts.close()
    await world.journal.save_snapshots(PAGE_TYPE, pages)
    await world.take_over()
    world.now += SECOND
    await world.orders("a")
    assert 1 == len(world.fire_ids)


@pytest.mark.parametrize("has_pages", [False, True])
async def test_logs_that_go_on_from_another(world: World, monkeypatch: pytest.MonkeyPatch, has_pages: bool) -> None:
    """Each asks the timers of its slices that are pending at the seal, by pages and the former log, and no other."""
    if has_pages:
        monkeypatch.setattr(timer_watch, "ROWS_AROUND", 1)
    keys = [f"t{number}" for number in range(20)]
    await world.schedule(**dict.fromkeys(keys, NOON + SECOND))
    await world.tell("t3", "CancelTimer", {})
    await world.decided()
    await world.quiet()
    assert has_pages == bool(world.pages)
    world.kill()
    head = world.store.log["timer@0"][-1]
    await world.journal.append(replace(head, nr=head.nr + 1, events=(), is_seal=True))
    parts = [(0, SPAN.slices[::2]), (1, SPAN.slices[1::2])]
    begun = first_layout(SLICES, 1).split(0, parts).seal(0, head.nr + 1)
    await world.journal.change_layout("timer", first_layout(SLICES, 1))
    world.store.layouts["timer"] = begun
    world.holds_back = True
    world.now += SECOND
    broker: Any = world
    for span in begun.open:
        before = len(world.commands)
        first = replace(head, log=f"timer@{span.number}", nr=span.begins_after + 1, epoch=1, events=())
        await world.journal.append(first)
        watch = TimerWatch(CONTEXT, span, world.journal, broker, world.supervisor, now=lambda: world.now)
        watch.taken(first)
        wanted = {key for key in keys if key != "t3" and slice_of(key, SLICES) in span.slices}
        await until(lambda: {(it.key or b"").decode() for it in world.commands[before:]} == wanted)  # noqa: B023
        watch.lost()
        await world.quiet()


def test_pages_from_before_principals() -> None:
    """A timer of a page that says nothing of who has scheduled it is nobody's; others keep theirs. One that does not
    say with which event of the timer either fires whatever is scheduled."""
    timers = PendingTimers(SLICES)
    old: list[Any] = [("a", in_utc(NOON), 7, 0, "c"), ("b", in_utc(NOON), 7, 0, "c", "oidc:bob")]
    timers.add_page(msgspec.msgpack.encode(old))
    timers.schedule([PendingTimer("c", in_utc(NOON), 7, 1, "c", "oidc:alice", 3)])
    due = timers.due(in_utc(NOON), 9)
    assert [("a", "", 0), ("b", "oidc:bob", 0), ("c", "oidc:alice", 3)] == [
        (it.id, it.principal, it.sequence) for it in due
    ]
    expected = [dict(fire_timer(it, "timer-0", "/t")[2]).get("ce_expectedsequence") for it in due]
    assert [None, None, b"3"] == expected
    timers.close()


@pytest.mark.parametrize("is_taken_over", [False, True], ids=["stays", "taken over"])
async def test_it_fires_in_the_trace_of_its_command(world: World, is_taken_over: bool) -> None:
    """What it sends names the start of the transmission that has scheduled it, and is a span below that command's,
    whoever owns the log by then. Of a trace that nobody keeps there is no span, and its name goes on."""
    world.spans, unsampled = KeptSpans(), START.traceparent[:-1] + "0"
    world.kill()
    await world.take_over()
    await world.schedule(START.traceparent, a=NOON + SECOND)
    await world.schedule(unsampled, b=NOON + SECOND)
    if is_taken_over:
        world.kill()
        await world.take_over()
    world.now += SECOND
    await world.orders("a", "b")
    [span] = world.spans.named("send timer-commands")
    assert (of_command(START, "timer", "a", "c0").span_id, ()) == (span.parent, span.links)
    assert {
        ("FireTimer", START.traceparent, span.ref.traceparent),
        ("CancelOrder", START.traceparent, ""),
        ("FireTimer", unsampled, ""),
        ("CancelOrder", unsampled, ""),
    } == set(world.traces)


async def test_one_that_was_scheduled_long_ago_fires_in_a_trace_of_its_own(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linked to the command that has scheduled it."""
    monkeypatch.setattr(event_traces, "is_old", lambda began: True)
    world.spans = KeptSpans()
    world.kill()
    await world.take_over()
    await world.schedule(START.traceparent, a=NOON)
    await world.orders("a")
    [span] = world.spans.named("send timer-commands")
    assert ("", (of_command(START, "timer", "a", "c0"),)) == (span.parent, span.links)
    assert {("FireTimer", *[span.ref.traceparent] * 2), ("CancelOrder", span.ref.traceparent, "")} == set(world.traces)


def test_pages_say_in_which_trace_a_timer_was_scheduled() -> None:
    """Those that were stored before do not, and a worker of before reads those of now."""
    of_now, later = PendingTimers(SLICES), PendingTimers(SLICES)
    timer = PendingTimer("c", in_utc(NOON), 7, 1, "c", "oidc:alice", 3, START.traceparent, "c1", NOON.timestamp())
    of_now.schedule([timer])
    for slice in range(SLICES):
        for number in range(PAGES):
            page = of_now.page((slice, number))
            later.add_page(page)
            for before in msgspec.msgpack.decode(page, type=list[PendingTimerOfBefore]):
                assert PendingTimerOfBefore("c", in_utc(NOON), 7, 1, "c", "oidc:alice", 3) == before
    assert [timer] == later.due(in_utc(NOON), 9)
    later.add_page(msgspec.msgpack.encode([PendingTimerOfBefore("b", in_utc(NOON), 7, 0, "c")]))
    assert [("b", "", 0.0), ("c", START.traceparent, NOON.timestamp())] == [
        (it.id, it.traceparent, it.scheduled) for it in later.due(in_utc(NOON), 9)
    ]


class PendingTimerOfBefore(msgspec.Struct, array_like=True):
    """As a worker knows it that does not know of traces."""

    id: str
    due: str
    nr: int
    index: int
    correlation_id: str
    principal: str = ""
    sequence: int = 0
