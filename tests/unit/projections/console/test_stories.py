"""Stories: what a command has caused, over all contexts, walked through the journals."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from aggregates.shop.checkout import CheckoutStarted
from aggregates.shop.order import Line, OrderPlaced
from aggregates.shop.product import StockReserved
from aggregates.timer import TimerCancelled, TimerFired, TimerScheduled
from projections.console.stories.rows import MOST_ROWS, rows_since
from projections.console.stories.story import Step, Story, cause_of
from projections.console.stories.walk import Found, Journals, Walk
from projections.shop.wiring import contexts_of
from streams.aggregate_type import AggregateType
from streams.journal.memory import MemoryJournal
from streams.journal.port import Commit, RecordedEvent, StoredEvent, log_name
from streams.journal.position import Position
from streams.settings import Settings

BEGAN = datetime(2026, 11, 30, 12, tzinfo=UTC)
DUE = datetime(2026, 12, 1, 12, tzinfo=UTC)
LINES = (Line("tea", "Tea", 2, Decimal("2.55")),)
PLACED = OrderPlaced(user_id="u-1", kind="sale", country=None, opened_at=BEGAN, lines=LINES, total=Decimal("5.10"))
SCHEDULED = TimerScheduled(DUE, "checkout", "o-1", "PassDeadline", "{}", None)


@pytest.fixture(scope="module")
def contexts() -> dict[str, AggregateType]:
    return contexts_of(Settings())


class World:
    """Journals in memory with one slice each, and a clock that goes on a second with each commit."""

    def __init__(self, contexts: dict[str, AggregateType], hidden: Sequence[str] = ()) -> None:
        self.contexts = contexts
        self.journals = {type: MemoryJournal() for type in contexts}
        self.now = BEGAN
        self.commits: dict[str, int] = dict.fromkeys(contexts, 0)
        self.journals_of = Journals(
            contexts=contexts,
            journals=self.journals,
            slices=lambda type: 1,
            commit=self.commit,
            may=lambda type: type not in hidden,
        )

    async def commit(self, type: str, slice: int, nr: int) -> Commit | None:
        return next(iter(await self.journals[type].commits(log_name(type, 0), nr - 1, 1)), None)

    async def write(self, type: str, id: str, command: str, command_id: str, *events: Any, sequence: int = 1) -> str:
        """One commit with what a command has caused; a note where that is nothing. Returns the first position."""
        self.commits[type] += 1
        self.now += timedelta(seconds=1)
        codec, nr = self.contexts[type].events, self.commits[type]
        rows = [
            RecordedEvent(id, sequence + index, event.__class__.__name__, codec.encode(event), command_id, "c-1")
            for index, event in enumerate(events)
        ] or [RecordedEvent(id, sequence, "", b"", command_id, "c-1", command=f"{command} digest")]
        made = Commit(log_name(type, 0), nr, 1, "me", "t", {}, 0, self.now, tuple(rows))
        await self.journals[type].append(made)
        await self.journals[type].derive([made])
        return f"{type}-0:{nr}:0"

    async def story(self, id: str) -> Story:
        """The story of an event's position or an engine's id."""
        walk, position = Walk(self.journals_of), cause_of(id)
        assert position is not None
        found = await walk.event_at(position)
        assert found is not None
        return await walk.story(id, [found])


def shown(step: Step) -> tuple[str, str, list[str]]:
    return step.command or step.type, step.status, [event.type for event in step.events]


async def placed(world: World) -> tuple[str, str]:
    """An order is placed, and its checkout starts."""
    order = await world.write("order", "o-1", "PlaceOrder", "client-1", PLACED)
    started = await world.write("checkout", "o-1", "StartCheckout", order, CheckoutStarted({"tea": 2}, DUE))
    return order, started


async def test_over_all_contexts(contexts: dict[str, AggregateType]) -> None:
    """Commands, events and timers, each behind the event that has caused it; what is not decided is said."""
    world = World(contexts)
    order, started = await placed(world)
    reserved = await world.write("product", "tea", "ReserveStock", f"{started}#0", StockReserved("o-1", 2))
    await world.write("timer", "checkout:o-1", "ScheduleTimer", f"{started}#1", SCHEDULED)
    story = await world.story(order)
    assert [
        ("order", "accepted", ["OrderPlaced"]),
        ("StartCheckout", "accepted", ["CheckoutStarted"]),
        ("ReserveStock", "accepted", ["StockReserved"]),
        ("ScheduleTimer", "accepted", ["TimerScheduled"]),
        ("NoteReserved", "unseen", []),
        ("FireTimer", "scheduled", []),
    ] == [shown(step) for step in story.steps]
    assert [None, order, started, started, reserved, "timer-0:1:0"] == [step.cause for step in story.steps]
    assert ("c-1", False, "2026-12-01T12:00:00.000Z") == (story.correlation_id, story.more, story.steps[-1].due)


async def test_from_anywhere_in_it(contexts: dict[str, AggregateType]) -> None:
    """The way up leads to the command from outside: from an event, the id of a command, and one that fires a timer."""
    world = World(contexts)
    order, started = await placed(world)
    scheduled = await world.write("timer", "checkout:o-1", "ScheduleTimer", f"{started}#1", SCHEDULED)
    fired = TimerFired(DUE, "checkout", "o-1", "PassDeadline", "{}", None)
    await world.write("timer", "checkout:o-1", "FireTimer", f"fire:{scheduled}", fired, sequence=2)
    wanted = [step.command_id for step in (await world.story(order)).steps]
    for id in (started, f"{started}#0", f"fire:{scheduled}", "timer-0:2:0"):
        story = await world.story(id)
        assert wanted == [step.command_id for step in story.steps], id
    assert ("PassDeadline", "unseen", []) in [shown(step) for step in story.steps]


async def test_a_timer_that_was_cancelled_is_not_awaited(contexts: dict[str, AggregateType]) -> None:
    """Nor is one that was moved."""
    world = World(contexts)
    scheduled = await world.write("timer", "t-1", "ScheduleTimer", "client-1", SCHEDULED)
    await world.write("timer", "t-1", "CancelTimer", "client-2", TimerCancelled(), sequence=2)
    steps = (await world.story(scheduled)).steps
    assert {"TimerScheduled", "TimerCancelled"} == {event.type for step in steps for event in step.events}
    assert {"accepted"} == {step.status for step in steps}


async def test_a_command_without_an_event(contexts: dict[str, AggregateType]) -> None:
    """The note that remembers its id says that it was accepted."""
    world = World(contexts)
    order, started = await placed(world)
    await world.write("product", "tea", "ReserveStock", f"{started}#0")
    assert ("ReserveStock", "accepted", []) in [shown(step) for step in (await world.story(order)).steps]


async def test_what_one_may_not_read(contexts: dict[str, AggregateType]) -> None:
    """Of a context that is not for whoever asks no id is shown, and nothing behind it; nor is the way up through it."""
    world = World(contexts, hidden=["checkout"])
    order, started = await placed(world)
    await world.write("product", "tea", "ReserveStock", f"{started}#0", StockReserved("o-1", 2))
    steps = (await world.story(order)).steps
    assert [("order", "accepted"), ("checkout", "hidden")] == [(step.type, step.status) for step in steps]
    assert ("", "", ()) == (steps[1].id, steps[1].command_id, steps[1].events)
    assert {"product", "checkout"} == {step.type for step in (await world.story("product-0:1:0")).steps}


async def test_an_id_that_only_looks_like_the_engines(contexts: dict[str, AggregateType]) -> None:
    """A client's command with such an id has not been caused by that event."""
    world = World(contexts)
    order, _ = await placed(world)
    other = await world.write("product", "cup", "ReserveStock", f"{order}#7", StockReserved("o-9", 1))
    assert f"{order}#7" == (await world.story(other)).steps[0].command_id


