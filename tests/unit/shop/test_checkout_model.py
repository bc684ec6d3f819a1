"""The whole shop in memory, in every order in which things can happen: what the checkout promises holds at every step.

The small worlds are searched to the last one, larger ones by chance. `--full` searches millions of worlds.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregates.process_manager import ForeignEvent, ProcessManager, Reaction
from aggregates.shop import product
from aggregates.shop.checkout import (
    AllReserved,
    CheckoutCancelled,
    CheckoutRejected,
    Command,
    Event,
    NoteCancelled,
    NoteRefused,
    NoteReserved,
    NoteShipped,
    PassDeadline,
    StartCheckout,
    State,
    checkout,
)
from tests.unit.shop_model import Plan, Shop
from tests.unit.shop_worlds import Broken, explore, walk

Manager = ProcessManager[Any, Any, Any]


def cancel(id: str) -> tuple[str, str, str, dict[str, Any]]:
    return "order", id, "CancelOrder", {"reason": "changed my mind"}


def ship(id: str) -> tuple[str, str, str, dict[str, Any]]:
    return "order", id, "ShipOrder", {}


def restock(sku: str, pieces: int) -> tuple[str, str, str, dict[str, Any]]:
    return "product", sku, "Restock", {"quantity": pieces}


def reserve(id: str, sku: str, pieces: int) -> tuple[str, str, str, dict[str, Any]]:
    return "product", sku, "ReserveStock", {"order_id": id, "quantity": pieces}


def turn_down(id: str) -> tuple[str, str, str, dict[str, Any]]:
    return "order", id, "RejectOrder", {"reason": "not to this address"}


ONE, BOTH, PRICES = (("A", 1),), (("A", 1), ("B", 1)), (("A", 2), ("A", 1))
ANY_MOMENT = Plan({"A": 1, "B": 1}, {"o1": BOTH}, (cancel("o1"), ship("o1")), apart=True)
SCARCE = Plan({"A": 1}, {"o1": ONE, "o2": ONE}, (cancel("o1"),))
ENOUGH = Plan({"A": 2, "B": 1}, {"o1": BOTH, "o2": ONE}, apart=True, far=True)
UNKNOWN = Plan({"A": 1, "B": None}, {"o1": BOTH}, (cancel("o1"),), apart=True, far=True)
REPEATED = Plan({"A": 1}, {"o1": ONE}, (cancel("o1"), ship("o1")), repeats=1)
TWICE = Plan({"A": 1, "B": 0}, {"o1": BOTH}, repeats=1)
RESTOCKED = Plan({"A": 0}, {"o1": ONE}, (restock("A", 1),), repeats=1)
OTHER_PIECES = Plan({"A": 5}, {"o1": PRICES}, (reserve("o1", "A", 2),))
SAME_PIECES = Plan({"A": 5}, {"o1": PRICES}, (reserve("o1", "A", 3),))
TURNED_DOWN = Plan({"A": 1}, {"o1": ONE}, (turn_down("o1"), ship("o1")))
TWO_PRICES = Plan({"A": 3}, {"o1": PRICES}, (ship("o1"),))
CREDIT = Plan({"A": 1}, {"o1": ONE, "o2": ONE}, (cancel("o2"),), credits=("o2",), far=True)

SMALL = {
    "cancelled and shipped at any moment": (ANY_MOMENT, "rejected, confirmed, cancelled, shipped"),
    "two orders, one piece": (
        SCARCE,
        "rejected rejected, rejected confirmed, confirmed rejected, cancelled confirmed, cancelled rejected",
    ),
    "enough for all, and time": (ENOUGH, "confirmed confirmed"),
    "one product unknown": (UNKNOWN, "rejected, cancelled"),
    "something comes twice": (REPEATED, "rejected, confirmed, cancelled, shipped"),
    "an answer comes twice": (TWICE, "rejected"),
    "restocked after a refusal": (RESTOCKED, "rejected, confirmed"),
    "other pieces reserved by hand": (OTHER_PIECES, "rejected, confirmed"),
    "the pieces reserved by hand": (SAME_PIECES, "rejected, confirmed"),
    "turned down by a person": (TURNED_DOWN, "rejected, confirmed, shipped"),
    "one product at two prices": (TWO_PRICES, "rejected, confirmed, shipped"),
    "a credit beside a sale": (CREDIT, "confirmed confirmed, confirmed cancelled"),
}


@pytest.mark.parametrize("name", SMALL)
def test_every_interleaving(name: str) -> None:
    """In a small shop nothing goes wrong on any way, and the orders come to every end that they may have."""
    plan, outcomes = SMALL[name]
    assert {tuple(it.split()) for it in outcomes.split(",")} == explore(Shop(plan, checkout)).outcomes


def changed(decide: Callable[[Any, State], list[Any]]) -> Manager:
    """The checkout with other decisions."""

    def decided(command: Command, state: State) -> list[Event]:
        return decide(command, state)

    return replace(checkout, decider=replace(checkout.decider, decide=decided))


def deaf(kind: type, *statuses: str) -> Manager:
    """The checkout that ignores a command while it is in one of these."""
    real = checkout.decider.decide
    return changed(lambda it, state: [] if isinstance(it, kind) and state.status in statuses else real(it, state))


def mute(*commands: str) -> Manager:
    """The checkout that does not send these."""
    return replace(
        checkout, sends=lambda id, event: [it for it in checkout.sends(id, event) if it.command not in commands]
    )


def unanswered_stay(command: Any, state: State) -> list[Any]:
    events = checkout.decider.decide(command, state)
    ends = (CheckoutRejected, CheckoutCancelled)
    return [replace(it, skus=tuple(state.reserved)) if isinstance(it, ends) else it for it in events]


def one_too_early(command: Any, state: State) -> list[Any]:
    events = checkout.decider.decide(command, state)
    early = isinstance(command, NoteReserved) and len(state.waiting) == 2 and events
    return [*events, AllReserved()] if early else events


def repeats_count(command: Any, state: State) -> list[Any]:
    again = isinstance(command, NoteReserved) and state.status == "reserving" and command.sku in state.reserved
    return [AllReserved()] if again and len(state.waiting) == 1 else checkout.decider.decide(command, state)


def any_pieces_count(command: Any, state: State) -> list[Any]:
    if isinstance(command, NoteReserved) and command.sku in state.waiting:
        command = replace(command, quantity=state.waiting[command.sku])
    return checkout.decider.decide(command, state)


def late_deadline_counts(command: Any, state: State) -> list[Any]:
    late = isinstance(command, PassDeadline) and state.status == "reserved"
    return [CheckoutRejected("late", state.skus)] if late else checkout.decider.decide(command, state)


def last_line_counts(happened: ForeignEvent) -> list[Reaction[Any]]:
    if happened.type != "OrderPlaced":
        return checkout.hear(happened)
    return [Reaction(happened.id, StartCheckout({line["sku"]: line["quantity"] for line in happened.data["lines"]}))]


def credits_count(happened: ForeignEvent) -> list[Reaction[Any]]:
    return checkout.hear(replace(happened, data={**happened.data, "kind": "sale"}))


MUTANTS: dict[str, tuple[Manager, Plan]] = {
    "lines without an answer are not released": (changed(unanswered_stay), SAME_PIECES),
    "late reservations are kept": (deaf(NoteReserved, "rejected", "cancelled"), RESTOCKED),
    "confirmed one line too early": (changed(one_too_early), ANY_MOMENT),
    "a repeated answer counts as another line": (changed(repeats_count), TWICE),
    "other pieces count": (changed(any_pieces_count), OTHER_PIECES),
    "not cancelled while reserving": (deaf(NoteCancelled, "reserving"), ANY_MOMENT),
    "not cancelled once all is reserved": (deaf(NoteCancelled, "reserved"), ANY_MOMENT),
    "no deadline": (deaf(PassDeadline, "reserving"), OTHER_PIECES),
    "no timer": (mute("ScheduleTimer"), OTHER_PIECES),
    "the deadline counts when all is reserved": (changed(late_deadline_counts), ANY_MOMENT),
    "refusals are not heard": (deaf(NoteRefused, "reserving"), UNKNOWN),
    "the order is not told of its rejection": (mute("RejectOrder"), SCARCE),
    "the order is not told that all is reserved": (mute("ConfirmOrder"), SCARCE),
    "nothing is released": (mute("ReleaseStock"), ANY_MOMENT),
    "shipping is not heard": (deaf(NoteShipped, "reserved"), ANY_MOMENT),
    "the stock is not told of the shipping": (mute("ShipStock"), ANY_MOMENT),
    "of two lines of a product the last counts": (replace(checkout, hear=last_line_counts), TWO_PRICES),
    "credits reserve": (replace(checkout, hear=credits_count), CREDIT),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_breakage_is_found(name: str) -> None:
    """The search finds each way of being wrong that is put into the checkout on purpose."""
    manager, plan = MUTANTS[name]
    with pytest.raises(Broken):
        explore(Shop(plan, manager))


def test_a_product_that_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A product remembers a bounded number of orders that have ended. A repeat that it takes for new is given back by
    the checkout, after shipping too."""
    monkeypatch.setattr(product, "REMEMBERED", 1)
    release = ("product", "A", "ReleaseStock", {"order_id": "another"})
    plan = Plan({"A": 3}, {"o1": ONE}, (ship("o1"), reserve("another", "A", 1), release), repeats=1, far=True)
    assert ("shipped",) in explore(Shop(plan, checkout)).outcomes
    with pytest.raises(Broken, match=r"o1 is shipped and holds \{'A': 1\}"):
        explore(Shop(plan, deaf(NoteReserved, "shipped")))


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Three orders over two products of which there are too few, and one that may be unknown."""
    ids, skus = ("o1", "o2", "o3"), ("A", "B")
    lines = st.lists(st.tuples(st.sampled_from(skus), st.integers(1, 2)), min_size=1, max_size=3).map(tuple)
    persons = [*map(cancel, ids), *map(ship, ids), restock("A", 1), restock("B", 2), turn_down("o1")]
    return Plan(
        {"A": draw(st.integers(0, 4)), "B": draw(st.none() | st.integers(0, 4))},
        {id: draw(lines) for id in ids},
        tuple(draw(st.lists(st.sampled_from(persons), max_size=6))),
        repeats=draw(st.integers(0, 8)),
        window=draw(st.sampled_from([0, 3, 1_000])),
        credits=draw(st.sampled_from([(), ("o3",)])),
        apart=True,
    )


@settings(max_examples=150)
@given(plans(), st.randoms(use_true_random=False), st.integers(0, 150))
def test_larger_shops(plan: Plan, rng: random.Random, steps: int) -> None:
    """Three orders, a service that stands still, repeats whose ids are remembered, forgotten or not there at all:
    nothing goes wrong on the ways that are tried."""
    walk(Shop(plan, checkout), rng, steps)


LARGE = {
    "two orders, two products": Plan({"A": 1, "B": 1}, {"o1": BOTH, "o2": BOTH}),
    "three orders, two pieces": Plan({"A": 2}, {"o1": ONE, "o2": ONE, "o3": ONE}),
    "two orders, both cancelled": Plan({"A": 1}, {"o1": ONE, "o2": ONE}, (cancel("o1"), cancel("o2"))),
    "two orders, one cancelled and shipped": Plan(
        {"A": 1}, {"o1": ONE, "o2": ONE}, (cancel("o1"), ship("o1")), apart=True
    ),
    "two orders, something comes twice": Plan({"A": 1}, {"o1": ONE, "o2": ONE}, repeats=1),
    "two things come twice": Plan({"A": 0}, {"o1": ONE}, (cancel("o1"), restock("A", 1)), repeats=2),
}


@pytest.mark.full
@pytest.mark.parametrize("name", LARGE)
def test_every_interleaving_of_a_large_shop(name: str) -> None:
    """Nothing goes wrong on any way through millions of worlds."""
    explored = explore(Shop(LARGE[name], checkout))
    print(f"{name}: {explored.worlds:,} worlds, {explored.interleavings:,} interleavings")
    assert explored.worlds > 500_000
