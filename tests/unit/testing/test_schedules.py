"""The simulator of a user's own domain: it finds planted bugs, tells them by their seed, and makes them small."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from sourced.testing import Faults, ScheduleFailed, Schedules, Send, Sent, System
from tests.unit.testing.parcels import (
    CancelOrder,
    PayOrder,
    changes_in_place,
    forgets_the_day,
    order,
    parcel,
    question,
    raises,
    shipping,
    ships_twice,
)

PAID = [[Sent(order, "A", PayOrder())], [Sent(order, "B", PayOrder()), Sent(order, "B", CancelOrder())]]


def system(process: Any = shipping) -> System:
    return System(order, process, parcel, question)


def each_parcel_once(it: System) -> None:
    """No order has two parcels."""
    sent = Counter(event.order_id for id in it.ids(parcel) for event in it.events(parcel, id))
    assert [] == [order_id for order_id, count in sent.items() if count > 1]


def everybody_is_asked(it: System) -> None:
    """Whose order is paid, and was not cancelled, is asked, whatever was late."""
    paid = [id for id in it.ids(order) if it.state(order, id).status == "paid"]
    assert paid == [id for id in paid if it.events(question, id)]


def run(schedules: Schedules, process: Any = shipping, clients: Any = PAID, **options: Any) -> Any:
    return schedules.run(system(process), clients, always=each_parcel_once, at_the_end=everybody_is_asked, **options)


def failing(process: Any, **options: Any) -> ScheduleFailed:
    with pytest.raises(ScheduleFailed) as failed:
        run(Schedules(1_000), process, **options)
    return failed.value


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    """The domain as it should be holds under all that is tried, and there is much of it."""
    explored = run(Schedules(200))
    assert 200 == explored.schedules
    assert explored.steps > 5_000
    assert explored.faults > 100


def test_what_is_heard_again_ships_twice() -> None:
    """A process manager that trusts to hear of each payment once is found, and the story has one fault."""
    failed = failing(ships_twice)
    assert [line for line in failed.story if line.startswith("!")] == [
        "! shipping hears order A: again from OrderPaid, and its ids are forgotten"
    ]
    assert "client 2" not in str(failed), "what does not matter is left out"
    assert len(failed.story) < 15


def test_a_timer_that_is_forgotten() -> None:
    """A process manager that lets its timer pass while something else is late is found, by lateness alone."""
    failed = failing(forgets_the_day, faults=Faults(crashes=False, repeats=False))
    assert [] == [line for line in failed.story if line.startswith("!")]
    assert "client 2" not in str(failed)
    assert len(failed.story) < 16


def test_a_state_that_is_changed_in_place() -> None:
    """A crash brings it out: read again, the events give another state."""
    failed = failing(changes_in_place)
    assert "does evolve, or decide, change a state in place?" in str(failed)


def test_a_bug_of_the_domain() -> None:
    """What `decide` raises fails a schedule without any invariant; the trace says where."""
    paid_and_cancelled = [[Sent(order, "B", PayOrder()), Sent(order, "B", CancelOrder())]]
    failed = failing(raises, clients=paid_and_cancelled)
    assert "NoteCancelled to shipping B fails with DomainError: KeyError: 'done'" in str(failed)
    assert "in _raises" in str(failed)


@pytest.mark.parametrize("process", [ships_twice, forgets_the_day], ids=["ships twice", "forgets the day"])
def test_the_seed_says_all(process: Any) -> None:
    """The schedule of a seed fails again, alone, with the same story."""
    first = failing(process)
    assert f"again: seed={first.seed}" in str(first)
    with pytest.raises(ScheduleFailed) as again:
        run(Schedules(seed=first.seed), process)
    assert str(first) == str(again.value)


def test_the_engine_remembers_ids() -> None:
    """Within its window no repeat has an effect: what ships twice holds as long as no id is forgotten."""
    assert run(Schedules(100), ships_twice, faults=Faults(forgotten=False)).faults > 50


def test_commands_by_chance() -> None:
    """Clients may be made from the seed, too."""

    def clients(rng: Random) -> list[list[Sent[Any]]]:
        return [[Sent(order, f"O-{number}", PayOrder())] for number in range(rng.randint(1, 4))]

    failed = failing(ships_twice, clients=clients)
    with pytest.raises(ScheduleFailed) as again:
        run(Schedules(seed=failed.seed), ships_twice, clients=clients)
    assert str(failed) == str(again.value)


def test_a_domain_that_is_not_pure() -> None:
    """Where the same does not fail again, that is said."""
    asked = []

    def now_and_then(it: System) -> None:
        asked.append(it)
        assert len(asked) != 100

    with pytest.raises(ScheduleFailed, match="does the domain use a clock, chance or what it keeps"):
        Schedules(50).run(system(), PAID, always=now_and_then)


def test_a_circle_is_said() -> None:
    """A system that never comes to rest fails instead of hanging."""

    def echoes(process: str, event: Any) -> list[Send]:
        return [Send("shipping", f"{process}x", "NotePaid")]

    with pytest.raises(ScheduleFailed, match=r"after 5,000 steps it has not come to rest"):
        Schedules(1).run(system(replace(shipping, sends=echoes)), [[Sent(order, "A", PayOrder())]])
