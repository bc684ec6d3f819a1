"""What an owner keeps in memory: bounded in bytes, together with all others of its process."""

from __future__ import annotations

import gc
import time
from typing import Any

import pytest
from msgspec import json

from streams.deciding import cache as cache_module
from streams.deciding.cache import MEASURE_BYTES, STATE_FACTOR, Aggregate, Budget, Cache
from streams.deciding.messages import Message
from streams.deciding.quarantine import PARKED, QUARANTINED, QuarantineReason, pack
from streams.journal.port import RecordedEvent
from streams.settings import Settings, SettingsError
from tests.unit.moments import NOW, State, moment

NOTHING = moment.initial


def aggregate(size: int = 0, nr: int = 1, types: tuple[str, ...] = ("Told",), state: State = NOTHING) -> Aggregate:
    """One that events of `size` bytes each have made what `state` says."""
    made = Aggregate(state)
    rows = [RecordedEvent("1", index, type, bytes(size), f"c{nr}") for index, type in enumerate(types, 1)]
    made.remember(rows, nr, 1_000)
    return made


def test_large_states_weigh_what_they_are() -> None:
    """Ten aggregates of 1 MB do not stay in a cache of 5 MB, however few they are."""
    cache = Cache(5_000_000)
    for number in range(10):
        cache.put(str(number), aggregate(size=1_000_000, state=State(told=("x" * 1_000_000,))))
        cache.shrink(1)
    assert cache.weight <= 5_000_000
    assert 1 == len(cache)
    assert "9" in cache


def test_what_it_weighs_is_given_back() -> None:
    """An aggregate that changes while it is in the cache, as by its snapshot, leaves nothing behind when it goes."""
    cache = Cache(10**9)
    held = aggregate(size=3_000)
    cache.put("1", held)
    held.capture("1", moment).encode()
    assert held.weight < cache.weight
    assert cache.take("1") is held
    assert 0 == cache.weight


def test_a_snapshot_says_what_a_state_weighs() -> None:
    """Until then it weighs as its events; a state that holds less of them weighs less."""
    held = aggregate(size=100_000)
    before = held.weight
    held.capture("1", moment).encode()
    assert held.weight < 5_000 < before


def test_a_state_of_many_events_weighs_what_it_is() -> None:
    """Orders whose lines are merged do not fill the cache with what is in the journal alone, long before a snapshot."""
    cache = Cache(10**9)
    held = Aggregate(State(told=("x" * 50,)))
    for number in range(1, 100):
        held.remember([RecordedEvent("1", number, "Told", bytes(1_000), f"c{number}")], number, 1)
        cache.put("1", held)
        assert held.weight < 5_000 + STATE_FACTOR * 2 * MEASURE_BYTES
        cache.take("1")


def test_a_large_state_is_measured_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """When its events are as large as itself again: to measure costs as much as the state has bytes."""
    measured: list[Any] = []
    monkeypatch.setattr(cache_module, "size_of", lambda state: measured.append(state) or 100_000)
    held = Aggregate(NOTHING)
    for number in range(1, 301):
        held.remember([RecordedEvent("1", number, "Told", bytes(900), f"c{number}")], number, 1)
        held.measure()
    assert 3 == len(measured)


def test_a_state_that_cannot_be_measured_weighs_as_its_events() -> None:
    """Too much rather than too little: such a state is what no snapshot can hold."""
    held = Aggregate(object())
    held.remember([RecordedEvent("1", 1, "Told", bytes(100_000), "c1")], 1, 1)
    held.measure()
    assert 100_100 == held.state_bytes
    assert held.weight > STATE_FACTOR * 100_000


def test_ids_and_events_weigh() -> None:
    """Each id weighs with its characters and with the events that its reply names; forgotten ones do not."""
    held = Aggregate(moment.initial)
    for number in range(100):
        rows = [RecordedEvent("1", number * 50 + index, "Told", b"", f"{number}" * 100) for index in range(50)]
        held.remember(rows, number, 10)
    expected = sum(
        cache_module.OUTCOME_BYTES + len(id) + 8 * len(outcome.events) for id, outcome in held.outcomes.items()
    )
    assert 10 == len(held.outcomes)
    assert expected == held.outcome_bytes


