"""What a customer's account allows."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from aggregates.shop.user import (
    ChangeEmail,
    ConfirmEmail,
    DeactivateUser,
    EmailChanged,
    EmailConfirmed,
    EmailGivenUp,
    EmailRefused,
    RefuseEmail,
    RegisterUser,
    State,
    UserDeactivated,
    UserRegistered,
    user,
)
from schemas.codec import Codec
from schemas.registry import Schemas
from tests.specification import accepted, answer, given

REGISTERED = (UserRegistered("France", "Ada"), EmailChanged("ada@example.org", 1))
CONFIRMED = (*REGISTERED, EmailConfirmed("ada@example.org", 1))


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
    """Each other email is asked for with the next number; the one that is asked for already is not asked for again."""
    given(user, *REGISTERED).when(ChangeEmail("a@b")).then(EmailChanged("a@b", 2))
    given(user, *REGISTERED, EmailChanged("a@b", 2)).when(ChangeEmail("a@b")).then_nothing()
    given(user, *CONFIRMED).when(ChangeEmail("ada@example.org")).then_nothing()
    given(user, *CONFIRMED, EmailChanged("a@b", 2)).when(ChangeEmail("c@d")).then(EmailChanged("c@d", 3))


def test_email_is_compared_without_its_case() -> None:
    """An email is kept as it is compared, so one that differs in its case or the spaces around it only is no other."""
    given(user, *REGISTERED).when(ChangeEmail(" A@B ")).then(EmailChanged("a@b", 2))
    given(user, *REGISTERED).when(ChangeEmail("Ada@Example.ORG")).then_nothing()
    given(user, *REGISTERED).when(RegisterUser("France", "Ada", "ADA@example.org")).then_nothing()


def test_an_email_is_a_usable_id() -> None:
    """An email that grows too long in lower case, as some letters become two there, is rejected."""
    given(user, *REGISTERED).when(ChangeEmail("İ" * 127 + "@b")).then_rejected("InvalidText")


def test_confirmed() -> None:
    """The customer has the email that is confirmed, once, and gives up the one before."""
    given(user, *REGISTERED).when(ConfirmEmail("ada@example.org", 1)).then(EmailConfirmed("ada@example.org", 1))
    given(user, *CONFIRMED).when(ConfirmEmail("ada@example.org", 1)).then_nothing()
    given(user, *CONFIRMED, EmailChanged("a@b", 2)).when(ConfirmEmail("a@b", 2)).then(
        EmailConfirmed("a@b", 2), EmailGivenUp("ada@example.org", 2)
    )


def test_refused() -> None:
    """The customer keeps the email before, and may ask for the refused one again."""
    refused = (*CONFIRMED, EmailChanged("a@b", 2), EmailRefused("a@b", 2))
    given(user, *refused[:-1]).when(RefuseEmail("a@b", 2)).then(*refused[-1:])
    given(user, *refused).when(RefuseEmail("a@b", 2)).then_nothing()
    given(user, *refused).when(ChangeEmail("ada@example.org")).then_nothing()
    given(user, *refused).when(ChangeEmail("a@b")).then(EmailChanged("a@b", 3))


def test_an_older_answer() -> None:
    """An answer to an older asking counts for no newer one, even of the same email: what is granted is given back."""
    history = (*REGISTERED, EmailChanged("a@b", 2), EmailChanged("ada@example.org", 3))
    given(user, *history).when(ConfirmEmail("a@b", 2)).then(EmailGivenUp("a@b", 2))
    given(user, *history).when(ConfirmEmail("ada@example.org", 1)).then(EmailGivenUp("ada@example.org", 1))
    given(user, *history).when(RefuseEmail("ada@example.org", 1)).then_nothing()
    given(user, *history).when(ConfirmEmail("ada@example.org", 3)).then(EmailConfirmed("ada@example.org", 3))


def test_back_to_the_email_before() -> None:
    """A customer who asks for the email that is confirmed still has it, and whatever was asked for meanwhile is given
    back."""
    history = (*CONFIRMED, EmailChanged("a@b", 2), EmailChanged("ada@example.org", 3))
    given(user, *history[:-1]).when(ChangeEmail("ada@example.org")).then(*history[-1:])
    given(user, *history).when(ConfirmEmail("ada@example.org", 3)).then_nothing()
    given(user, *history).when(ConfirmEmail("a@b", 2)).then(EmailGivenUp("a@b", 2))
    given(user, *history).when(DeactivateUser()).then(UserDeactivated(), EmailGivenUp("ada@example.org", 3))


def test_email_of_older_events() -> None:
    """A customer of the time before emails were confirmed has none until the newest one is."""
    old = (UserRegistered("France", None), EmailChanged("a@b", 0), EmailChanged("c@d", 0))
    given(user, *old).when(ConfirmEmail("a@b", 0)).then(EmailGivenUp("a@b", 0))
    given(user, *old).when(ConfirmEmail("c@d", 0)).then(EmailConfirmed("c@d", 0))
    given(user, *old).when(ChangeEmail("c@d")).then_nothing()
    given(user, *old).when(ChangeEmail("a@b")).then(EmailChanged("a@b", 1))


def test_unwanted() -> None:
    """Who is deactivated, or was never registered, gives back every email."""
    given(user, *REGISTERED, UserDeactivated()).when(ConfirmEmail("a@b", 1)).then(EmailGivenUp("a@b", 1))
    given(user, *REGISTERED, UserDeactivated()).when(RefuseEmail("a@b", 1)).then_nothing()
    given(user).when(ConfirmEmail("a@b", 1)).then(EmailGivenUp("a@b", 1))


def test_not_for_clients() -> None:
    """Clients may not confirm or refuse an email themselves."""
    assert ("RegisterUser", "ChangeEmail", "DeactivateUser") == user.accepts


def test_deactivates() -> None:
    """A deactivated customer gives up the email, stays so and refuses everything else."""
    given(user, *REGISTERED).when(DeactivateUser()).then(UserDeactivated())
    given(user, *CONFIRMED).when(DeactivateUser()).then(UserDeactivated(), EmailGivenUp("ada@example.org", 1))
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
    st.builds(ConfirmEmail, st.sampled_from(["a@b", "c@d"]), st.integers(0, 4)),
    st.builds(RefuseEmail, st.sampled_from(["a@b", "c@d"]), st.integers(0, 4)),
)
histories = st.lists(commands, max_size=8).map(lambda later: [RegisterUser("France"), *later])


@drawn(st.lists(commands, max_size=5) | histories)
def test_any_commands(sequence: list[object]) -> None:
    """Whatever comes, the answer is events or a rejection, and a repeat has no effect; only what is granted and not
    wanted is given back each time."""
    for command, _, state in accepted(user, sequence):
        again = answer(user, command, state) or []
        assert all(isinstance(event, EmailGivenUp) and isinstance(command, ConfirmEmail) for event in again)
        assert state == user.fold(again, state)


@drawn(histories)
def test_journal_and_snapshot_keep_all(sequence: list[object]) -> None:
    """Events come back from their bytes, and states from their JSON, exactly as they were."""
    codec = Codec(Schemas.load("shop", "user"), user.events)
    for _, events, state in accepted(user, sequence):
        assert events == [codec.decode_one(codec.encode(event)) for event in events]
        assert state == msgspec.json.decode(msgspec.json.encode(state), type=State)
