"""Who asks, and the right that a route needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum

import msgspec

from aggregates.principal import Principal as Principal


class Role(StrEnum):
    """What somebody may do in a context.

    A reader sees rows, histories and states. A commander sends commands, and sees what became of them. An auditor sees
    how the system is: lag, figures, projections, owners. An operator sees that, too, and gives orders.
    """

    READER = "reader"
    COMMANDER = "commander"
    AUDITOR = "auditor"
    OPERATOR = "operator"


class Need(msgspec.Struct, frozen=True):
    """The right that a route needs: a role in one of these contexts. No role: nobody need say who he is."""

    role: Role | None = None
    contexts: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """Each way to have it, as `reader@orders`."""
        return [] if self.role is None else [f"{self.role}@{context}" for context in self.contexts]


class Identified(msgspec.Struct, frozen=True):
    """A principal, and until when his proof holds, in seconds since 1970; None: for as long as one likes."""

    principal: Principal
    until: float | None = None


class NotKnown(Exception):
    """A proof is none: the message says why, and may be shown to whoever has sent it."""


class NotKnownNow(Exception):
    """Whether a proof is one cannot be told now. The message is for the log."""


_asking: ContextVar[Identified | None] = ContextVar("asking", default=None)


@contextmanager
def asked_by(who: Identified | None) -> Iterator[None]:
    """Inside, also in tasks that begin there, it is for somebody that all is done; None: nobody need say who he is."""
    token = _asking.set(who)
    try:
        yield
    finally:
        _asking.reset(token)


def current() -> Identified | None:
    """For whom it is that this task works."""
    return _asking.get()


def current_principal() -> Principal | None:
    """Likewise, without his proof."""
    who = _asking.get()
    return None if who is None else who.principal