async def test_no_such_event(contexts: dict[str, AggregateType]) -> None:
    """Nor one of a slice or a type that there is not."""
    world = World(contexts)
    await placed(world)
    for text in ("order-0:9:0", "order-0:1:5", "order-7:1:0", "nothing-0:1:0"):
        assert await Walk(world.journals_of).event_at(Position.parse(text)) is None


async def test_a_long_life_is_not_read_from_its_beginning(contexts: dict[str, AggregateType]) -> None:
    """The rows from a time on are found in some reads, and there are bounds."""
    journal = MemoryJournal()
    events = [RecordedEvent("tea", number, "StockReserved", b"", f"c-{number}") for number in range(1, 10_001)]
    for nr, event in enumerate(events, 1):
        await journal.derive([Commit("product@0", nr, 1, "me", "t", {}, 0, BEGAN + timedelta(seconds=nr), (event,))])
    rows = await rows_since(journal, "product", "tea", BEGAN + timedelta(seconds=9_500))
    assert ("c-9499", 502, False) == (next(iter(rows.by_command)), len(rows.by_command), rows.more)
    rows = await rows_since(journal, "product", "tea", BEGAN)
    assert MOST_ROWS <= len(rows.by_command) < 2 * MOST_ROWS
    assert rows.more
    newest = await rows_since(journal, "product", "tea", None)
    assert "c-10000" in newest.by_command
    assert not newest.more


async def test_large_events_are_bounded(contexts: dict[str, AggregateType]) -> None:
    """Of an aggregate with large events some megabytes are in memory, and the story says that there are more."""
    journal = MemoryJournal()
    for nr in range(1, 41):
        event = RecordedEvent("tea", nr, "StockReserved", b"x" * 1_000_000, f"c-{nr}")
        await journal.derive([Commit("product@0", nr, 1, "me", "t", {}, 0, BEGAN + timedelta(seconds=nr), (event,))])
    rows = await rows_since(journal, "product", "tea", BEGAN)
    assert rows.more
    assert 20 > len(rows.by_command)


async def test_what_hears_it_raises(contexts: dict[str, AggregateType], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said of the event, upwards and downwards, and the rest of the story is told."""
    world = World(contexts)
    order, started = await placed(world)

    async def raises(*arguments: Any) -> list[Any]:
        raise KeyError("tea")

    monkeypatch.setattr("projections.console.stories.walk.effects_of", raises)
    for id in (order, started):
        story = await world.story(id)
        said = {event.unread for step in story.steps for event in step.events}
        assert {"what hears it raised KeyError"} == said
    assert story.more


async def test_of_an_aggregate(contexts: dict[str, AggregateType]) -> None:
    """A client's id is found where somebody says in which aggregate."""
    world = World(contexts)
    await placed(world)
    for wanted in ("client-1", "c-1"):
        found = await Walk(world.journals_of).of_aggregate("order", "o-1", wanted)
        assert ["client-1"] == [it.row.event.command_id for it in found]
    assert isinstance(found[0], Found)
    assert isinstance(found[0].row, StoredEvent)
    assert [] == await Walk(world.journals_of).of_aggregate("order", "o-1", "another")
