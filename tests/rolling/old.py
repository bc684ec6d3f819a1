"""Parcels, the version that is replaced: `faust -A tests.rolling.old worker`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from aggregates.decider import Decider, Rejected
from streams.app import command_app

SCHEMAS = Path(__file__).parent / "old_schemas"


@dataclass(frozen=True)
class Weigh:
    grams: int


@dataclass(frozen=True)
class Seal: ...


Command = Weigh | Seal


@dataclass(frozen=True)
class Weighed:
    grams: int


@dataclass(frozen=True)
class Sealed: ...


Event = Weighed | Sealed


@dataclass(frozen=True)
class State:
    grams: int = 0
    sealed: bool = False


def decide(command: Command, state: State) -> list[Event]:
    match command:
        case Weigh(grams) if not state.sealed:
            return [Weighed(grams)]
        case Seal() if not state.sealed:
            return [Sealed()]
    raise Rejected("Sealed", "the parcel is sealed")


def evolve(state: State, event: Event) -> State:
    match event:
        case Weighed(grams):
            return replace(state, grams=state.grams + grams)
        case Sealed():
            return replace(state, sealed=True)


parcel = Decider("parcel", State(), decide, evolve)

app = command_app(__name__, "parcels", parcel, schema_root=SCHEMAS)
