"""A small domain made to be checked: accounts that take, give, reject, keep silent, and break."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from aggregates.decider import Decider, Rejected
from aggregates.principal import Principal
from projections.projection import Projection, PublishedEvent, Row
from projections.stores.declaration import Indexes, ReadModelRows, Table
from schemas.codec import Codec
from schemas.registry import Schema

TYPE = "account"
GUEST = Principal("oidc", "guest")


@dataclass(frozen=True)
class Add:
    amount: int


@dataclass(frozen=True)
class Take:
    amount: int


@dataclass(frozen=True)
class Split:
    """Add `amount` one by one: many events of one command."""

    amount: int


@dataclass(frozen=True)
class Touch:
    """Accepted, and nothing follows."""


@dataclass(frozen=True)
class Boom:
    """The domain has a bug."""


@dataclass(frozen=True)
class Added:
    amount: int


@dataclass(frozen=True)
class Taken:
    amount: int


Command = Add | Take | Split | Touch | Boom
Event = Added | Taken


@dataclass(frozen=True)
class State:
    balance: int = 0
    changes: int = 0


def decide(command: Command, state: State) -> list[Event]:
    match command:
        case Add(amount):
            return [Added(amount)]
        case Take(amount) if amount > state.balance:
            raise Rejected("TooLittle", f"{state.balance} is less than {amount} after {state.changes} changes")
        case Take(amount):
            return [Taken(amount)]
        case Split(amount):
            return [Added(1)] * amount
        case Touch():
            return []
        case Boom():
            raise ZeroDivisionError(f"a bug, after {state.changes} changes")


def evolve(state: State, event: Event) -> State:
    change = event.amount if isinstance(event, Added) else -event.amount
    return replace(state, balance=state.balance + change, changes=state.changes + 1)


def may(principal: Principal | None, command: Command, state: State) -> bool:
    """A guest takes from an account that has changed an even number of times alone."""
    return principal != GUEST or not isinstance(command, Take) or state.changes % 2 == 0


account: Decider[Command, Event, State] = Decider(TYPE, State(), decide, evolve, may=may)


def _schema(name: str) -> Schema:
    return Schema.parse(json.dumps({"type": "record", "name": name, "fields": [{"name": "amount", "type": "long"}]}), 1)


EVENTS = Codec([_schema("Added"), _schema("Taken")], account.events)
COMMANDS = Codec([], {})


def _balance(row: Row | None, key: str, event: PublishedEvent) -> Row:
    state = evolve(State(row["balance"], row["changes"]) if row else State(), event.event)
    return {"id": key, "balance": state.balance, "changes": state.changes}


def _parity(row: Row) -> str | None:
    return None if row["balance"] == 0 else "odd" if row["balance"] % 2 else "even"


def _turnover(row: Row | None, key: str, event: PublishedEvent) -> Row:
    return {"sum": (row["sum"] if row else 0) + event.event.amount, "events": (row["events"] if row else 0) + 1}


def _kinds(event: PublishedEvent) -> tuple[str, ...]:
    return ("all", event.type)


def _takings(event: PublishedEvent) -> tuple[str, ...]:
    """Most events do not concern it."""
    return (event.aggregate_id,) if isinstance(event.event, Taken) else ()


def _overview(row: Row | None, key: str, event: PublishedEvent) -> Row | None:
    """A row for as long as there is something in the account; it was not made for one event."""
    if event.event == Taken(2):
        raise ArithmeticError(f"{event.event} was not foreseen")
    row = _balance(row, key, event)
    return row if row["balance"] else None


def _fragile(row: Row | None, key: str, event: PublishedEvent) -> Row | None:
    """Likewise, and for many more."""
    if event.event.amount == 2:
        raise ArithmeticError(f"{event.event} was not foreseen")
    return _overview(row, key, event)


def _odd(row: Row | None, key: str, event: PublishedEvent) -> Row:
    """Whose fields have the names of the engine's words, and whose values are nested."""
    times = row["sequence"] + 1 if row else 1
    last = row["position"]["last"][-2:] if row else []
    amount = event.event.amount
    return {"gone": amount != 5, "position": {"last": [*last, [amount]], "": None}, "sequence": times, "revision": -1.5}


@dataclass(frozen=True)
class Typed:
    """A row that JSON cannot hold as it is."""

    total: Decimal
    since: datetime
    kinds: tuple[str, ...] = ()


def _typed(row: Typed | None, key: str, event: PublishedEvent) -> Typed:
    """Of decimals and times, as it was returned, whether it was kept in between or not."""
    if event.event.amount == 4:
        raise LookupError(f"{event.event} of {row}")
    before = row or Typed(Decimal("0.00"), datetime(2026, 1, 1, tzinfo=UTC))
    amount = Decimal(event.event.amount) / 4
    return Typed(before.total + amount, before.since + timedelta(hours=1), (*before.kinds[-2:], event.type))


def _sloppy(row: Row | None, key: str, event: PublishedEvent) -> Row:
    """Whose rows are no JSON now and then."""
    amount = event.event.amount
    return {"amount": Decimal(amount) if amount == 3 else amount, "before": row["amount"] if row else None}


KEPT = (
    Table(Projection("balances", 1, TYPE, _balance), Indexes({"parity": _parity}, changes=True)),
    Table(Projection("turnover", 1, TYPE, _turnover, _kinds, local=True)),
    Table(Projection("takings", 1, TYPE, _turnover, _takings, local=True)),
    Table(Projection("shared-takings", 1, TYPE, _turnover, _takings, local=True), ReadModelRows()),
    Table(Projection("fragile", 1, TYPE, _fragile)),
    Table(Projection("overview", 1, TYPE, _overview), ReadModelRows()),
    Table(Projection("odd", 1, TYPE, _odd), Indexes({"even": lambda row: str(row["sequence"] % 2)}, changes=True)),
    Table(Projection("typed", 1, TYPE, _typed, row=Typed), ReadModelRows()),
    Table(Projection("sloppy", 1, TYPE, _sloppy)),
)
