"""What a customer's account allows."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from aggregates.shop.user import (
    ChangeEmail,
    DeactivateUser,
    EmailChanged,
    RegisterUser,
    State,
    UserDeactivated,
    UserRegistered,
    user,
)
from schemas.codec import Codec
from schemas.registry import Schemas
from tests.specification import accepted, answer, given

REGISTERED = (UserRegistered("France", "Ada"), EmailChanged("ada@example.org"))


def test_registers() -> None:
    """A customer is registered with a country, and name and email when they are known."""
    given(user).when(RegisterUser("France", "Ada", "ada@example.org")).then(*REGISTERED)
    given(user).when(RegisterUser("Unspecified")).then(UserRegistered("Unspecified", None))


def test_registers_again() -> None:
    """Registering again with the same data changes nothing; with other data it is rejected."""
    given(user, *REGISTERED).when(RegisterUser("France", "Ada", "ada@example.org")).then_nothing()
    given(user, *REGISTERED).when(RegisterUser("Spain", "Ada", "ada@example.org")).then_rejected("AlreadyRegistered")
    given(user, *REGISTERED).when(RegisterUser("France")).then_rejected("AlreadyRegistered")


@pytest.mark.parametrize(
    "command", [RegisterUser(""), RegisterUser("x" * 61), RegisterUser("x", ""), RegisterUser("x", "y" * 201)]
)
def test_bad_text(command: RegisterUser) -> None:
    """Country and name are not empty and not too long."""
    given(user).when(command).then_rejected("InvalidText")


@pytest.mark.parametrize("email", ["ada", "@example.org", "ada@", "a@b@c", "a da@example.org"])
def test_bad_email(email: str) -> None:
    """An email has one @ with something on both sides, and no space."""
    given(user).when(RegisterUser("France", None, email)).then_rejected("InvalidEmail")
    given(user, *REGISTERED).when(ChangeEmail(email)).then_rejected("InvalidEmail")


@pytest.mark.parametrize("email", ["", "x" * 254 + "@y"])
def test_bad_email_length(email: str) -> None:
    """An email is not empty and at most 254 characters."""
    given(user).when(RegisterUser("France", None, email)).then_rejected("InvalidText")
    given(user, *REGISTERED).when(ChangeEmail(email)).then_rejected("InvalidText")


def test_changes_email() -> None:
    """The email changes, and to the one it is already nothing happens."""
    given(user, *REGISTERED).when(ChangeEmail("a@b")).then(EmailChanged("a@b"))
    given(user, *REGISTERED, EmailChanged("a@b")).when(ChangeEmail("a@b")).then_nothing()


def test_email_is_compared_without_its_case() -> None:
    """An email is kept as it is compared, so one that differs in its case only is no other."""
    given(user, *REGISTERED).when(ChangeEmail("A@B")).then(EmailChanged("a@b"))
    given(user, *REGISTERED).when(ChangeEmail("Ada@Example.ORG")).then_nothing()
    given(user, *REGISTERED).when(RegisterUser("France", "Ada", "ADA@example.org")).then_nothing()


def test_deactivates() -> None:
    """A deactivated customer stays so and refuses everything else."""
    given(user, *REGISTERED).when(DeactivateUser()).then(UserDeactivated())
    given(user, *REGISTERED, UserDeactivated()).when(DeactivateUser()).then_nothing()
    given(user, *REGISTERED, UserDeactivated()).when(ChangeEmail("a@b")).then_rejected("Deactivated")
    given(user, *REGISTERED, UserDeactivated()).when(RegisterUser("France")).then_rejected("Deactivated")


def test_unknown_user() -> None:
    """A customer who was never registered can only be registered."""
    given(user).when(ChangeEmail("a@b")).then_rejected("UnknownUser")
    given(user).when(DeactivateUser()).then_rejected("UnknownUser")


texts = st.none() | st.sampled_from(["a@b", "c@d"]) | st.text(max_size=5)
commands = st.one_of(
    st.builds(RegisterUser, st.just("France") | st.text(max_size=3), texts, texts),
    st.builds(ChangeEmail, st.sampled_from(["a@b", "c@d"]) | st.text(max_size=5)),
    st.builds(DeactivateUser),
)
histories = st.lists(commands, max_size=8).map(lambda later: [RegisterUser("France"), *later])


@drawn(st.lists(commands, max_size=5) | histories)
def test_any_commands(sequence: list[object]) -> None:
    """Whatever comes, the answer is events or a rejection, and a repeat has no effect."""
    for command, _, state in accepted(user, sequence):
        assert not answer(user, command, state)


@drawn(histories)
def test_journal_and_snapshot_keep_all(sequence: list[object]) -> None:
    """Events come back from their bytes, and states from their JSON, exactly as they were."""
    codec = Codec(Schemas.load("shop", "user"), user.events)
    for _, events, state in accepted(user, sequence):
        assert events == [codec.decode_one(codec.encode(event)) for event in events]
        assert state == msgspec.json.decode(msgspec.json.encode(state), type=State)
