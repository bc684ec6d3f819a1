"""States that a snapshot keeps, and states that it does not: the aggregate goes on from its events."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import pytest

from aggregates.decider import Decider
from schemas.registry import SchemaError
from schemas.release.lock import locked_state
from streams.deciding.cache import Aggregate
from streams.deciding.loading import load_aggregate
from streams.journal import snapshots
from streams.journal.snapshots import form_of
from streams.limits import Limits
from tests.unit.moments import Command, Desk, Event, SetAmount, Told, decide, moment


@dataclass(frozen=True)
class Empty:
    pass


@dataclass(frozen=True)
class Opened:
    told: tuple[str, ...] = ()


def evolve_union(state: Empty | Opened, event: Event) -> Empty | Opened:
    told = state.told if isinstance(state, Opened) else ()
    return Opened((*told, event.text)) if isinstance(event, Told) else state


def of(initial: Any, evolve: Callable[..., Any]) -> Decider[Any, Any, Any]:
    def repeat(command: Command, state: Any) -> list[Event]:
        return decide(command, moment.initial)

    return Decider("moment", initial, repeat, evolve)


@pytest.fixture(autouse=True)
def nothing_said() -> None:
    snapshots._said.clear()


async def test_a_union_comes_back_as_what_it_was() -> None:
    """A state of several classes is read from its snapshot as the class that it had, with all that it held."""
    desk = Desk(decider=of(Empty(), evolve_union))
    await desk.decide(desk.envelope("Repeat", {"times": 3}), every=1)
    kept = await desk.journal.snapshot("moment", "1")
    assert kept is not None
    assert 3 == kept.sequence
    desk.restart()
    assert Opened(("again",) * 3) == await desk.state()
    await desk.decide(desk.envelope("SetAmount", {"amount": 1}), every=1)
    empty = Aggregate(Empty()).capture("2", desk.decider).encode()
    assert empty is not None
    again = Aggregate(None)
    again.restore(empty, form_of(desk.decider))
    assert Empty() == again.state


@dataclass(frozen=True)
class Keyed:
    amounts: dict[tuple[str, str], int]


@dataclass(frozen=True)
class Measured:
    value: float = 0.0


@dataclass(frozen=True)
class Loose:
    amount: Any = 0


@dataclass(frozen=True)
class Longer(Measured):
    more: str = ""


def _keyed(state: Keyed, event: Event) -> Keyed:
    return Keyed({("a", "b"): 1})


def _measured(state: Measured, event: Event) -> Measured:
    return Measured(float("nan"))


def _loose(state: Loose, event: Event) -> Loose:
    return Loose(Decimal("2.5"))


def _longer(state: Measured, event: Event) -> Measured:
    return Longer(1.0, "x")


def _listed(state: tuple[int, ...], event: Event) -> Any:
    return [1]


def _huge(state: str, event: Event) -> str:
    return "x" * snapshots.MOST_BYTES


UNKEPT: dict[str, tuple[Any, Callable[..., Any], str]] = {
    "keys that JSON has not": (Keyed({}), _keyed, "a tuple cannot be written as JSON"),
    "a number that JSON has not": (Measured(), _measured, "Expected `float`, got `null`"),
    "a field that says nothing of its type": (Loose(), _loose, "would come back as another"),
    "a class that is another": (Measured(), _longer, "would come back as another"),
    "a list where a tuple is said": ((), _listed, "would come back as another"),
    "too much": ("", _huge, f"bytes, more than {snapshots.MOST_BYTES}"),
}


@pytest.mark.parametrize("name", UNKEPT)
async def test_a_state_that_no_snapshot_keeps(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Its snapshot is left out, which is said once; the aggregate goes on, and is loaded from its events."""
    initial, evolve, why = UNKEPT[name]
    desk = Desk(decider=of(initial, evolve))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            [verdict] = await desk.decide(desk.envelope("Repeat", {"times": 2}), every=1)
            assert verdict.reply is not None
            assert "accepted" == verdict.reply.status
    assert await desk.journal.snapshot("moment", "1") is None
    said = [record.getMessage() for record in caplog.records]
    assert 1 == len(said)
    assert said[0].startswith("moment '1': no snapshot, it is read from its events: ")
    assert why in said[0]
    desk.restart()
    loaded = await load_aggregate(desk.journal, desk.decider, desk.events, "1", 10)
    assert (6, type(evolve(initial, Told("")))) == (loaded.sequence, type(loaded.state))


async def test_a_state_that_no_snapshot_keeps_is_not_tried_with_every_event() -> None:
    """The next try is due when as many bytes have come again as made it: what it costs is bounded by the events."""
    tried = []

    class Counted(str):
        __slots__ = ()

    def evolve(state: str, event: Event) -> str:
        return Counted("x" * 10)

    desk = Desk(decider=of("", evolve), limits=Limits())
    for number in range(64):
        await desk.decide(desk.envelope("Repeat", {"times": 1}), every=1)
        aggregate = desk.handler.cache.take("1")
        assert aggregate is not None
        desk.handler.cache.put("1", aggregate)
        tried.append(aggregate.unsnapped_events == 0)
        assert number < 1 or aggregate.snapshot_bytes > 0
    assert sum(tried) <= 8


async def test_what_is_said_is_bounded(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Of many aggregates the last ones are remembered."""
    monkeypatch.setattr(snapshots, "_MOST_SAID", 3)
    for id in "abcdeea":
        snapshots.say_once("moment", id, "no")
    assert 3 == len(snapshots._said)
    assert 6 == len(caplog.records)


def _nested(state: tuple[Empty | Opened, ...], event: Event) -> Any: ...


def _other(state: Opened, event: Event) -> Any: ...


def _unknown(state: type[int], event: Event) -> Any: ...


@pytest.mark.parametrize(
    ("initial", "evolve", "says"),
    [
        ((), _nested, r"the state of moment .* a tag"),
        (
            Empty(),
            _other,
            r"evolve of moment takes a state of Opened, and the initial one is .*Empty.*: annotate",
        ),
    ],
)
def test_refused_at_start(initial: Any, evolve: Any, says: str) -> None:
    """A state that no snapshot could be read as is refused when the worker starts, with how to write it."""
    with pytest.raises(SchemaError, match=says):
        locked_state(of(initial, evolve))


def test_the_shape_of_a_union_is_locked_class_by_class() -> None:
    """Another class of the union is another shape."""
    union = of(Empty(), evolve_union)
    assert locked_state(union) != locked_state(of(Empty(), lambda state, event: state))
    assert (Empty, Opened) == union.state_types
    assert locked_state(replace(union, state_version=2)).version == 2
    assert SetAmount in moment.commands.values()
