"""Who has an email address: one user at most, the first who asks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from aggregates.process_manager import ForeignEvent, Send
from aggregates.shop.email import (
    ClaimEmail,
    ClaimRefused,
    EmailClaimed,
    EmailReleased,
    ReleaseEmail,
    State,
    email,
)
from schemas.codec import Codec
from schemas.registry import Schemas
from schemas.release import samples
from streams.processes.event_meaning import EventMeaning
from tests.compatibility.test_samples import FOLDER
from tests.specification import accepted, answer, given

DECIDER = email.decider


def asked(user_id: str, request: int, address: str = "a@b") -> ForeignEvent:
    return ForeignEvent("user", user_id, "EmailChanged", {"email_id": address, "request": request})


def given_up(user_id: str, request: int, address: str = "a@b") -> ForeignEvent:
    return ForeignEvent("user", user_id, "EmailGivenUp", {"email_id": address, "request": request})


def confirm(user_id: str, request: int, address: str = "a@b") -> Send:
    return Send("user", user_id, "ConfirmEmail", {"email": address, "request": request})


def refuse(user_id: str, request: int, address: str = "a@b") -> Send:
    return Send("user", user_id, "RefuseEmail", {"email": address, "request": request})


def test_the_first_one_has_it() -> None:
    """The first user who asks is confirmed, everybody else refused, each time."""
    given(email, asked("1", 1)).then_sends(confirm("1", 1))
    given(email, asked("1", 1), asked("2", 1)).then_sends(refuse("2", 1))
    given(email, asked("1", 1), asked("2", 1), asked("2", 2)).then_sends(refuse("2", 2))


def test_each_address_is_apart() -> None:
    """Who has one address may ask for another, which is not free only if somebody has that."""
    given(email, asked("1", 1), asked("1", 2, "c@d")).then_sends(confirm("1", 2, "c@d"))
    given(email, asked("1", 1), asked("2", 1, "c@d"), asked("1", 2, "c@d")).then_sends(refuse("1", 2, "c@d"))


def test_given_up() -> None:
    """An address that was given up is free for the next one; by somebody who does not hold it nothing happens."""
    given(email, asked("1", 1), given_up("1", 1)).then_sends()
    given(email, asked("1", 1), given_up("1", 1), asked("2", 4)).then_sends(confirm("2", 4))
    given(email, asked("1", 1), given_up("2", 7), asked("2", 8)).then_sends(refuse("2", 8))


def test_asked_for_again() -> None:
    """Who holds an address and asks for it with a newer number is told that it is theirs; heard twice it is once."""
    given(email, asked("1", 1), asked("1", 3)).then_sends(confirm("1", 3))
    given(email, asked("1", 1), asked("1", 1)).then_sends()
    given(email, asked("1", 3), asked("1", 1)).then_sends()


def test_given_up_before() -> None:
    """Giving up what was asked for before does not take back what was asked for since."""
    given(email, asked("1", 1), asked("1", 3), given_up("1", 1), asked("2", 1)).then_sends(refuse("2", 1))
    given(email, asked("1", 1), asked("1", 3), given_up("1", 4), asked("2", 1)).then_sends(confirm("2", 1))


def test_older_events() -> None:
    """Users of the time before have asked too, without a number: they get their addresses in the order of the log."""
    given(email, asked("1", 0)).then_sends(confirm("1", 0))
    given(email, asked("1", 0), asked("2", 0)).then_sends(refuse("2", 0))
    given(email, asked("1", 0), given_up("1", 0), asked("2", 0)).then_sends(confirm("2", 0))


@pytest.mark.parametrize(("event", "version"), [("UserRegistered", 1), ("EmailChanged", 1), ("EmailChanged", 2)])
def test_bytes_of_older_events(event: str, version: int) -> None:
    """An email that an older version has written is claimed, in whichever event it stands."""
    stored = samples.read_sample(FOLDER / "shop" / "user" / f"{event}.v{version}.json")
    fields: Any = stored.written
    address = fields.get("email", fields.get("address")).lower()
    headers = [("ce_type", event.encode()), ("ce_id", b"user-1:1:0"), ("ce_position", b"user-1:1:0")]
    value = stored.encoded["avro"]
    record = SimpleNamespace(topic="user-events", partition=1, key=b"17", value=value, headers=headers)
    [(_, (key, value, its))] = EventMeaning(email, "user", Schemas.load("shop", "user")).hear(record, 8, "/users")
    assert key
    assert value
    assert (address, {"user_id": "17", "request": 0}) == (key.decode(), msgspec.json.decode(value))
    assert b"ClaimEmail" == dict(its)["ce_type"]


def test_what_it_says() -> None:
    """Its own events say who holds the address, who was refused, and who holds it no longer."""
    held = EmailClaimed("1", 1)
    given(DECIDER).when(ClaimEmail("1", 1)).then(held)
    given(DECIDER, held).when(ClaimEmail("2", 1)).then(ClaimRefused("2", 1))
    given(DECIDER, held).when(ReleaseEmail("1", 1)).then(EmailReleased("1"))
    given(DECIDER, held, EmailReleased("1")).when(ReleaseEmail("1", 1)).then_nothing()


def test_not_for_clients() -> None:
    """Nobody claims or releases an address but by what happens to a user."""
    assert () == email.accepts


users = st.sampled_from(["1", "2"])
commands = st.builds(ClaimEmail, users, st.integers(0, 4)) | st.builds(ReleaseEmail, users, st.integers(0, 4))


@drawn(st.lists(commands, max_size=12))
def test_any_commands(sequence: list[object]) -> None:
    """A repeat changes nothing: at most somebody is refused once more. Events and states come back from their bytes."""
    codec = Codec(Schemas.load("shop", "email"), DECIDER.events)
    for command, events, state in accepted(DECIDER, sequence):
        again = answer(DECIDER, command, state) or []
        assert all(isinstance(event, ClaimRefused) for event in again)
        assert state == DECIDER.fold(again, state)
        assert events == [codec.decode_one(codec.encode(event)) for event in events]
        assert state == msgspec.json.decode(msgspec.json.encode(state), type=State)
