"""The whole shop as a value: orders, products, checkouts, timers and all that is on its way between them.

Each aggregate has a queue of commands, first in, first out, as its key has in a partition; orders and products have
one of events too, which the checkout's router reads. A step takes one message from the head of one queue, and what
follows from it is appended to others. Which queue is next is free: so every queue may be late by as much as one likes,
as when a service stands still. Besides, a timer that is pending may fire at any moment, a person may do one of the
things that the plan allows, and anything that was ever sent may be sent again. The deciders are the real ones, and what
they exchange goes through JSON into the classes of commands.

A world is a tuple of small numbers, each the name of the content of one slot, so that millions of them can be told
apart; what a slot's content does to a message is worked out once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from typing import Any, NamedTuple

import msgspec

from aggregates.decider import Decider, Rejected
from aggregates.process_manager import ForeignEvent, ProcessManager
from aggregates.shop.order import AddLine, Kind, OpenOrder, order
from aggregates.shop.product import DefineProduct, Restock, Restocked, StockShipped, product
from aggregates.timer import timer

NOW = datetime(2026, 1, 1, tzinfo=UTC)
QUEUES = ("commands ", "events ", "issued ")
World = tuple[int, ...]
encode = msgspec.json.Encoder(order="deterministic", decimal_format="string").encode


class Message(NamedTuple):
    """A command or an event; without ids nothing tells a repeat from another of the same content."""

    name: str
    data: bytes
    id: str


class Sent(NamedTuple):
    """A message and where it goes; one that is to be issued is itself one that was sent."""

    queue: str
    message: Any


@dataclass(frozen=True)
class Plan:
    """What there is, and what may happen. All orders are open, and on their way to being placed.

    stock    pieces by stock code; None where the product was never defined
    orders   lines (stock code, pieces) by order
    may      what persons may do, each once, at any moment or not at all: `(type, id, command, fields)`
    repeats  how many messages may be sent a second time
    window   command ids that an aggregate remembers; 0 for none, and then messages have no ids at all
    credits  the orders that give money back
    apart    the commands that an event causes are published one by one, with time between
    far      the deadlines are so far off that none passes
    """

    stock: dict[str, int | None]
    orders: dict[str, tuple[tuple[str, int], ...]]
    may: tuple[tuple[str, str, str, dict[str, Any]], ...] = ()
    repeats: int = 0
    window: int = 0
    credits: tuple[str, ...] = ()
    apart: bool = False
    far: bool = False


class Ledger(NamedTuple):
    """An aggregate, what of it left the stock and came to it, and the ids of its last commands."""

    state: Any
    sequence: int = 0
    shipped: int = 0
    restocked: int = 0
    seen: tuple[str, ...] = ()


class Contents:
    """What slots hold, by number, and the number of what is equal."""

    def __init__(self) -> None:
        self.of: list[Any] = []
        self._numbers: dict[Hashable, int] = {}

    def number(self, content: Any, key: Hashable = None) -> int:
        key = content if key is None else key
        if key not in self._numbers:
            self._numbers[key] = len(self.of)
            self.of.append(content)
        return self._numbers[key]


@dataclass
class Shop:
    """The steps that a world can take."""

    plan: Plan
    manager: ProcessManager[Any, Any, Any]
    contents: Contents = dataclasses.field(default_factory=Contents)
    slots: dict[str, int] = dataclasses.field(default_factory=dict)
    _after: dict[tuple[int, ...], tuple[int, int, tuple[Sent, ...]]] = dataclasses.field(default_factory=dict)
    _pushed: dict[tuple[int, Message], int] = dataclasses.field(default_factory=dict)

    @cached_property
    def start(self) -> World:
        """The world as the plan has it."""
        first: dict[str, Any] = {}
        for sku, pieces in self.plan.stock.items():
            made = [] if pieces is None else [DefineProduct("", Decimal(1)), *([Restock(pieces)] if pieces else [])]
            first[f"product/{sku}"] = Ledger(_told(product, made), restocked=pieces or 0)
            first[f"commands product/{sku}"] = first[f"events product/{sku}"] = ()
        for id, lines in self.plan.orders.items():
            kind: Kind = "credit" if id in self.plan.credits else "sale"
            prices = (Decimal(price + 1) for price in range(len(lines)))  # lines of one product stay apart
            added = [AddLine(sku, "", pieces, price) for (sku, pieces), price in zip(lines, prices, strict=True)]
            first[f"order/{id}"] = Ledger(_told(order, [OpenOrder("u", kind, None, NOW), *added]))
            first[f"commands order/{id}"] = (self._message("PlaceOrder", {}, f"place {id}"),)
            first[f"events order/{id}"] = first[f"commands checkout/{id}"] = first[f"issued checkout/{id}"] = ()
            first[f"checkout/{id}"] = Ledger(self.manager.decider.initial)
            first[f"timer/checkout:{id}"] = Ledger(timer.decider.initial)
            first[f"commands timer/checkout:{id}"] = ()
        first["may"] = tuple(range(len(self.plan.may)))
        first["repeats"] = self.plan.repeats
        first["sent"] = frozenset(
            Sent(queue, message) for queue, held in first.items() if queue.startswith("commands ") for message in held
        )
        self.slots = {name: index for index, name in enumerate(first)}
        return tuple(self.contents.number(it, _key(it)) for it in first.values())

    def content(self, world: World, slot: str) -> Any:
        """What a slot holds."""
        return self.contents.of[world[self.slots[slot]]]

    def steps(self, world: World) -> Iterator[tuple[str, World]]:
        """What must happen some day: each message at the head of a queue, and each timer."""
        for name, slot, actor in self._queues:
            if self.contents.of[world[slot]]:
                yield name, self._delivered(world, name, slot, actor)
        for name, slot in () if self.plan.far else self._timers:
            if self.contents.of[world[slot]].state.status == "pending":
                yield f"fire {name}", self._fired(world, name, slot)

    def choices(self, world: World) -> Iterator[tuple[str, World]]:
        """What may happen besides: what a person does, and what is sent again."""
        may = self.content(world, "may")
        for nr in may:
            type_, id, command, data = self.plan.may[nr]
            left = [*world]
            left[self.slots["may"]] = self.contents.number(tuple(other for other in may if other != nr))
            sent = Sent(f"commands {type_}/{id}", self._message(command, data, f"person {nr}"))
            yield f"{command} {id}", self._put(left, (sent,))
        if repeats := self.content(world, "repeats"):
            for sent in sorted(self.content(world, "sent")):
                left = [*world]
                left[self.slots["repeats"]] = self.contents.number(repeats - 1)
                yield f"again {sent.queue} {sent.message.name}", self._put(left, (sent,))

    @cached_property
    def _queues(self) -> list[tuple[str, int, int]]:
        found = [(name, slot) for name, slot in self.slots.items() if name.startswith(QUEUES)]
        return [(name, slot, self.slots[name.partition(" ")[2]]) for name, slot in found]

    @cached_property
    def _timers(self) -> list[tuple[str, int]]:
        return [(name, slot) for name, slot in self.slots.items() if name.startswith("timer/")]

    def _message(self, name: str, data: Any, id: str) -> Message:
        return Message(name, encode(data), id if self.plan.window else "")

    def _delivered(self, world: World, name: str, slot: int, actor: int) -> World:
        key = (slot, world[slot], world[actor])
        if key not in self._after:
            head, *rest = self.contents.of[world[slot]]
            left = self.contents.number(tuple(rest))
            if name.startswith("events "):
                self._after[key] = left, world[actor], self._routed(name.removeprefix("events "), head)
            elif name.startswith("issued "):
                self._after[key] = left, world[actor], (head,)
            else:
                after, sent = self._told(name.removeprefix("commands "), self.contents.of[world[actor]], head)
                self._after[key] = left, self.contents.number(after, _key(after)), sent
        left, after, sent = self._after[key]
        next_ = [*world]
        next_[slot], next_[actor] = left, after
        return self._put(next_, sent)

    def _fired(self, world: World, name: str, slot: int) -> World:
        key = (slot, world[slot])
        if key not in self._after:
            ledger = self.contents.of[world[slot]]
            # Who watches the time says so as often as he likes: it has no id that counts.
            after, sent = self._told(name, ledger, Message("FireTimer", encode({"due": ledger.state.last.due}), ""))
            self._after[key] = world[slot], self.contents.number(after, _key(after)), sent
        _, after, sent = self._after[key]
        next_ = [*world]
        next_[slot] = after
        return self._put(next_, sent)

    def _put(self, world: list[int], sent: tuple[Sent, ...]) -> World:
        for queue, message in sent:
            slot = self.slots[queue]
            key = (world[slot], message)
            if key not in self._pushed:
                self._pushed[key] = self.contents.number((*self.contents.of[world[slot]], message))
            world[slot] = self._pushed[key]
        if sent and self.plan.repeats:
            slot = self.slots["sent"]
            published = {it for it in sent if not it.queue.startswith("issued ")}
            world[slot] = self.contents.number(self.contents.of[world[slot]] | published)
        return tuple(world)

    def _routed(self, source: str, event: Message) -> tuple[Sent, ...]:
        """The router: an event of another becomes a command with the event's id. What somebody has reserved for no
        order of the plan is left out: nothing follows from it."""
        type_, _, id = source.partition("/")
        heard = self.manager.hear(ForeignEvent(type_, id, event.name, msgspec.json.decode(event.data)))
        return tuple(
            Sent(f"commands checkout/{it.process}", self._message(type(it.command).__name__, it.command, event.id))
            for it in heard
            if it.process in self.plan.orders
        )

    def _told(self, name: str, ledger: Any, message: Message) -> tuple[Any, tuple[Sent, ...]]:
        type_, _, id = name.partition("/")
        if message.id and message.id in ledger.seen:
            return ledger, ()
        manager = {"checkout": self.manager, "timer": timer}.get(type_)
        decider = manager.decider if manager else {"order": order, "product": product}[type_]
        command = msgspec.json.decode(message.data, type=decider.commands[message.name])
        if (field := getattr(command, "time_field", None)) and getattr(command, field) is None:
            command = dataclasses.replace(command, **{field: NOW})
        try:
            events = decider.decide(command, ledger.state)
        except Rejected:
            return ledger, ()
        sent: list[Sent] = []
        for nr, event in enumerate(events, ledger.sequence + 1):
            event_id = f"{name}:{nr}"
            if manager:
                for place, it in enumerate(manager.sends(id, event)):
                    said = self._message(it.command, it.data, it.command_id or f"{event_id}#{place}")
                    sent.append(Sent(f"commands {it.to}/{it.id}", said))
            elif type(event).__name__ in self.manager.hears[type_]:
                sent.append(Sent(f"events {name}", self._message(type(event).__name__, event, event_id)))
        after = Ledger(
            decider.fold(events, ledger.state),
            ledger.sequence + len(events) if self.plan.window else 0,
            ledger.shipped + sum(it.quantity for it in events if isinstance(it, StockShipped)),
            ledger.restocked + sum(it.quantity for it in events if isinstance(it, Restocked)),
            (*ledger.seen, message.id)[-self.plan.window :] if message.id else ledger.seen,
        )
        if type_ == "checkout" and self.plan.apart:
            return after, tuple(Sent(f"issued {name}", it) for it in sent)
        return after, tuple(sent)


def _told(decider: Decider[Any, Any, Any], commands: list[Any]) -> Any:
    state = decider.initial
    for command in commands:
        state = decider.fold(decider.decide(command, state), state)
    return state


def _key(content: Any) -> Hashable:
    """Ledgers hold dictionaries, whose order says nothing."""
    return ("ledger", encode(content)) if isinstance(content, Ledger) else content
