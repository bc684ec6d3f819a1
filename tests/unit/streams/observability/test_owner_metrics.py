"""What the owner of a log counts: real groups, over the journal in memory."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from functools import wraps
from typing import Any

import msgspec

from aggregates.shop.order import order
from schemas.codec import Codec
from schemas.registry import Schemas
from streams.deciding.cache import Cache
from streams.deciding.command_handler import CommandHandler
from streams.deciding.group_handler import GroupHandler
from streams.deciding.messages import Message, command_headers
from streams.journal.memory import MemoryJournal, MemoryStore
from streams.journal.port import Commit, Fenced, SliceHead
from streams.limits import Limits
from streams.moments import now
from streams.observability import catalog
from streams.observability.instruments import Instruments
from streams.observability.owner_metrics import OwnerMetrics

SCHEMAS = list(Schemas.load("shop", "order"))
EVENTS = Codec([s for s in SCHEMAS if s.name not in order.commands], order.events)
COMMANDS = Codec([s for s in SCHEMAS if s.name in order.commands], order.commands)
OPEN = {"user_id": "17850", "kind": "sale", "country": "France"}
LINE = {"sku": "85123A", "description": "HOLDER", "quantity": 6, "unit_price": Decimal("2.55")}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class World:
    """One log of orders, whose groups are decided and counted; nothing of them is written."""

    def __init__(self, quarantine: bool = False) -> None:
        self.instruments = Instruments()
        self.metrics = OwnerMetrics(self.instruments, "order", order.commands)
        self.is_broken = False

        @wraps(order.decide)
        def decide(command: Any, state: Any) -> Any:
            if self.is_broken:
                raise ZeroDivisionError
            return order.decide(command, state)

        handler = CommandHandler(
            decider=replace(order, decide=decide),
            events=EVENTS,
            commands=COMMANDS,
            window=100,
            limits=Limits(quarantine=quarantine),
        )
        self.handler = GroupHandler(
            handler, journal=MemoryJournal(MemoryStore()), cache=Cache(1_000_000), log="order@0", slices=1
        )
        self.head = Commit(
            log="order@0", nr=1, epoch=1, owner="o", topic_id="t", slices={0: SliceHead()}, derived_nr=1,
            recorded_at=now(),
        )  # fmt: skip
        self.offset = 0

    def message(
        self,
        command: str,
        data: Mapping[str, Any] | None = None,
        id: str = "",
        key: str = "A",
        age: float = 0.0,
        trace: str = "",
    ) -> Message:
        self.offset += 1
        headers = command_headers(id or f"c{self.offset}", command, "/tests", traceparent=trace)
        sent = round(time.time() - age, 3)
        return Message(0, self.offset, key.encode(), msgspec.json.encode(data or {}), headers, sent)

    async def decide(self, *messages: Message, seconds: float = 0.004) -> None:
        group = await self.handler.decide_group(messages, self.head)
        self.metrics.decided(group)
        self.handler.settle(0)
        self.metrics.committed(group, seconds)

    def counts(self, metric: Any) -> dict[tuple[str, ...], float]:
        return {labels: count.value for labels, count in self.instruments.counter(metric).series.items() if count.value}

    def observed(self, metric: Any) -> dict[tuple[str, ...], int]:
        return {
            labels: sum(spread.counts)
            for labels, spread in self.instruments.histogram(metric).series.items()
            if sum(spread.counts)
        }


async def test_each_command_counts_once_by_what_came_of_it() -> None:
    """Also one that was accepted before, one that the domain rejects, and one that nobody knows: that one's name, which
    anybody may have made up, is no label."""
    world = World()
    await world.decide(
        world.message("OpenOrder", OPEN, id="open"),
        world.message("OpenOrder", OPEN, id="open"),
        world.message("AddLine", LINE),
        world.message("AddLine", LINE, key="B"),
        world.message("Made" + "Up" * 50),
    )
    assert {
        ("order", "OpenOrder", "accepted"): 1,
        ("order", "OpenOrder", "repeated"): 1,
        ("order", "AddLine", "accepted"): 1,
        ("order", "AddLine", "rejected"): 1,
        ("order", "other", "failed"): 1,
    } == world.counts(catalog.COMMANDS)
    assert {("order",): 2} == world.counts(catalog.EVENTS)
    assert {("order", "UnknownCommand"): 1} == world.counts(catalog.DEAD_LETTERS)
    assert {("order",): 1} == world.observed(catalog.COMMIT_SECONDS) == world.observed(catalog.COMMIT_COMMANDS)
    assert {
        ("order", "accepted"): 2, ("order", "repeated"): 1, ("order", "rejected"): 1, ("order", "failed"): 1
    } == world.observed(catalog.COMMAND_SECONDS)  # fmt: skip


async def test_seconds_begin_with_kafkas_time_of_a_command() -> None:
    """Of each command its own, in its bucket."""
    world = World()
    await world.decide(
        world.message("OpenOrder", OPEN, age=0.3), *(world.message("AddLine", LINE, age=7.0) for _ in range(3))
    )
    spread = world.instruments.histogram(catalog.COMMAND_SECONDS).series["order", "accepted"]
    bounds = catalog.COMMAND_SECONDS.buckets
    assert {bounds.index(0.5): 1, bounds.index(10.0): 3} == {
        number: count for number, count in enumerate(spread.counts) if count
    }
    assert 21.3 < spread.sum < 30.5


async def test_a_sampled_trace_is_an_exemplar() -> None:
    """One of a group at most; a trace that nobody keeps is none."""
    world = World()
    await world.decide(
        world.message("OpenOrder", OPEN, trace=f"00-{'1' * 32}-00f067aa0ba902b7-00"),
        world.message("AddLine", LINE, age=7.0, trace=f"00-{TRACE}-00f067aa0ba902b7-01"),
    )
    spread = world.instruments.histogram(catalog.COMMAND_SECONDS).series["order", "accepted"]
    [(bucket, exemplar)] = spread.exemplars.items()
    assert (10.0, {"trace_id": TRACE}) == (catalog.COMMAND_SECONDS.buckets[bucket], exemplar.labels)
    # Kafka's time is in whole milliseconds, so a command may look a part of one younger than it is.
    assert 6.999 <= exemplar.value < 10.0


async def test_aggregates_of_a_group_were_in_memory_or_not() -> None:
    """Each counts once in a group, whose time is told apart."""
    world = World()
    await world.decide(world.message("OpenOrder", OPEN), world.message("AddLine", LINE))
    assert {("order",): 1} == world.counts(catalog.CACHE_LOADS)
    assert {} == world.counts(catalog.CACHE_HITS)
    await world.decide(world.message("AddLine", LINE), world.message("OpenOrder", OPEN, key="B"))
    assert {("order",): 2} == world.counts(catalog.CACHE_LOADS)
    assert {("order",): 1} == world.counts(catalog.CACHE_HITS)
    assert {("order",): 2} == world.observed(catalog.LOAD_SECONDS) == world.observed(catalog.DECIDE_SECONDS)
    await world.decide(world.message("AddLine", LINE))
    assert ({("order",): 2}, {("order",): 3}) == (
        world.observed(catalog.LOAD_SECONDS), world.observed(catalog.DECIDE_SECONDS)
    )  # fmt: skip


def test_a_log_is_lost_to_another_owner_or_otherwise() -> None:
    """And both are known from the beginning, so that the first rise is seen."""
    world = World()
    series = world.instruments.counter(catalog.OWNERSHIP_LOST).series
    assert {("order", "fenced"): 0, ("order", "other"): 0} == {labels: count.value for labels, count in series.items()}
    world.metrics.lost(Fenced("another owner"))
    world.metrics.lost(ValueError("a bug"))
    world.metrics.taken_over(0.3)
    assert {("order", "fenced"): 1, ("order", "other"): 1} == world.counts(catalog.OWNERSHIP_LOST)
    assert {("order",): 1} == world.observed(catalog.TAKEOVER_SECONDS)


async def test_what_goes_into_quarantine_and_waits_behind() -> None:
    """A command that makes the domain raise failed, and those behind it wait."""
    world = World(quarantine=True)
    await world.decide(world.message("OpenOrder", OPEN))
    world.is_broken = True
    await world.decide(world.message("AddLine", LINE), world.message("AddLine", LINE))
    counts = world.counts(catalog.COMMANDS)
    assert (1, 1) == (counts["order", "AddLine", "failed"], counts["order", "AddLine", "waiting"])
    assert {("order", "DomainError"): 1} == world.counts(catalog.DEAD_LETTERS)
    assert {("order",): 1} == world.counts(catalog.QUARANTINES)
    assert {("order",): 1} == world.counts(catalog.EVENTS)
