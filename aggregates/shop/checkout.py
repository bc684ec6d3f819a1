"""A checkout takes a placed sale to its end: it reserves every line, and confirms the order when all are reserved.

    new -> reserving -> reserved -> shipped
           reserving -> rejected          reserving, reserved -> cancelled

When a line is refused or the deadline passes, the order is rejected; when the customer cancels it first, that stands.
Then every line is released, also one that was not answered yet: its `ReserveStock` stands before its `ReleaseStock` in
the product's partition. A reservation that comes later all the same is given back by itself. So no piece stays
reserved for an order that has ended, and none is confirmed without all of its pieces, in whatever order, how late and
how often anything is heard.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import ClassVar, Literal, assert_never

from aggregates.decider import Decider, Rejected
from aggregates.process_manager import ForeignEvent, ProcessManager, Reaction, Send
from aggregates.shop.values import MAX_TEXT, identity, time

Status = Literal["new", "reserving", "reserved", "rejected", "cancelled", "shipped"]


@dataclass(frozen=True, slots=True)
class StartCheckout:
    """`lines` has the pieces by stock code. `started_at` is when the placing was heard of; filled in like the time of
    `OpenOrder`."""

    lines: dict[str, int]
    started_at: datetime | None = None

    time_field: ClassVar[str] = "started_at"


@dataclass(frozen=True, slots=True)
class NoteReserved:
    sku: str
    quantity: int


@dataclass(frozen=True, slots=True)
class NoteRefused:
    sku: str
    reason: str


@dataclass(frozen=True, slots=True)
class PassDeadline:
    pass


@dataclass(frozen=True, slots=True)
class NoteCancelled:
    """The order was cancelled, or turned down by somebody else."""

    reason: str


@dataclass(frozen=True, slots=True)
class NoteShipped:
    pass


Command = StartCheckout | NoteReserved | NoteRefused | PassDeadline | NoteCancelled | NoteShipped


@dataclass(frozen=True, slots=True)
class CheckoutStarted:
    lines: dict[str, int]
    deadline: datetime


@dataclass(frozen=True, slots=True)
class LineReserved:
    sku: str
    quantity: int


@dataclass(frozen=True, slots=True)
class AllReserved:
    pass


@dataclass(frozen=True, slots=True)
class CheckoutRejected:
    reason: str
    skus: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CheckoutCancelled:
    reason: str
    skus: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CheckoutShipped:
    skus: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LateReservation:
    """Pieces were reserved for an order that had ended."""

    sku: str


Event = (
    CheckoutStarted
    | LineReserved
    | AllReserved
    | CheckoutRejected
    | CheckoutCancelled
    | CheckoutShipped
    | LateReservation
)


@dataclass(frozen=True, slots=True)
class State:
    """Pieces by stock code: those that a product has not answered for yet, and those that are reserved."""

    status: Status = "new"
    waiting: dict[str, int] = field(default_factory=dict)
    reserved: dict[str, int] = field(default_factory=dict)

    @property
    def skus(self) -> tuple[str, ...]:
        return (*self.reserved, *self.waiting)


def _decide(command: Command, state: State, within: timedelta) -> list[Event]:
    """Never rejects a command: one that comes twice, or too late after others, has no effect."""
    match command, state.status:
        case StartCheckout(lines, started_at), "new":
            return [CheckoutStarted(lines, time("started_at", started_at) + within)]
        case NoteReserved(sku, pieces), "reserving" if state.waiting.get(sku) == pieces:
            reserved = LineReserved(sku, pieces)
            return [reserved] if len(state.waiting) > 1 else [reserved, AllReserved()]
        case NoteReserved(sku), "rejected" | "cancelled" | "shipped":
            return [LateReservation(sku)]  # what was shipped cannot be released any more: then it is a repeat
        case NoteRefused(sku, reason), "reserving" if sku in state.waiting:
            return [CheckoutRejected(_reason(sku, reason), state.skus)]
        case PassDeadline(), "reserving":
            return [CheckoutRejected("not reserved in time", state.skus)]
        case NoteCancelled(reason), "reserving" | "reserved":
            return [CheckoutCancelled(reason, state.skus)]
        case NoteShipped(), "reserving" | "reserved":
            return [CheckoutShipped(state.skus)]
        case _:
            return []


def _reason(sku: str, reason: str) -> str:
    """A reason for people, no longer than an order takes it."""
    said = {"UnknownProduct": "unknown product", "TooManyReservations": "too many orders wait for"}
    return f"{said.get(reason, 'out of stock')}: {sku}"[:MAX_TEXT]


def evolve(state: State, event: Event) -> State:
    match event:
        case CheckoutStarted(lines):
            return State("reserving", lines)
        case LineReserved(sku, pieces):
            waiting = state.waiting.copy()
            del waiting[sku]
            return replace(state, waiting=waiting, reserved={**state.reserved, sku: pieces})
        case AllReserved():
            return replace(state, status="reserved")
        case CheckoutRejected():
            return State("rejected")
        case CheckoutCancelled():
            return State("cancelled")
        case CheckoutShipped():
            return State("shipped")
        case LateReservation():
            return state
        case _:
            assert_never(event)


HEARS = {
    "order": ("OrderPlaced", "OrderRejected", "OrderCancelled", "OrderShipped"),
    "product": ("StockReserved", "StockRefused"),
}


def hear(happened: ForeignEvent) -> list[Reaction[Command]]:
    """The commands that events of others mean. `OrderConfirmed` is not among them: the checkout has asked for it."""
    data = happened.data
    match happened.type:
        case "OrderPlaced" if data["kind"] == "sale":  # a credit takes no stock
            lines: dict[str, int] = {}
            for line in data["lines"]:
                lines[line["sku"]] = lines.get(line["sku"], 0) + line["quantity"]
            return [Reaction(happened.id, StartCheckout(lines))]
        case "OrderRejected" | "OrderCancelled":
            return [Reaction(happened.id, NoteCancelled(data["reason"]))]
        case "OrderShipped":
            return [Reaction(happened.id, NoteShipped())]
        case "StockReserved":
            return [Reaction(data["order_id"], NoteReserved(happened.id, data["quantity"]))]
        case "StockRefused":
            return [Reaction(data["order_id"], NoteRefused(happened.id, data["reason"]))]
        case _:
            return []


def sends(process: str, event: Event) -> list[Send]:
    match event:
        case CheckoutStarted(lines, deadline):
            try:
                identity("the order's id", process)
            except Rejected as no:  # no product would answer such an order, nor would a timer
                return [Send("order", process, "RejectOrder", {"reason": no.message})]
            asked = [_stock(process, "ReserveStock", sku, quantity=pieces) for sku, pieces in lines.items()]
            due = deadline.isoformat(timespec="milliseconds").replace("+00:00", "Z")
            told = {"to": "checkout", "id": process, "command": "PassDeadline", "data": "{}", "command_id": None}
            return [*asked, Send("timer", f"checkout:{process}", "ScheduleTimer", {"due": due, **told})]
        case AllReserved():
            return [Send("order", process, "ConfirmOrder"), _no_deadline(process)]
        case CheckoutRejected(reason, skus):
            rejected = Send("order", process, "RejectOrder", {"reason": reason})
            return [*_each("ReleaseStock", process, skus), rejected, _no_deadline(process)]
        case CheckoutCancelled(_, skus):
            return [*_each("ReleaseStock", process, skus), _no_deadline(process)]
        case CheckoutShipped(skus):
            return _each("ShipStock", process, skus)
        case LateReservation(sku):
            return [_stock(process, "ReleaseStock", sku)]
        case LineReserved():
            return []
        case _:
            assert_never(event)


def _each(command: str, process: str, skus: Iterable[str]) -> list[Send]:
    return [_stock(process, command, sku) for sku in skus]


def _stock(process: str, command: str, sku: str, **fields: int) -> Send:
    return Send("product", sku, command, {"order_id": process, **fields})


def _no_deadline(process: str) -> Send:
    return Send("timer", f"checkout:{process}", "CancelTimer")


def checkout_within(deadline: timedelta) -> ProcessManager[Command, Event, State]:
    """The checkout whose orders are rejected when their stock is not reserved within `deadline` of their placing."""

    def decide(command: Command, state: State) -> list[Event]:
        return _decide(command, state, deadline)

    decider = Decider("checkout", State(), decide, evolve)
    return ProcessManager(decider, HEARS, hear, sends, sends_to=("product", "order", "timer"))


checkout = checkout_within(timedelta(days=1))
"""Long: products that stand still for hours lose no sale."""
