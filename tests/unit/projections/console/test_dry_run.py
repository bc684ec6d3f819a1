"""What an aggregate would say: decided as its owner decides, and nothing is kept of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aggregates.principal import Principal
from aggregates.shop.order import NEVER, OrderOpened, order
from projections.console.dry_run import DryRunAnswer, answer_of, decided, handler_of
from streams.aggregate_type import AggregateType
from streams.deciding.cache import Aggregate
from streams.settings import Settings

LINE = {"sku": "tea", "description": "Tea", "quantity": 2, "unit_price": "2.55"}
OPEN = {"user_id": "u-1", "kind": "sale"}


@pytest.fixture(scope="module")
def orders() -> AggregateType:
    return AggregateType("orders", order, Settings(), "shop")


def would_say(orders: AggregateType, *commands: tuple[str, dict[str, Any]]) -> DryRunAnswer:
    """What is said to the last of some commands, each over what the ones before have made."""
    state, handler = orders.decider.initial, handler_of(orders)
    for sequence, (name, data) in enumerate(commands):
        aggregate = Aggregate(state, sequence)
        verdict = decided(handler, aggregate, name, json.dumps(data).encode(), "o-1")
        answer = answer_of(orders, verdict, name, sequence, state, aggregate.state)
        state = aggregate.state
    return answer


def test_accepted(orders: AggregateType) -> None:
    """The events that would follow, and the state before and after them."""
    answer = would_say(orders, ("OpenOrder", OPEN), ("AddLine", LINE))
    assert ("accepted", ["LineAdded"], None) == (answer.status, [event.type for event in answer.events], answer.error)
    assert ("tea", "2.5500") == (answer.events[0].data["sku"], answer.events[0].data["unit_price"])
    assert answer.before != answer.after
    assert "tea" not in json.dumps(answer.before)
    assert "tea" in json.dumps(answer.after)


def test_rejected(orders: AggregateType) -> None:
    """The reason of the domain, no events, and a state that stays."""
    answer = would_say(orders, ("PlaceOrder", {}))
    assert ("rejected", [], "UnknownOrder") == (answer.status, answer.events, answer.error and answer.error.type)
    assert answer.before == answer.after


def test_failed(orders: AggregateType) -> None:
    """A command that the owner could not read fails here, too."""
    answer = would_say(orders, ("NoSuchCommand", {}))
    assert ("failed", "UnknownCommand") == (answer.status, answer.error and answer.error.type)


def test_who_may_not(orders: AggregateType) -> None:
    """The rule of the type is asked, with whoever asks."""
    handler, opened = handler_of(orders), orders.decider.fold([OrderOpened("u-1", "sale", None, NEVER)])
    for name, status in (("u-1", "accepted"), ("u-2", "rejected")):
        who, data = Principal("oidc", name), b'{"reason": "no"}'
        verdict = decided(handler, Aggregate(opened, 1), "CancelOrder", data, "o-1", who)
        assert verdict.reply is not None
        assert status == verdict.reply.status
