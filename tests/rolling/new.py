"""Parcels, the version that replaces it: `faust -A tests.rolling.new worker`. Its events are JSON.

A weight says by which scales, which old code need not know. A seal has a number, without which a parcel is not sealed
any more: old code must not read that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from aggregates.decider import Decider, Rejected
from schemas.formats import JSON
from streams.app import command_app

SCHEMAS = Path(__file__).parent / "new_schemas"


@dataclass(frozen=True)
class Weigh:
    grams: int
    scales: str = "unknown"


@dataclass(frozen=True)
class Seal:
    number: str = "unnumbered"


Command = Weigh | Seal


@dataclass(frozen=True)
class Weighed:
    grams: int
    scales: str


@dataclass(frozen=True)
class SealedWith:
    number: str


Event = Weighed | SealedWith


@dataclass(frozen=True)
class State:
    grams: int = 0
    scales: tuple[str, ...] = ()
    seal: str | None = None


def decide(command: Command, state: State) -> list[Event]:
    match command:
        case Weigh(grams, scales) if state.seal is None:
            return [Weighed(grams, scales)]
        case Seal(number) if state.seal is None:
            return [SealedWith(number)]
    raise Rejected("Sealed", "the parcel is sealed")


def evolve(state: State, event: Event) -> State:
    match event:
        case Weighed(grams, scales):
            return replace(state, grams=state.grams + grams, scales=(*state.scales, scales))
        case SealedWith(number):
            return replace(state, seal=number)


parcel = Decider("parcel", State(), decide, evolve, state_version=2)

app = command_app(__name__, "parcels", parcel, schema_root=SCHEMAS, format=JSON)
