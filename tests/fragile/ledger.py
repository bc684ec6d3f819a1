"""A ledger with a bug that can be mended: the domain that makes trouble, for tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from aggregates.decider import Decider, Rejected
from schemas.codec import Codec
from schemas.registry import Schemas

SCHEMAS = Path(__file__).parent / "schemas"


@dataclass(frozen=True)
class Post:
    amount: int


@dataclass(frozen=True)
class PostBadly:
    """Like `Post`, but the domain raises for as long as the bug is there."""

    amount: int


@dataclass(frozen=True)
class Refuse: ...


@dataclass(frozen=True)
class Nothing: ...


@dataclass(frozen=True)
class Burst:
    """`count` events of `size` characters each."""

    count: int
    size: int


Command = Post | PostBadly | Refuse | Nothing | Burst


@dataclass(frozen=True)
class Posted:
    amount: int


@dataclass(frozen=True)
class Noted:
    text: str


Event = Posted | Noted


@dataclass(frozen=True)
class State:
    posted: tuple[int, ...] = ()


class Bug(Exception):
    """What the domain raises."""


def ledger(mended: Callable[[], bool], evolving: Callable[[], object] = lambda: None) -> Decider[Command, Event, State]:
    """A ledger, whose bug is there until `mended()`; both functions are called by the domain, and may raise."""

    def decide(command: Command, state: State) -> list[Event]:
        match command:
            case PostBadly(amount) if not mended():
                raise Bug(f"cannot post {amount}")
            case Post(amount) | PostBadly(amount):
                return [Posted(amount)]
            case Burst(count, size):
                return [Noted("x" * size) for _ in range(count)]
            case Refuse():
                raise Rejected("Refused", "no")
            case Nothing():
                return []

    def evolve(state: State, event: Event) -> State:
        evolving()
        return replace(state, posted=(*state.posted, event.amount)) if isinstance(event, Posted) else state

    return Decider("ledger", State(), decide, evolve)


def codecs(decider: Decider[Command, Event, State]) -> tuple[Codec, Codec]:
    """Of its events and of its commands."""
    schemas = list(Schemas.load(SCHEMAS, decider.type))
    return (
        Codec([s for s in schemas if s.name in decider.events], decider.events),
        Codec([s for s in schemas if s.name in decider.commands], decider.commands),
    )
