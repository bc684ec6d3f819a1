"""Timers are asked to fire by the owner of their log, from that log alone: there is no table in these tests."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from streams.concurrency import retry
from streams.deciding.messages import command_headers
from streams.journal.layout import first_layout
from streams.journal.port import Commit, Snapshot
from streams.moments import in_utc
from streams.observability import catalog, event_traces
from streams.observability.traces import SpanRef, of_command
from streams.processes import timer_watch
from streams.processes.pending_timers import FORM, PAGES, PendingTimer, PendingTimers
from streams.processes.timer_watch import FIRST_REPEAT, MOST_ASKED, PAGE_TYPE, ROWS_AROUND, TimerWatch, fire_timer
from streams.slices import partition_of, slice_of
from tests.kept_spans import KeptSpans
from tests.unit.streams.processes.timer_world import CONTEXT, NOON, SLICES, SPAN, World
from tests.unit.until import until

SECOND = timedelta(seconds=1)
START = SpanRef("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")


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
