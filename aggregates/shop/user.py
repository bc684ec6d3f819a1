"""A customer: registered once, until deactivated for good; with an email that nobody else has.

No user can know of all others, so an address is asked for, and stays pending until `email`, which decides who has it,
confirms or refuses it. Until then the customer keeps the one before. Each asking has a number of its own: an answer to
an older one is told from that to the newest. What is confirmed and not wanted any more is given up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal, assert_never

from aggregates.decider import Decider, Rejected
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
    """Of `email`: the address was free when it was asked for with this number, and is the customer's."""

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
    name: str | None


@dataclass(frozen=True, slots=True)
class EmailChanged:
    """Asked for; also follows the registration of a customer who has given an email. `address` is as addresses are
    compared, so that equal ones are equal, however they were typed. `request` counts the customer's askings from 1; it
    is 0 in what was written before there were answers."""

    address: str
    request: int


@dataclass(frozen=True, slots=True)
class EmailConfirmed:
    """The address is the customer's, and the one before no longer."""

    address: str
    request: int


@dataclass(frozen=True, slots=True)
class EmailRefused:
    """The address is somebody else's; the customer keeps the one before."""

    address: str
    request: int


@dataclass(frozen=True, slots=True)
class EmailGivenUp:
    """The customer has no use for the address, as far as it was asked for up to this number."""

    address: str
    request: int


@dataclass(frozen=True, slots=True)
class UserDeactivated:
    pass


Event = UserRegistered | EmailChanged | EmailConfirmed | EmailRefused | EmailGivenUp | UserDeactivated


@dataclass(frozen=True, slots=True)
class State:
    """`email` is confirmed; `pending` is asked for, with the number `requests`, the newest."""

    status: Literal["new", "active", "deactivated"] = "new"
    country: str = ""
    name: str | None = None
    email: str | None = None
    pending: str | None = None
    requests: int = 0

    @property
    def wanted(self) -> str | None:
        return self.email if self.pending is None else self.pending

    def awaits(self, email: str, request: int) -> bool:
        return (email, request) == (self.pending, self.requests)


def decide(command: Command, state: State) -> list[Event]:
    match command:
        case ConfirmEmail(email, request):
            return _confirm(email, request, state)
        case RefuseEmail(email, request):
            return [EmailRefused(email, request)] if state.awaits(email, request) else []
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
            return [] if address == state.wanted else [EmailChanged(address, state.requests + 1)]
        case DeactivateUser():
            return [UserDeactivated(), *_without(state.email, state.requests)]
        case _:
            assert_never(command)


def _confirm(email: str, request: int, state: State) -> list[Event]:
    if state.awaits(email, request):
        return [EmailConfirmed(email, request), *_without(state.email, request)]
    return _without(None if email == state.email else email, request)


def _without(email: str | None, request: int) -> list[Event]:
    return [] if email is None else [EmailGivenUp(email, request)]


def _register(command: RegisterUser, state: State) -> list[Event]:
    name = None if command.name is None else text("the name", command.name, MAX_TEXT)
    email = None if command.email is None else _address(command.email)
    registered = UserRegistered(country(command.country), name)
    if state.status == "new":
        return [registered] if email is None else [registered, EmailChanged(email, state.requests + 1)]
    if (registered, email) != (UserRegistered(state.country, state.name), state.wanted):
        raise Rejected("AlreadyRegistered", "the user is registered with other data; use ChangeEmail for the email")
    return []


def _address(value: str) -> str:
    """An address as addresses are compared, which is also the id of its `email`: without the spaces around it, in lower
    case. A mail server may tell `Ada@` from `ada@`, but hardly one does, and people do not."""
    address = text("the email", value.strip(" ").lower(), MAX_EMAIL)
    if EMAIL.fullmatch(address) is None:
        raise Rejected("InvalidEmail", "the email is not of the form name@domain")
    return address


def evolve(state: State, event: Event) -> State:
    match event:
        case UserRegistered():
            return State("active", event.country, event.name)
        case EmailChanged(address, request):  # back to the one that the customer has: nothing is pending any more
            return replace(state, pending=None if address == state.email else address, requests=request)
        case EmailConfirmed(address):
            return replace(state, email=address, pending=None)
        case EmailRefused():
            return replace(state, pending=None)
        case EmailGivenUp(address):
            return replace(state, email=None) if address == state.email else state
        case UserDeactivated():
            return replace(state, status="deactivated", pending=None)
        case _:
            assert_never(event)


user = Decider("user", State(), decide, evolve, state_version=3, internal=("ConfirmEmail", "RefuseEmail"))
