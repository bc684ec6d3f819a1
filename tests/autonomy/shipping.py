"""A service that joins later: it ships what is confirmed. `faust -A tests.autonomy.shipping worker`.

It is as one of another team would be: it knows the engine, and of the shop two names and one schema, of which it
has a copy. It imports no code of the shop, reads no table of it, and knows no address.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aggregates.decider import Decider
from aggregates.process_manager import ForeignEvent, ProcessManager, Reaction, Send
from streams.app import command_app

SCHEMAS = Path(__file__).parent / "shipping_schemas"


@dataclass(frozen=True)
class SendParcel:
    pass


@dataclass(frozen=True)
class ParcelSent:
    pass


@dataclass(frozen=True)
class State:
    sent: bool = False


def decide(command: SendParcel, state: State) -> list[ParcelSent]:
    return [] if state.sent else [ParcelSent()]


def evolve(state: State, event: ParcelSent) -> State:
    return State(sent=True)


def hear(happened: ForeignEvent) -> list[Reaction[SendParcel]]:
    return [Reaction(happened.id, SendParcel())]


def sends(process: str, event: ParcelSent) -> list[Send]:
    return [Send("order", process, "ShipOrder")]


shipping = ProcessManager(
    Decider("shipping", State(), decide, evolve), {"order": ("OrderConfirmed",)}, hear, sends, sends_to=("order",)
)

app = command_app(__name__, "shipping", shipping, schema_root=SCHEMAS)
