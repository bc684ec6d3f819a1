"""What a customer's account allows."""

from __future__ import annotations

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from aggregates.personal import Erased, Known, blind
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
from schemas.sealing import Place
from streams.journal.snapshots import form_of
from tests.in_the_clear import InTheClear
from tests.specification import accepted, answer, given

ADA = "ada@example.org"


def asked(address: str, request: int) -> EmailChanged:
    return EmailChanged(Known(address), blind(address), request)


def confirmed(address: str, request: int) -> EmailConfirmed:
    return EmailConfirmed(blind(address), request)


def refused_of(address: str, request: int) -> EmailRefused:
    return EmailRefused(blind(address), request)


def given_up(address: str, request: int) -> EmailGivenUp:
    return EmailGivenUp(blind(address), request)


def confirm(address: str, request: int) -> ConfirmEmail:
    return ConfirmEmail(blind(address), request)


def refuse(address: str, request: int) -> RefuseEmail:
    return RefuseEmail(blind(address), request)


REGISTERED = (UserRegistered("France", Known("Ada")), asked(ADA, 1))
CONFIRMED = (*REGISTERED, confirmed(ADA, 1))


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
    given(user, *REGISTERED).when(ChangeEmail("a@b")).then(asked("a@b", 2))
    given(user, *REGISTERED, asked("a@b", 2)).when(ChangeEmail("a@b")).then_nothing()
    given(user, *CONFIRMED).when(ChangeEmail("ada@example.org")).then_nothing()
    given(user, *CONFIRMED, asked("a@b", 2)).when(ChangeEmail("c@d")).then(asked("c@d", 3))


def test_email_is_compared_without_its_case() -> None:
    """An email is kept as it is compared, so one that differs in its case or the spaces around it only is no other."""
    given(user, *REGISTERED).when(ChangeEmail(" A@B ")).then(asked("a@b", 2))
    given(user, *REGISTERED).when(ChangeEmail("Ada@Example.ORG")).then_nothing()
    given(user, *REGISTERED).when(RegisterUser("France", "Ada", "ADA@example.org")).then_nothing()


def test_an_email_is_a_usable_id() -> None:
    """An email that grows too long in lower case, as some letters become two there, is rejected."""
    given(user, *REGISTERED).when(ChangeEmail("İ" * 127 + "@b")).then_rejected("InvalidText")


def test_confirmed() -> None:
    """The customer has the email that is confirmed, once, and gives up the one before."""
    given(user, *REGISTERED).when(confirm("ada@example.org", 1)).then(confirmed("ada@example.org", 1))
    given(user, *CONFIRMED).when(confirm("ada@example.org", 1)).then_nothing()
    given(user, *CONFIRMED, asked("a@b", 2)).when(confirm("a@b", 2)).then(
        confirmed("a@b", 2), given_up("ada@example.org", 2)
    )


def test_refused() -> None:
    """The customer keeps the email before, and may ask for the refused one again."""
    refused = (*CONFIRMED, asked("a@b", 2), refused_of("a@b", 2))
    given(user, *refused[:-1]).when(refuse("a@b", 2)).then(*refused[-1:])
    given(user, *refused).when(refuse("a@b", 2)).then_nothing()
    given(user, *refused).when(ChangeEmail("ada@example.org")).then_nothing()
    given(user, *refused).when(ChangeEmail("a@b")).then(asked("a@b", 3))


def test_an_older_answer() -> None:
    """An answer to an older asking counts for no newer one, even of the same email: what is granted is given back."""
    history = (*REGISTERED, asked("a@b", 2), asked("ada@example.org", 3))
    given(user, *history).when(confirm("a@b", 2)).then(given_up("a@b", 2))
    given(user, *history).when(confirm("ada@example.org", 1)).then(given_up("ada@example.org", 1))
    given(user, *history).when(refuse("ada@example.org", 1)).then_nothing()
    given(user, *history).when(confirm("ada@example.org", 3)).then(confirmed("ada@example.org", 3))