def test_commands_that_wait_weigh() -> None:
    """Those behind an aggregate in quarantine count with the bytes of their messages."""
    held = aggregate()
    before = held.weight
    reason = QuarantineReason("Bug", "no", NOW, 1)
    held.note(RecordedEvent("1", 1, QUARANTINED, json.encode(reason), "poison"), 2)
    held.note(RecordedEvent("1", 1, PARKED, pack(Message(0, 1, b"1", bytes(50_000), [], 1.0)), "c2"), 2)
    assert held.weight >= before + 50_000


def test_the_limit_is_shared_by_those_that_are_there() -> None:
    """Caches of a process have equal parts, whatever their types: those that come take from the others at once, and
    what one leaves is the others' again."""
    budget = Budget(1_000_000)
    first = Cache(budget)
    for number in range(600):
        first.put(str(number), aggregate(size=100))
    first.shrink(1)
    assert 500_000 < first.weight <= 1_000_000
    others = [Cache(budget) for _ in range(3)]
    assert 250_000 == first.limit
    assert first.weight <= 250_000
    del others
    gc.collect()
    assert 1_000_000 == first.limit


def test_it_goes_on_from_others() -> None:
    """What these have is taken from them, and kept here; what those before them had is forgotten."""
    first, second, third = (Cache(1_000_000) for _ in range(3))
    for key, cache in (("a", first), ("b", first), ("c", second)):
        cache.put(key, aggregate())
    second.go_on_from([first])
    third.go_on_from([second])
    assert second.take("a") is None
    found = third.take("c")
    assert found is not None
    third.put("c", found)
    assert ("c" in third, "c" in second) == (True, False)
    assert third.take("d") is None


def test_a_full_cache_keeps_nothing_of_others() -> None:
    """It has enough of its own."""
    former, cache = Cache(10_000), Cache(10_000)
    former.put("a", aggregate())
    cache.go_on_from([former])
    for number in range(10):
        cache.put(str(number), aggregate(size=10_000))
        cache.shrink(1)
    assert cache.take("a") is None


def test_what_is_not_indexed_stays() -> None:
    """It could not be loaded again; when it is indexed it goes like any other."""
    cache = Cache(1)
    for nr in (1, 2, 3):
        cache.put(str(nr), aggregate(nr=nr))
    cache.shrink(1)
    assert ["2", "3"] == [id for id in "123" if id in cache]
    Cache(cache._budget)
    assert 2 == len(cache)
    cache.shrink(3)
    assert 0 == len(cache)


def test_a_full_cache_costs_what_it_forgets() -> None:
    """With 100,000 aggregates each commit forgets as many as it brings, and looks at no others."""
    cache = Cache(10**9)
    made = aggregate()
    for number in range(100_000):
        cache.put(str(number), aggregate())
    cache._budget = Budget(cache.weight)
    cache._budget.join(cache)
    began = time.process_time()
    for number in range(1_000):
        cache.put(f"new {number}", made)
        cache.shrink(1)
    assert 100_000 == len(cache)
    assert time.process_time() - began < 0.5


def test_lists_of_events_that_are_shared_are_bounded() -> None:
    """A domain whose commands cause another number of events each time does not fill the memory with their names."""
    for number in range(1, 5_000):
        aggregate(types=("Told",) * (number % 2_500 + 1))
    assert len(cache_module._shared) <= cache_module._MOST_SHARED + 1


def test_the_setting_of_before() -> None:
    """A weight is no number of bytes: who still sets it is told, instead of getting another cache in silence."""
    with pytest.raises(SettingsError, match="CACHE_WEIGHT is CACHE_BYTES now"):
        Settings.from_environment({"CACHE_WEIGHT": "500000"})
    assert 1_000_000 == Settings.from_environment({"CACHE_BYTES": "1000000"}).cache_bytes
