"""A small domain to be tested: an order is paid, its parcel is sent once, and a day later the customer is asked whether
he is content. Each planted bug is a variant of its process manager."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import ClassVar, assert_never

from aggregates.decider import Decider, Rejected
from aggregates.process_manager import ForeignEvent, ProcessManager, Reaction, Send

# -- an order, which is paid or cancelled ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PayOrder:
    pass


@dataclass(frozen=True, slots=True)
class CancelOrder:
    pass


@dataclass(frozen=True, slots=True)
class OrderPaid:
    pass


@dataclass(frozen=True, slots=True)
class OrderCancelled:
    pass


@dataclass(frozen=True, slots=True)
class OrderState:
    status: str = "open"


def decide_order(command: PayOrder | CancelOrder, state: OrderState) -> list[OrderPaid | OrderCancelled]:
    match command, state.status:
        case PayOrder(), "open":
            return [OrderPaid()]
        case CancelOrder(), "open" | "paid":
            return [OrderCancelled()]
        case (PayOrder(), "paid") | (CancelOrder(), "cancelled"):
            return []
        case _:
            raise Rejected("WrongStatus", f"the order is {state.status}")


def evolve_order(state: OrderState, event: OrderPaid | OrderCancelled) -> OrderState:
    return OrderState("paid" if isinstance(event, OrderPaid) else "cancelled")


order = Decider("order", OrderState(), decide_order, evolve_order)

# -- a parcel, and a question to the customer --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SendParcel:
    order_id: str


@dataclass(frozen=True, slots=True)
class ParcelSent:
    order_id: str


def decide_parcel(command: SendParcel, state: int) -> list[ParcelSent]:
    return [] if state else [ParcelSent(command.order_id)]


def evolve_parcel(state: int, event: ParcelSent) -> int:
    return state + 1


parcel = Decider("parcel", 0, decide_parcel, evolve_parcel)


@dataclass(frozen=True, slots=True)
class Ask:
    pass


@dataclass(frozen=True, slots=True)
class Asked:
    pass


def decide_question(command: Ask, state: int) -> list[Asked]:
    return [] if state else [Asked()]


def evolve_question(state: int, event: Asked) -> int:
    return state + 1


question = Decider("question", 0, decide_question, evolve_question)

# -- the process manager -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NotePaid:
    at: datetime | None = None

    time_field: ClassVar[str] = "at"


@dataclass(frozen=True, slots=True)
class NoteSent:
    pass


@dataclass(frozen=True, slots=True)
class NoteCancelled:
    pass


@dataclass(frozen=True, slots=True)
class PassDay:
    """A day has passed since the order was paid."""


Command = NotePaid | NoteSent | NoteCancelled | PassDay


@dataclass(frozen=True, slots=True)
class ShippingBegun:
    """`attempt` is part of the parcel's id: another attempt is another parcel."""

    attempt: int
    ask_at: datetime


@dataclass(frozen=True, slots=True)
class SendingNoted:
    pass


@dataclass(frozen=True, slots=True)
class DayPassed:
    pass


@dataclass(frozen=True, slots=True)
class ShippingStopped:
    pass


Event = ShippingBegun | SendingNoted | DayPassed | ShippingStopped


@dataclass(frozen=True, slots=True)
class State:
    status: str = "new"
    attempts: int = 0
    notes: list[str] = field(default_factory=list)


def decide(command: Command, state: State) -> list[Event]:
    match command, state.status:
        case NotePaid(), "new":
            return [_begun(command, state)]
        case NoteSent(), "begun":
            return [SendingNoted()]
        case PassDay(), "begun" | "sent":
            return [DayPassed()]
        case NoteCancelled(), "new" | "begun" | "sent":
            return [ShippingStopped()]
        case _:
            return []


def _begun(command: NotePaid, state: State) -> ShippingBegun:
    assert command.at is not None
    return ShippingBegun(state.attempts + 1, command.at + timedelta(days=1))


STATUS = {ShippingBegun: "begun", SendingNoted: "sent", DayPassed: "done", ShippingStopped: "stopped"}


def evolve(state: State, event: Event) -> State:
    attempts = event.attempt if isinstance(event, ShippingBegun) else state.attempts
    return State(STATUS[type(event)], attempts, [*state.notes, type(event).__name__])


def hear(event: ForeignEvent) -> list[Reaction[Command]]:
    match event.type:
        case "OrderPaid":
            return [Reaction(event.id, NotePaid())]
        case "OrderCancelled":
            return [Reaction(event.id, NoteCancelled())]
        case _:
            return [Reaction(event.data["order_id"], NoteSent())]


def sends(process: str, event: Event) -> list[Send]:
    match event:
        case ShippingBegun(attempt, ask_at):
            due = ask_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
            told = {"to": "shipping", "id": process, "command": "PassDay", "data": "{}", "command_id": None}
            timer = Send("timer", f"shipping:{process}", "ScheduleTimer", {"due": due, **told})
            return [Send("parcel", f"{process}-{attempt}", "SendParcel", {"order_id": process}), timer]
        case DayPassed():
            return [Send("question", process, "Ask")]
        case ShippingStopped():
            return [Send("timer", f"shipping:{process}", "CancelTimer")]
        case SendingNoted():
            return []
        case _:
            assert_never(event)


Shipping = ProcessManager[Command, Event, State]
shipping: Shipping = ProcessManager(
    Decider("shipping", State(), decide, evolve),
    hears={"order": ("OrderPaid", "OrderCancelled"), "parcel": ("ParcelSent",)},
    hear=hear,
    sends=sends,
    sends_to=("parcel", "timer", "question"),
)

# -- planted bugs ------------------------------------------------------------------------------------------------------


def deciding(change: Callable[[Command, State], list[Event]]) -> Shipping:
    """Shipping with other decisions."""

    def decided(command: Command, state: State) -> list[Event]:
        return change(command, state)

    return replace(shipping, decider=replace(shipping.decider, decide=decided))


def _ships_twice(command: Command, state: State) -> list[Event]:
    """Trusts that it hears of each payment once."""
    again = isinstance(command, NotePaid) and state.status == "sent"
    return [_begun(command, state)] if again and isinstance(command, NotePaid) else decide(command, state)


def _forgets_the_day(command: Command, state: State) -> list[Event]:
    """Trusts that a parcel is sent within the day, and lets the timer pass where it is not."""
    return [] if isinstance(command, PassDay) and state.status == "begun" else decide(command, state)


def _notes_in_place(state: State, event: Event) -> State:
    """Changes the list of the state that it is given."""
    state.notes.append(type(event).__name__)
    return replace(evolve(state, event), notes=state.notes)


def _raises(command: Command, state: State) -> list[Event]:
    """Has no answer to a cancellation that comes after all is done."""
    if isinstance(command, NoteCancelled) and state.status == "done":
        raise KeyError(state.status)
    return decide(command, state)


ships_twice = deciding(_ships_twice)
forgets_the_day = deciding(_forgets_the_day)
raises = deciding(_raises)
changes_in_place = replace(shipping, decider=Decider("shipping", State(), shipping.decider.decide, _notes_in_place))
