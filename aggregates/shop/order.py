"""An order: lines are added while it is open, then it is placed, confirmed or rejected, and shipped.

    new -> open -> placed -> confirmed -> shipped
           open, placed, confirmed -> cancelled          placed -> rejected

A sale waits after placing until its stock is reserved. A credit, which gives money back, reserves
nothing and ships nothing: it is confirmed at once. Totals are positive for both; the kind says the sign.
An order has at most `MAX_LINES` lines, equal ones merged, and `MAX_PIECES` pieces.

Its user alone, or an operator, places and cancels it, as far as it is known who asks.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import ClassVar, Literal, assert_never

from aggregates.decider import Decider, Rejected
from aggregates.principal import Principal
from aggregates.shop.values import MAX_TEXT, country, identity, price, quantity, text, time

MAX_LINES = 5_000
MAX_LINE_PIECES = 1_000_000
MAX_PIECES = 10_000_000
NEVER = datetime.fromtimestamp(0, UTC)

Kind = Literal["sale", "credit"]
Status = Literal["new", "open", "placed", "confirmed", "rejected", "cancelled", "shipped"]


@dataclass(frozen=True, slots=True)
class Line:
    sku: str
    description: str
    quantity: int
    unit_price: Decimal


@dataclass(frozen=True, slots=True)
class Sale:
    """The revenue of an order, or of a credit, which is taken out: all that analytics needs of it."""

    user_id: str
    kind: Kind
    country: str | None
    opened_at: datetime
    lines: tuple[Line, ...]
    total: Decimal


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """`time_field` names the field that the engine fills with the command's time when it is None: a decider has no
    clock."""

    user_id: str
    kind: Kind
    country: str | None = None
    opened_at: datetime | None = None

    time_field: ClassVar[str] = "opened_at"


@dataclass(frozen=True, slots=True)
class AddLine:
    """Adds pieces each time: only its command id tells a repeat."""

    sku: str
    description: str
    quantity: int
    unit_price: Decimal


@dataclass(frozen=True, slots=True)
class RemoveLine:
    """Removes all lines of this stock code, whatever their prices."""

    sku: str


@dataclass(frozen=True, slots=True)
class PlaceOrder:
    pass


@dataclass(frozen=True, slots=True)
class ConfirmOrder:
    pass


@dataclass(frozen=True, slots=True)
class RejectOrder:
    reason: str


@dataclass(frozen=True, slots=True)
class CancelOrder:
    reason: str


@dataclass(frozen=True, slots=True)
class ShipOrder:
    pass


Command = OpenOrder | AddLine | RemoveLine | PlaceOrder | ConfirmOrder | RejectOrder | CancelOrder | ShipOrder


@dataclass(frozen=True, slots=True)
class OrderOpened:
    user_id: str
    kind: Kind
    country: str | None
    opened_at: datetime


@dataclass(frozen=True, slots=True)
class LineAdded(Line):
    pass


@dataclass(frozen=True, slots=True)
class LineRemoved:
    sku: str


@dataclass(frozen=True, slots=True)
class OrderPlaced(Sale):
    pass


@dataclass(frozen=True, slots=True)
class OrderConfirmed:
    pass


@dataclass(frozen=True, slots=True)
class OrderRejected:
    reason: str


@dataclass(frozen=True, slots=True)
class OrderCancelled:
    reason: str


@dataclass(frozen=True, slots=True)
class SaleWithdrawn(Sale):
    """Follows the rejection, and the cancellation of an order that was placed: it counts no more."""


@dataclass(frozen=True, slots=True)
class OrderShipped:
    pass


Event = (
    OrderOpened
    | LineAdded
    | LineRemoved
    | OrderPlaced
    | OrderConfirmed
    | OrderRejected
    | OrderCancelled
    | SaleWithdrawn
    | OrderShipped
)


@dataclass(frozen=True, slots=True)
class State:
    """`lines` by stock code and price, in the order of their adding; `pieces` is the sum of their quantities."""

    status: Status = "new"
    user_id: str = ""
    kind: Kind = "sale"
    country: str | None = None
    opened_at: datetime = NEVER
    lines: dict[str, Line] = field(default_factory=dict)
    pieces: int = 0


def decide(command: Command, state: State) -> list[Event]:
    match command, state.status:
        case OpenOrder(), _:
            return _open(command, state)
        case _, "new":
            raise Rejected("UnknownOrder", "the order is not opened")
        case AddLine(), "open":
            return [_line_added(command, state)]
        case RemoveLine(sku), "open":
            if all(line.sku != sku for line in state.lines.values()):
                raise Rejected("UnknownLine", "the order has no line of this stock code")
            return [LineRemoved(sku)]
        case PlaceOrder(), "open":
            if not state.lines:
                raise Rejected("EmptyOrder", "an order without lines cannot be placed")
            placed = OrderPlaced(*_sale(state))
            return [placed] if state.kind == "sale" else [placed, OrderConfirmed()]
        case PlaceOrder(), "placed" | "confirmed" | "shipped":
            return []
        case ConfirmOrder(), "placed":
            return [OrderConfirmed()]
        case ConfirmOrder(), "confirmed" | "shipped":
            return []
        case RejectOrder(reason), "placed":
            return [OrderRejected(text("the reason", reason, MAX_TEXT)), SaleWithdrawn(*_sale(state))]
        case RejectOrder(), "rejected":
            return []
        case CancelOrder(reason), "open" | "placed" | "confirmed":
            cancelled = OrderCancelled(text("the reason", reason, MAX_TEXT))
            return [cancelled] if state.status == "open" else [cancelled, SaleWithdrawn(*_sale(state))]
        case CancelOrder(), "cancelled":
            return []
        case ShipOrder(), "confirmed":
            if state.kind == "credit":
                raise Rejected("NothingToShip", "a credit takes no stock, so there is nothing to ship")
            return [OrderShipped()]
        case ShipOrder(), "shipped":
            return []
        case _:
            raise Rejected("WrongStatus", f"the order is {state.status}: too early or too late for this command")


def _open(command: OpenOrder, state: State) -> list[Event]:
    opened = OrderOpened(
        identity("user_id", command.user_id),
        command.kind,
        None if command.country is None else country(command.country),
        time("opened_at", command.opened_at),
    )
    if state.status == "new":
        return [opened]
    if opened != OrderOpened(state.user_id, state.kind, state.country, state.opened_at):
        raise Rejected("AlreadyOpened", "the order is opened with another user, kind, country or time")
    return []


def _line_added(command: AddLine, state: State) -> LineAdded:
    sku, description = identity("sku", command.sku), text("the description", command.description, MAX_TEXT, 0)
    pieces, unit_price = quantity(command.quantity, MAX_LINE_PIECES), price(command.unit_price)
    if state.pieces + pieces > MAX_PIECES:
        raise Rejected("TooManyPieces", f"the order would have more than {MAX_PIECES} pieces")
    if len(state.lines) >= MAX_LINES and _key(sku, unit_price) not in state.lines:
        raise Rejected("TooManyLines", f"the order would have more than {MAX_LINES} lines")
    return LineAdded(sku, description, pieces, unit_price)


def _key(sku: str, unit_price: Decimal) -> str:
    return f"{sku}@{unit_price:.4f}"


def _sale(state: State) -> tuple[str, Kind, str | None, datetime, tuple[Line, ...], Decimal]:
    """The fields of a `Sale`."""
    lines = tuple(state.lines.values())
    total = sum((line.quantity * line.unit_price for line in lines), Decimal(0))
    return state.user_id, state.kind, state.country, state.opened_at, lines, total


def evolve(state: State, event: Event) -> State:
    match event:
        case LineAdded(sku, description, pieces, unit_price):
            key = _key(sku, unit_price)
            line = state.lines.get(key, Line(sku, description, 0, unit_price))
            lines = {**state.lines, key: Line(sku, line.description, line.quantity + pieces, unit_price)}
            return replace(state, lines=lines, pieces=state.pieces + pieces)
        case LineRemoved(sku):
            lines = {key: line for key, line in state.lines.items() if line.sku != sku}
            return replace(state, lines=lines, pieces=sum(line.quantity for line in lines.values()))
        case OrderOpened():
            return State("open", event.user_id, event.kind, event.country, event.opened_at)
        case OrderPlaced():
            return replace(state, status="placed")
        case OrderConfirmed():
            return replace(state, status="confirmed")
        case OrderRejected():
            return replace(state, status="rejected")
        case OrderCancelled():
            return replace(state, status="cancelled")
        case SaleWithdrawn():
            return state
        case OrderShipped():
            return replace(state, status="shipped")
        case _:
            assert_never(event)


def may(principal: Principal | None, command: Command, state: State) -> bool:
    """Whether it is for whoever is behind a command to send it. Who is not known may: Kafka lets him write, or nobody
    need say who he is. What a process does for somebody who is not known was begun so."""
    match command:
        case PlaceOrder() | CancelOrder() if principal is not None and state.status != "new":
            who = principal.origin
            return who.is_process or who.name == state.user_id or "operator" in principal.roles
        case _:
            return True


order = Decider("order", State(), decide, evolve, may=may)
