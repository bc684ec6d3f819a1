"""All that can happen between a few users and two addresses: every order of the messages, some of them twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import pytest

from aggregates.personal import Known, blind
from aggregates.process_manager import ForeignEvent
from aggregates.shop import email as emails
from aggregates.shop import user as users
from aggregates.shop.email import ClaimEmail, ReleaseEmail, email
from aggregates.shop.user import (
    ChangeEmail,
    ConfirmEmail,
    DeactivateUser,
    EmailChanged,
    EmailConfirmed,
    EmailGivenUp,
    UserDeactivated,
    UserRegistered,
    user,
)
from tests.specification import answer

X, Y = "x@x", "y@y"
ADDRESSES = (blind(X), blind(Y))
"""As the ids of those who decide who has them."""
WISHES = (ChangeEmail(X), ChangeEmail(Y), DeactivateUser())


class Message(NamedTuple):
    """A command on its way to a user or to an address, both by their number."""

    to: str
    number: int
    command: Any


class World(NamedTuple):
    """`wishes` says how often each user may still want something, `repeats` how many messages may still come twice."""

    users: tuple[users.State, ...]
    holders: tuple[emails.State, ...]
    messages: tuple[Message, ...] = ()
    wishes: tuple[int, ...] = ()
    repeats: int = 0


class Rules:
    """What users and addresses do, by the real deciders or by broken ones."""

    def __init__(self, user_decide: Any = users.decide, email_decide: Any = emails.decide) -> None:
        self.user = replace(user, decide=user_decide)
        self.email = replace(email.decider, decide=email_decide)
        self.told = cache(self._told)

    def _told(self, to: str, number: int, state: Any, command: Any) -> tuple[Any, tuple[Message, ...]]:
        """The state after a command, and the messages that it causes."""
        decider: Any = self.user if to == "user" else self.email
        events = answer(decider, command, state) or []
        follow = heard if to == "user" else sent
        return decider.fold(events, state), tuple(message for event in events for message in follow(number, event))

    def ends(self, start: World) -> Iterator[World]:
        """The worlds with which all that may come of this one can end; every world on the way is checked."""
        seen, todo = {start}, [start]
        while todo:
            check(world := todo.pop())
            if not world.messages:
                check_settled(world)
                yield world
            for following in self._next(world):
                check_step(world, following)
                if following not in seen:
                    seen.add(following)
                    todo.append(following)

    def _next(self, world: World) -> Iterator[World]:
        for number, left in enumerate(world.wishes):
            if left:
                after = world._replace(wishes=put(world.wishes, number, left - 1))
                yield from (self._after(after, Message("user", number, wish)) for wish in WISHES)
        for message in dict.fromkeys(world.messages):
            if world.repeats:
                yield self._after(world._replace(repeats=world.repeats - 1), message)
            rest = list(world.messages)
            rest.remove(message)
            yield self._after(world._replace(messages=tuple(rest)), message)

    def _after(self, world: World, message: Message) -> World:
        states: tuple[Any, ...] = world.users if message.to == "user" else world.holders
        state, more = self.told(message.to, message.number, states[message.number], message.command)
        if more:
            world = world._replace(messages=tuple(sorted((*world.messages, *more), key=hash)))
        states = put(states, message.number, state)
        return world._replace(users=states) if message.to == "user" else world._replace(holders=states)


def heard(number: int, event: Any) -> Iterator[Message]:
    """What an event of a user means to addresses."""
    name = type(event).__name__
    if name in email.hears["user"]:
        for it in email.hear(
            ForeignEvent("user", str(number), name, {"email_id": event.email_id, "request": event.request})
        ):
            yield Message("email", ADDRESSES.index(it.process), it.command)


def sent(number: int, event: Any) -> Iterator[Message]:
    """What an event of an address tells users."""
    for send in email.sends(ADDRESSES[number], event):
        yield Message("user", int(send.id), user.commands[send.command](**send.data))


def put(states: tuple[Any, ...], number: int, state: Any) -> tuple[Any, ...]:
    return (*states[:number], state, *states[number + 1 :])


def check(world: World) -> None:
    """Who has an address holds it, at all times: so nobody else has it."""
    for number, one in enumerate(world.users):
        assert one.email is None or world.holders[ADDRESSES.index(one.email.id)].holder == str(number)


def check_step(before: World, after: World) -> None:
    """Who has an address keeps it until there is another one, or the user is deactivated."""
    for one, then in zip(before.users, after.users, strict=True):
        assert one.email is None or then.email is not None or then.status == "deactivated"


def check_settled(world: World) -> None:
    """When all has been heard nobody waits for an answer, and no address is held by somebody who does not have it."""
    for address, held in zip(ADDRESSES, world.holders, strict=True):
        assert held.holder is None or id_of(world.users[int(held.holder)].email) == address
    for one in world.users:
        assert one.pending is None
        assert one.email is None or one.status == "active"


NEW = (UserRegistered("France", None),)


def id_of(address: users.Address | None) -> str | None:
    return None if address is None else address.id


def emails_of(world: World) -> tuple[str | None, ...]:
    texts = {blind(X): X, blind(Y): Y, None: None}
    return tuple(texts[id_of(one.email)] for one in world.users)


def asked(address: str, request: int) -> EmailChanged:
    return EmailChanged(Known(address), blind(address), request)


def old(*addresses: str) -> tuple[users.Event, ...]:
    """The history of a user of the time before emails were confirmed."""
    return (*NEW, *(asked(address, 0) for address in addresses))


def world(*histories: tuple[users.Event, ...], wishes: tuple[int, ...] = (), repeats: int = 0) -> World:
    """Users to whom this has happened; nothing of it has been heard."""
    messages = [it for number, events in enumerate(histories) for event in events for it in heard(number, event)]
    nobody = (emails.State(),) * len(ADDRESSES)
    return World(tuple(map(user.fold, histories)), nobody, tuple(sorted(messages, key=hash)), wishes, repeats)


STARTS = {
    "two users, two wishes each": world(NEW, NEW, wishes=(2, 2), repeats=1),
    "two users, one of three wishes": world(NEW, NEW, wishes=(3, 1), repeats=1),
    "three users, a wish each": world(NEW, NEW, NEW, wishes=(1, 1, 1), repeats=1),
    "three users, more wishes": world(NEW, NEW, NEW, wishes=(2, 1, 1)),
    "two users of before": world(old(X, Y, X), old(X), repeats=2),
    "a user of before, and a deactivated one": world((*old(X), UserDeactivated()), old(X, Y), old(X), repeats=1),
    "users of before with wishes": world(old(X, Y), old(X), wishes=(1, 1)),
}


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS.keys())
def test_all_that_can_happen(start: World) -> None:
    """Whatever users want, and however late, in whatever order and how often messages come: an address is one user's,
    and in the end everybody has been answered and nothing is held for nobody."""
    assert list(Rules().ends(start))


def test_exactly_one_has_it() -> None:
    """Of users who ask for one address at once exactly one has it in the end."""
    asking = (*NEW, asked(X, 1))
    ends = Rules().ends(world(asking, asking, asking, repeats=2))
    assert {(X, None, None), (None, X, None), (None, None, X)} == {emails_of(end) for end in ends}


def test_a_swap() -> None:
    """Of two users who want each other's address nobody loses one: both keep their own."""
    start = World(
        tuple(user.fold((*NEW, asked(it, 1), EmailConfirmed(blind(it), 1))) for it in (X, Y)),
        (emails.State("0", 1), emails.State("1", 1)),
        (Message("user", 0, ChangeEmail(Y)), Message("user", 1, ChangeEmail(X))),
        repeats=2,
    )
    assert {(X, Y)} == {emails_of(end) for end in Rules().ends(start)}


