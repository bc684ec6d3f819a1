"""An email address, which one user at most has. The id is the blind one of the address, as `user` writes it: who it is
cannot be told of it, and nothing here is personal.

    free -- EmailClaimed --> held by a user -- EmailReleased --> free
                             held by a user -- ClaimRefused, of another user --> held by the same

Being one aggregate, an address hears of all users one after another, and the first one has it. Every answer goes back
to the user, who gives up again what is not wanted any more. Claims and releases carry the number of the user's asking,
so that an older release does not take back a newer claim. So in the end, however late and how often anything is heard,
an address is held by the user who has it, and free when nobody has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from aggregates.decider import Decider
from aggregates.process_manager import ForeignEvent, ProcessManager, Reaction, Send


@dataclass(frozen=True, slots=True)
class ClaimEmail:
    user_id: str
    request: int


@dataclass(frozen=True, slots=True)
class ReleaseEmail:
    """Takes back the user's claims up to this number."""

    user_id: str
    request: int


Command = ClaimEmail | ReleaseEmail


@dataclass(frozen=True, slots=True)
class EmailClaimed:
    user_id: str
    request: int


@dataclass(frozen=True, slots=True)
class ClaimRefused:
    user_id: str
    request: int


@dataclass(frozen=True, slots=True)
class EmailReleased:
    user_id: str


Event = EmailClaimed | ClaimRefused | EmailReleased


@dataclass(frozen=True, slots=True)
class State:
    """`request` is the newest number with which the holder has claimed the address."""

    holder: str | None = None
    request: int = 0


def decide(command: Command, state: State) -> list[Event]:
    """Never rejects a command: the users wait for the answer, and the events that follow tell them."""
    match command:
        case ClaimEmail(user_id, request) if state.holder is None:
            return [EmailClaimed(user_id, request)]
        case ClaimEmail(user_id, request) if user_id == state.holder:
            return [EmailClaimed(user_id, request)] if request > state.request else []
        case ClaimEmail(user_id, request):
            return [ClaimRefused(user_id, request)]
        case ReleaseEmail(user_id, request):
            return [EmailReleased(user_id)] if user_id == state.holder and request >= state.request else []
        case _:
            assert_never(command)


def evolve(state: State, event: Event) -> State:
    match event:
        case EmailClaimed(user_id, request):
            return State(user_id, request)
        case ClaimRefused():
            return state
        case EmailReleased():
            return State()
        case _:
            assert_never(event)


HEARS = {"user": ("EmailChanged", "EmailGivenUp")}


def hear(happened: ForeignEvent) -> list[Reaction[Command]]:
    email_id, request = happened.data["email_id"], happened.data["request"]
    match happened.type:
        case "EmailChanged":
            return [Reaction(email_id, ClaimEmail(happened.id, request))]
        case "EmailGivenUp":
            return [Reaction(email_id, ReleaseEmail(happened.id, request))]
        case _:
            return []


def sends(process: str, event: Event) -> list[Send]:
    match event:
        case EmailClaimed(user_id, request):
            return [Send("user", user_id, "ConfirmEmail", {"email": process, "request": request})]
        case ClaimRefused(user_id, request):
            return [Send("user", user_id, "RefuseEmail", {"email": process, "request": request})]
        case EmailReleased():
            return []
        case _:
            assert_never(event)


email = ProcessManager(Decider("email", State(), decide, evolve), HEARS, hear, sends, sends_to=("user",))
