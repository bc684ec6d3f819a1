"""A customer: registered once, until deactivated for good; with an email that nobody else has.

No user can know of all others, so an address is asked for, and stays pending until `email`, which decides who has it,
confirms or refuses it. Until then the customer keeps the one before. Each asking has a number of its own: an answer to
an older one is told from that to the newest. What is confirmed and not wanted any more is given up.

Name and address are personal, and may be forgotten. So an address is never an id: that of its `email` is a blind one,
by which addresses are compared.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal, assert_never

from aggregates.decider import Decider, Rejected
from aggregates.personal import Known, Personal, blind
from aggregates.shop.values import MAX_TEXT, country, text

MAX_EMAIL = 254
EMAIL = re.compile(r"[^@\s]+@[^@\s]+")


@dataclass(frozen=True, slots=True)
class RegisterUser:
    country: str
    name: str | None = None
    email: str | None = None


@dataclass(frozen=True, slots=True)
class ChangeEmail:
    email: str


@dataclass(frozen=True, slots=True)
class ConfirmEmail:
    """Of `email`: the address with its id was free when it was asked for with this number, and is the customer's."""

    email: str
    request: int


@dataclass(frozen=True, slots=True)
class RefuseEmail:
    """Of `email`: somebody else has the address."""

    email: str
    request: int


@dataclass(frozen=True, slots=True)
class DeactivateUser:
    pass


Command = RegisterUser | ChangeEmail | ConfirmEmail | RefuseEmail | DeactivateUser


@dataclass(frozen=True, slots=True)
class UserRegistered:
    country: str
    name: Personal[str] | None


@dataclass(frozen=True, slots=True)
class EmailChanged:
    """Asked for; also follows the registration of a customer who has given an email. `email_id` is the id of its
    `email`: the blind one, in what was written before there were any the address itself. `request` counts the
    customer's askings from 1; it is 0 in what was written before there were answers."""

    address: Personal[str]
    email_id: str
    request: int


@dataclass(frozen=True, slots=True)
class EmailConfirmed:
    """The address is the customer's, and the one before no longer."""

    email_id: str
    request: int


@dataclass(frozen=True, slots=True)
class EmailRefused:
    """The address is somebody else's; the customer keeps the one before."""

    email_id: str
    request: int


@dataclass(frozen=True, slots=True)
class EmailGivenUp:
    """The customer has no use for the address, as far as it was asked for up to this number."""

    email_id: str
    request: int


@dataclass(frozen=True, slots=True)
class UserDeactivated:
    pass


Event = UserRegistered | EmailChanged | EmailConfirmed | EmailRefused | EmailGivenUp | UserDeactivated


@dataclass(frozen=True, slots=True)
class Address:
    """An address, and the id of its `email`."""

    text: Personal[str]
    id: str


@dataclass(frozen=True, slots=True)
class State:
    """`email` is confirmed; `pending` is asked for, with the number `requests`, the newest."""

    status: Literal["new", "active", "deactivated"] = "new"
    country: str = ""
    name: Personal[str] | None = None
    email: Address | None = None
    pending: Address | None = None
    requests: int = 0

    @property
    def wanted(self) -> Address | None:
        return self.email if self.pending is None else self.pending

    def awaits(self, email_id: str, request: int) -> bool:
        return (email_id, request) == (_id(self.pending), self.requests)


def decide(command: Command, state: State) -> list[Event]:
    match command:
        case ConfirmEmail(email_id, request):
            return _confirm(email_id, request, state)
        case RefuseEmail(email_id, request):
            return [EmailRefused(email_id, request)] if state.awaits(email_id, request) else []
        case DeactivateUser() if state.status == "deactivated":
            return []
        case _ if state.status == "deactivated":
            raise Rejected("Deactivated", "the user is deactivated")
        case RegisterUser():
            return _register(command, state)
        case _ if state.status == "new":
            raise Rejected("UnknownUser", "the user is not registered")
        case ChangeEmail(email):
            address = _address(email)
            return [] if _is_same(address, state.wanted) else [_asked(address, state)]
        case DeactivateUser():
            return [UserDeactivated(), *_without(_id(state.email), state.requests)]
        case _:
            assert_never(command)


def _confirm(email_id: str, request: int, state: State) -> list[Event]:
    if state.awaits(email_id, request):
        return [EmailConfirmed(email_id, request), *_without(_id(state.email), request)]
    return _without(None if email_id == _id(state.email) else email_id, request)


def _without(email_id: str | None, request: int) -> list[Event]:
    return [] if email_id is None else [EmailGivenUp(email_id, request)]


def _register(command: RegisterUser, state: State) -> list[Event]:
    name = None if command.name is None else Known(text("the name", command.name, MAX_TEXT))
    address = None if command.email is None else _address(command.email)
    registered = UserRegistered(country(command.country), name)
    if state.status == "new":
        return [registered] if address is None else [registered, _asked(address, state)]
    is_same = state.wanted is None if address is None else _is_same(address, state.wanted)
    if registered != UserRegistered(state.country, state.name) or not is_same:
        raise Rejected("AlreadyRegistered", "the user is registered with other data; use ChangeEmail for the email")
    return []


def _address(value: str) -> Address:
    """An address as addresses are compared: without the spaces around it, in lower case. A mail server may tell `Ada@`
    from `ada@`, but hardly one does, and people do not."""
    address = text("the email", value.strip(" ").lower(), MAX_EMAIL)
    if EMAIL.fullmatch(address) is None:
        raise Rejected("InvalidEmail", "the email is not of the form name@domain")
    return Address(Known(address), blind(address))


def _asked(address: Address, state: State) -> EmailChanged:
    return EmailChanged(address.text, address.id, state.requests + 1)


def _is_same(address: Address, other: Address | None) -> bool:
    """Whether a customer says again what is known of him. What was forgotten is like nothing: that it was this address
    is not to be found out by asking."""
    return other is not None and isinstance(other.text, Known) and other.id == address.id


def _id(address: Address | None) -> str | None:
    return None if address is None else address.id


def evolve(state: State, event: Event) -> State:
    match event:
        case UserRegistered():
            return State("active", event.country, event.name)
        case EmailChanged(address, id, request):  # back to the one that the customer has: nothing is pending any more
            return replace(state, pending=None if id == _id(state.email) else Address(address, id), requests=request)
        case EmailConfirmed():
            return replace(state, email=state.pending, pending=None)
        case EmailRefused():
            return replace(state, pending=None)
        case EmailGivenUp(id):
            return replace(state, email=None) if id == _id(state.email) else state
        case UserDeactivated():
            return replace(state, status="deactivated", pending=None)
        case _:
            assert_never(event)


user = Decider("user", State(), decide, evolve, state_version=4, internal=("ConfirmEmail", "RefuseEmail"))
