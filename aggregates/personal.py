"""Values that identify a person, and may be forgotten: a field of the class says `name: Personal[str]`.

Such a value is `Known`, or `Erased` for ever, and code says what it does in both cases, which mypy checks:

    match state.name:
        case Known(name): ..
        case Erased(): ..

In the schema of an event its field says whose it is: `"personal": {"subject": "#id"}` is the aggregate itself, any
other subject the field that names the person. It is sealed as soon as the event is written, and all that is kept, sent
or copied is the sealed form. A `Known` value shows itself to nobody who does not ask for it by name: neither `repr`,
nor a log, nor JSON has it.

Source: crypto-shredding, as in Cratis Chronicle's "Erasing a subject".
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeAlias, TypeVar, final

T = TypeVar("T")


class NotOpened(Exception):
    """A sealed value was asked for by code that has no keys: a table passes it on, whoever answers with it opens it."""


class Sealed(NamedTuple):
    """What was sealed, and where: all that who has the key needs, besides the namespace.

    type, id, sequence, field    the place of the value: of which event, and in which field
    subject                      whose it is
    envelope                     the sealed form, as the event has it
    """

    type: str
    id: str
    sequence: int
    field: str
    subject: str
    envelope: bytes


class PersonalForm(Generic[T]):
    """What msgspec knows of both forms; it takes one class, and no union."""

    __slots__ = ()


@final
class Known(PersonalForm[T]):
    """A value that is there. `sealed` is the form in which it is kept, where it has one.

    One that was read without keys has the sealed form alone: it may be passed on, and not be looked at.
    """

    __slots__ = ("_value", "sealed")
    __match_args__ = ("value",)

    def __init__(self, value: T | None, sealed: Sealed | None = None) -> None:
        self._value = value
        self.sealed = sealed

    @property
    def value(self) -> T:
        """The value itself. Raises `NotOpened`."""
        if self._value is None:
            raise NotOpened("the value is sealed, and nobody has opened it here")
        return self._value

    @property
    def is_open(self) -> bool:
        """Whether the value itself is here."""
        return self._value is not None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Known):
            return NotImplemented
        if self._value is None or other._value is None:
            return self.sealed is not None and self.sealed == other.sealed
        return bool(self._value == other._value)

    def __hash__(self) -> int:
        return hash(Known)  # it may be opened, or not, and is equal

    def __repr__(self) -> str:
        return "Known(***)"


@final
class Erased(PersonalForm[Any]):
    """A value of somebody who was forgotten. Nobody can ever read it again."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Erased)

    def __hash__(self) -> int:
        return hash(Erased)

    def __repr__(self) -> str:
        return "Erased()"


if TYPE_CHECKING:
    Personal: TypeAlias = Known[T] | Erased
else:
    Personal = PersonalForm


class Blinding:
    """The key of blind ids of this process: see `blind`."""

    key = b""


def blind(text: str) -> str:
    """An id that stands for a personal text and does not tell it: the same text has the same id, for ever, and without
    the key nobody can try which text it is. 32 characters.

    Pure as far as a domain can tell: the key is one for all workers of a namespace, and stays. The engine sets it
    before anything is decided; tests have that of nobody, which is empty.
    """
    return hmac.new(Blinding.key, text.encode(), sha256).hexdigest()[:32]