def user_who(changes: Callable[[Any, users.State, list[Any]], list[Any]]) -> Rules:
    """The rules, but for what this makes of a user's events."""
    return Rules(user_decide=lambda command, state: changes(command, state, users.decide(command, state)))


def email_that(changes: Callable[[Any, emails.State, list[Any]], list[Any]]) -> Rules:
    """The rules, but for what this makes of an address's events."""
    return Rules(email_decide=lambda command, state: changes(command, state, emails.decide(command, state)))


MISTAKES = {
    "an older answer counts": user_who(
        lambda command, state, events: (
            users.decide(replace(command, request=state.requests), state)
            if isinstance(command, ConfirmEmail) and command.email == id_of(state.pending)
            else events
        )
    ),
    "what is not wanted is kept": user_who(
        lambda command, _, events: (
            events
            if not isinstance(command, ConfirmEmail)
            else [event for event in events if not isinstance(event, EmailGivenUp) or len(events) > 1]
        )
    ),
    "the one before is kept": user_who(
        lambda command, _, events: events[:1] if isinstance(command, ConfirmEmail) else events
    ),
    "the one before is given up too early": user_who(
        lambda command, state, events: (
            [*events, EmailGivenUp(state.email.id, state.requests)]
            if isinstance(command, ChangeEmail) and events and state.email
            else events
        )
    ),
    "a deactivated user keeps it": user_who(
        lambda command, _, events: events[:1] if isinstance(command, DeactivateUser) else events
    ),
    "a deactivated user does not answer": user_who(
        lambda command, state, events: [] if state.status == "deactivated" else events
    ),
    "all askings have one number": user_who(
        lambda command, _, events: [replace(it, request=1) if isinstance(it, EmailChanged) else it for it in events]
    ),
    "an older release counts": email_that(
        lambda command, state, events: (
            emails.decide(replace(command, request=9), state) if isinstance(command, ReleaseEmail) else events
        )
    ),
    "anybody releases": email_that(
        lambda command, state, events: (
            emails.decide(replace(command, user_id=state.holder or ""), state)
            if isinstance(command, ReleaseEmail)
            else events
        )
    ),
    "a newer claim of the holder is not answered": email_that(
        lambda command, state, events: (
            [] if isinstance(command, ClaimEmail) and command.user_id == state.holder else events
        )
    ),
    "the last one has it": email_that(
        lambda command, _, events: emails.decide(command, emails.State()) if isinstance(command, ClaimEmail) else events
    ),
    "who is refused is not told": email_that(
        lambda command, _, events: [it for it in events if isinstance(it, emails.EmailClaimed | emails.EmailReleased)]
    ),
}


@pytest.mark.parametrize("rules", MISTAKES.values(), ids=MISTAKES.keys())
def test_mistakes_are_found(rules: Rules) -> None:
    """The worlds of two users are enough to find each of these mistakes."""
    with pytest.raises(AssertionError):
        list(rules.ends(world(NEW, NEW, wishes=(3, 1), repeats=1)))
