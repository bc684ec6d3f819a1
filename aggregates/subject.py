"""A person, or whoever else data is about, by the id of the subject: forgotten by order, told as an event.

What makes a person unreadable is the fence in the store of keys. This is its log: that an erasure was ordered, and then
that the fence stands, which process managers hear, of whatever context, who keep something of the person elsewhere. The
engine puts the fence there between the two events, as often as it likes: each erasure has a number, and has one effect.
So whoever has ordered one may end at any moment: it is done all the same, and told.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import assert_never

from aggregates.decider import Decider, Rejected
from aggregates.process_manager import ForeignEvent, ProcessManager, Reaction, Send


@dataclass(frozen=True, slots=True)
class ForgetSubject:
    """`erasure` counts those of this subject, from 1 on."""

    erasure: int


@dataclass(frozen=True, slots=True)
class ConfirmForgotten:
    """The fence of this erasure stands. Sent by the engine, never by clients."""

    erasure: int


@dataclass(frozen=True, slots=True)
class AllowSubject:
    """The subject may have another key, after this erasure."""

    erasure: int


Command = ForgetSubject | ConfirmForgotten | AllowSubject


@dataclass(frozen=True, slots=True)
class ErasureOrdered:
    erasure: int


@dataclass(frozen=True, slots=True)
class SubjectForgotten:
    """What is heard of it: nobody can bring back what was sealed until then."""

    erasure: int


@dataclass(frozen=True, slots=True)
class SubjectAllowed:
    erasure: int


Event = ErasureOrdered | SubjectForgotten | SubjectAllowed


@dataclass(frozen=True, slots=True)
class State:
    """The last erasure that was ordered, that was confirmed, and after which another key is allowed; 0: none."""

    ordered: int = 0
    forgotten: int = 0
    allowed: int = 0


def decide(command: Command, state: State) -> list[Event]:
    if command.erasure < 1:
        raise Rejected("InvalidErasure", "`erasure` counts the erasures of a subject, from 1 on")
    match command:
        case ForgetSubject(erasure):
            return [ErasureOrdered(erasure)] if erasure > state.ordered else []
        case ConfirmForgotten(erasure):
            return [SubjectForgotten(erasure)] if state.forgotten < erasure <= state.ordered else []
        case AllowSubject(erasure):
            return [SubjectAllowed(erasure)] if erasure > state.allowed else []
        case _:
            assert_never(command)


def evolve(state: State, event: Event) -> State:
    match event:
        case ErasureOrdered(erasure):
            return replace(state, ordered=erasure)
        case SubjectForgotten(erasure):
            return replace(state, forgotten=erasure)
        case SubjectAllowed(erasure):
            return replace(state, allowed=erasure)
        case _:
            assert_never(event)


def sends(process: str, event: Event) -> list[Send]:
    match event:
        case ErasureOrdered(erasure):
            return [Send("subject", process, "ConfirmForgotten", {"erasure": erasure})]
        case _:
            return []


def hear(happened: ForeignEvent) -> list[Reaction[Command]]:
    return []


subject = ProcessManager(
    Decider("subject", State(), decide, evolve),
    hears={},
    hear=hear,
    sends=sends,
    sends_to=("subject",),
)
