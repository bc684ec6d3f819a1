"""Who sends a command: a person or a program that has proved it, or a process manager.

Nobody, as of a command that is written to its topic without a proof, is None.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["token", "oidc", "cert", "process"]
PROCESS: Literal["process"] = "process"
_KINDS: tuple[Kind, ...] = ("oidc", "token", "cert", PROCESS)
_ORIGIN = "\n"


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who has proved who he is. `name` is unique within its kind alone.

    groups          those that his proof names
    roles           those that he has in the context of the command
    on_behalf_of    of a process: who has caused what it does, without groups and roles; None: nobody who is known
    """

    kind: Kind
    name: str
    groups: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    on_behalf_of: Principal | None = None

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"

    @property
    def is_process(self) -> bool:
        """Whether it is a process manager, not a person or a program of somebody's."""
        return self.kind == PROCESS

    @property
    def origin(self) -> Principal:
        """Who is behind what is done: himself, or for whom a process works."""
        return self.on_behalf_of or self

    @property
    def text(self) -> str:
        """As it is kept with an event: who, and for a process behind a line break on whose behalf."""
        return str(self) if self.on_behalf_of is None else f"{self}{_ORIGIN}{self.on_behalf_of}"

    @classmethod
    def parse(cls, text: str) -> Principal | None:
        """The principal of a `text`; None of an empty one. Raises `ValueError`."""
        if not text:
            return None
        who, origin = parts_of(text)
        return cls(*_kind_and_name(who), on_behalf_of=cls(*_kind_and_name(origin)) if _ORIGIN in text else None)


def parts_of(text: str) -> tuple[str, str]:
    """Who, and on whose behalf, as a `text` names them; empty where it names nobody."""
    who, _, origin = text.partition(_ORIGIN)
    return who, origin


def process(name: str, cause: Principal | None = None) -> Principal:
    """The principal of a process manager, in what it does because of what `cause` has done."""
    origin = None if cause is None else Principal(cause.origin.kind, cause.origin.name)
    is_own = origin is not None and (origin.kind, origin.name) == (PROCESS, name)
    return Principal(PROCESS, name, on_behalf_of=None if is_own else origin)


def _kind_and_name(text: str) -> tuple[Kind, str]:
    kind, colon, name = text.partition(":")
    for known in _KINDS:
        if kind == known and colon and name.isprintable() and name:
            return known, name
    raise ValueError(f"{text[:100]!r} is no principal")
