"""A customer: registered once, with an email that may change, until deactivated for good."""

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
class DeactivateUser:
    pass


Command = RegisterUser | ChangeEmail | DeactivateUser


@dataclass(frozen=True, slots=True)
class UserRegistered:
    country: str
    name: str | None


@dataclass(frozen=True, slots=True)
class EmailChanged:
    """Also follows the registration of a customer who has given an email. `address` is in lower case, so that equal
    ones are equal, however they were typed."""

    address: str


@dataclass(frozen=True, slots=True)
class UserDeactivated:
    pass


Event = UserRegistered | EmailChanged | UserDeactivated


@dataclass(frozen=True, slots=True)
class State:
    status: Literal["new", "active", "deactivated"] = "new"
    country: str = ""
    name: str | None = None
    email: str | None = None


def decide(command: Command, state: State) -> list[Event]:
    match command:
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
            return [] if address == state.email else [EmailChanged(address)]
        case DeactivateUser():
            return [UserDeactivated()]
        case _:
            assert_never(command)


def _register(command: RegisterUser, state: State) -> list[Event]:
    name = None if command.name is None else text("the name", command.name, MAX_TEXT)
    email = None if command.email is None else _address(command.email)
    registered = UserRegistered(country(command.country), name)
    if state.status == "new":
        return [registered] if email is None else [registered, EmailChanged(email)]
    if (registered, email) != (UserRegistered(state.country, state.name), state.email):
        raise Rejected("AlreadyRegistered", "the user is registered with other data; use ChangeEmail for the email")
    return []


def _address(value: str) -> str:
    if EMAIL.fullmatch(text("the email", value, MAX_EMAIL)) is None:
        raise Rejected("InvalidEmail", "the email is not of the form name@domain")
    return value.lower()


def evolve(state: State, event: Event) -> State:
    match event:
        case UserRegistered():
            return State("active", event.country, event.name)
        case EmailChanged(address):
            return replace(state, email=address)
        case UserDeactivated():
            return replace(state, status="deactivated")
        case _:
            assert_never(event)


user = Decider("user", State(), decide, evolve, state_version=2)