def test_back_to_the_email_before() -> None:
    """A customer who asks for the email that is confirmed still has it, and whatever was asked for meanwhile is given
    back."""
    history = (*CONFIRMED, asked("a@b", 2), asked("ada@example.org", 3))
    given(user, *history[:-1]).when(ChangeEmail("ada@example.org")).then(*history[-1:])
    given(user, *history).when(confirm("ada@example.org", 3)).then_nothing()
    given(user, *history).when(confirm("a@b", 2)).then(given_up("a@b", 2))
    given(user, *history).when(DeactivateUser()).then(UserDeactivated(), given_up("ada@example.org", 3))


def test_email_of_older_events() -> None:
    """A customer of the time before emails were confirmed has none until the newest one is."""
    old = (UserRegistered("France", None), EmailChanged(Known("a@b"), "a@b", 0), EmailChanged(Known("c@d"), "c@d", 0))
    given(user, *old).when(ConfirmEmail("a@b", 0)).then(EmailGivenUp("a@b", 0))
    given(user, *old).when(ConfirmEmail("c@d", 0)).then(EmailConfirmed("c@d", 0))
    given(user, *old).when(ChangeEmail("c@d")).then(asked("c@d", 1))


def test_an_address_of_before_ids_were_blind() -> None:
    """Who says the address again gets it under the id that tells nobody what it is, and keeps it meanwhile."""
    old = (UserRegistered("France", None), EmailChanged(Known(ADA), ADA, 1), EmailConfirmed(ADA, 1))
    given(user, *old).when(ChangeEmail(ADA)).then(asked(ADA, 2))
    given(user, *old, asked(ADA, 2)).when(ChangeEmail(ADA)).then_nothing()
    given(user, *old, asked(ADA, 2)).when(confirm(ADA, 2)).then(confirmed(ADA, 2), EmailGivenUp(ADA, 2))


def test_of_who_was_forgotten_nothing_is_found_out() -> None:
    """An address that was theirs is like any other one; what was forgotten is not confirmed by asking for it."""
    gone = (UserRegistered("France", Erased()), EmailChanged(Erased(), blind(ADA), 1), confirmed(ADA, 1))
    given(user, *gone).when(ChangeEmail(ADA)).then(asked(ADA, 2))
    given(user, *gone).when(RegisterUser("France", "Ada", ADA)).then_rejected("AlreadyRegistered")
    given(user, *gone).when(DeactivateUser()).then(UserDeactivated(), given_up(ADA, 1))


def test_unwanted() -> None:
    """Who is deactivated, or was never registered, gives back every email."""
    given(user, *REGISTERED, UserDeactivated()).when(confirm("a@b", 1)).then(given_up("a@b", 1))
    given(user, *REGISTERED, UserDeactivated()).when(refuse("a@b", 1)).then_nothing()
    given(user).when(confirm("a@b", 1)).then(given_up("a@b", 1))


def test_not_for_clients() -> None:
    """Clients may not confirm or refuse an email themselves."""
    assert ("RegisterUser", "ChangeEmail", "DeactivateUser") == user.accepts


def test_deactivates() -> None:
    """A deactivated customer gives up the email, stays so and refuses everything else."""
    given(user, *REGISTERED).when(DeactivateUser()).then(UserDeactivated())
    given(user, *CONFIRMED).when(DeactivateUser()).then(UserDeactivated(), given_up("ada@example.org", 1))
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
    st.builds(confirm, st.sampled_from(["a@b", "c@d"]), st.integers(0, 4)),
    st.builds(refuse, st.sampled_from(["a@b", "c@d"]), st.integers(0, 4)),
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
    codec = Codec(Schemas.load("shop", "user"), user.events, sealer=InTheClear())
    form, kept_state, place = form_of(user, codec.sealer), State(), Place("1", 0)
    for _, events, state in accepted(user, sequence):
        for event in events:
            place = Place("1", place.sequence + 1)
            data, kept = codec.write(event, place)
            assert event == kept == codec.decode_one(data, place)
            kept_state = user.fold([kept], kept_state)
        assert state == kept_state == form.decode(form.encode(kept_state, {})[0])[0]
