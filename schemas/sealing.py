"""Which fields of a record are personal, and the way between their sealed form in bytes and their objects.

    {"name": "email", "type": "bytes", "doc": "..", "personal": {"subject": "#id"}}

The subject `#id` is the aggregate itself; any other is the field of the same record that names the person. A field of
an event is of the type `bytes`, or null or bytes, since it has the sealed form. One of a command is of the type
`string`, or null or string: a command says it in the clear.

| first bytes | the field |
|---|---|
| `f8 01`, then the rest of an envelope | sealed: see `Sealer` and docs/privacy.md |
| `f8 00` | the person was forgotten already when this was written |
| any other | text in the clear, as a version without the mark wrote it: no UTF-8 text begins with `f8` |
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from aggregates.personal import Erased, Known, PersonalForm, Sealed
from schemas.registry import Schema
from schemas.upcasting import Fields

T = TypeVar("T")

PERSONAL = "personal"
ITSELF = "#id"
"""The subject that is the aggregate itself."""
SEALED_TYPES = ("bytes", ["null", "bytes"], ["bytes", "null"])
CLEAR_TYPES = ("string", ["null", "string"], ["string", "null"])


@lru_cache(maxsize=4096)
def marks_of(schema: Schema) -> Mapping[str, str]:
    """The subject of each personal field of a record. What is no right mark has the empty subject."""
    return {field["name"]: _subject(field[PERSONAL]) for field in fields_of(schema) if PERSONAL in field}


def fields_of(schema: Schema) -> list[dict[str, Any]]:
    """The fields of a record, as its file has them."""
    fields: list[dict[str, Any]] = msgspec.json.decode(schema.json)["fields"]
    return fields


def mark_texts(schema: Schema) -> tuple[str, ...]:
    """The marks in the form in which they are locked: `field=subject`."""
    return tuple(sorted(f"{name}={subject}" for name, subject in marks_of(schema).items()))


def aggregate_type(schema: Schema) -> str:
    """The aggregate type of a record: the last part of its namespace."""
    return schema.namespace.rpartition(".")[2]


def _subject(mark: Any) -> str:
    subject = mark.get("subject") if isinstance(mark, dict) and set(mark) == {"subject"} else None
    return subject if isinstance(subject, str) else ""


SEALED = b"\xf8"
"""What an envelope begins with."""
ERASED = SEALED + b"\0"
_ERASED = Erased()


class Place(NamedTuple):
    """Of which aggregate an event is, and which of its events: what its sealed fields are bound to."""

    id: str
    sequence: int


class KeysNeeded(Exception):
    """Keys are to be fetched before it can go on: `Keys.fetch_needed(error)`, then the same again. With `create` they
    are to be made where they are not there, since something is to be sealed."""

    def __init__(self, subjects: Collection[str], create: bool = False) -> None:
        super().__init__(f"{len(subjects)} keys are to be fetched")
        self.subjects = frozenset(subjects)
        self.create = create


class SubjectIsErased(Exception):
    """Something new was to be sealed for a person who was forgotten."""

    def __init__(self, subject: str) -> None:
        super().__init__(f"the subject {subject!r} was forgotten")
        self.subject = subject


class NoPlace(ValueError):
    """A record with personal fields was to be written without keys, or without its place."""


class Sealer(Protocol):
    """Seals and opens with the keys that are at hand: nothing here waits.

    `lease` is for how long, in seconds, a key is at hand, and what was opened with it may be kept.
    """

    lease: float

    def seal(self, type: str, place: Place, field: str, subject: str, value: str) -> bytes:
        """The envelope of a value. Raises `KeysNeeded`, `SubjectIsErased`."""

    def unseal(self, sealed: Sealed) -> str | None:
        """The value, also of an envelope that is text in the clear; None for one that was erased.

        Raises `KeysNeeded`, and `ValueError` for an envelope that was not made at this place, with these keys."""

    def cold(self, subjects: Iterable[str]) -> list[str]:
        """Those of the subjects of which nothing is at hand."""

    async def fetch(self, subjects: Collection[str], create: bool = False) -> None:
        """Get keys, with `create` also for those who have none. Raises what the stores raise."""

    async def fetch_needed(self, needed: KeysNeeded) -> None:
        """Get what is needed. Raises what the stores raise."""


async def with_keys(sealer: Sealer | None, read: Callable[[], T]) -> T:
    """What `read` returns when the keys that it needs are there. Raises what it raises, and what the stores raise."""
    while True:
        try:
            return read()
        except KeysNeeded as needed:
            assert sealer is not None, "it is who needs them"
            await sealer.fetch_needed(needed)


class PersonalFields:
    """The personal fields of one record. Nothing is done, and nothing costs, where it has none.

    The objects of its fields are `Known` or `Erased`, or None.
    """

    def __init__(self, schema: Schema) -> None:
        types = {field["name"]: field["type"] for field in fields_of(schema)}
        # Those of a command stand in the clear.
        self._marks: Mapping[str, str] = {
            name: subject for name, subject in marks_of(schema).items() if types[name] in SEALED_TYPES
        }
        self._type = aggregate_type(schema)

    def __bool__(self) -> bool:
        return bool(self._marks)

    @property
    def names(self) -> Collection[str]:
        """The personal fields."""
        return self._marks.keys()

    def sealed(self, objects: Mapping[str, Any], place: Place | None, sealer: Sealer | None) -> tuple[Fields, Fields]:
        """The personal fields in sealed form, and as objects that know that form. `objects` has all fields. Raises
        `KeysNeeded`, `SubjectIsErased`, `NoPlace`."""
        if place is None or sealer is None:
            raise NoPlace("it has personal fields, and there are no keys to seal them with: set KEY_MANAGEMENT")
        raw: Fields = {}
        kept: Fields = {}
        for name, subject in self._marks.items():
            value = objects[name]
            kept[name] = raw[name] = value
            if type(value) is Known:
                whose = place.id if subject == ITSELF else objects[subject]
                envelope = sealer.seal(self._type, place, name, whose, value.value)
                sealed = Sealed(self._type, place.id, place.sequence, name, whose, envelope)
                raw[name], kept[name] = envelope, Known(value.value, sealed)
            elif type(value) is Erased:
                raw[name] = ERASED
            elif value is not None:
                raise TypeError(f"{name} is a {type(value).__name__}, and not Known or Erased")
        return raw, kept

    def open(self, fields: Fields, place: Place | None, sealer: Sealer | None) -> Fields:
        """Fields that were read, with the objects of the personal ones, in place. Without a sealer they stay sealed.
        Raises `KeysNeeded`, `ValueError`."""
        for name, subject in self._marks.items():
            raw = fields[name]
            if raw is None:
                continue
            if raw == ERASED:
                fields[name] = _ERASED
            elif place is not None:
                whose = place.id if subject == ITSELF else fields[subject]
                fields[name] = opened(Sealed(self._type, place.id, place.sequence, name, whose, raw), sealer)
            elif raw[:1] != SEALED:
                fields[name] = Known(raw.decode())
            else:
                raise ValueError(f"{name} is sealed, and where it was is not known here")
        return fields


def opened(sealed: Sealed, sealer: Sealer | None) -> Known[str] | Erased:
    """The object of a sealed value. Raises `KeysNeeded`, `ValueError`."""
    if sealer is None:
        return Known(None, sealed)
    value = sealer.unseal(sealed)
    return _ERASED if value is None else Known(value, sealed)


# -- in JSON: rows, states, and what is shown --------------------------------------------------------------------------

TOKEN = "sealed"
"""The one member of the JSON object that stands for a sealed value."""
GONE = "erased"
"""The one member, with the value true, of the object that stands for an erased one."""


def token(sealed: Sealed) -> str:
    """A sealed value with its place, as text: Base64 (URL alphabet) of a MessagePack array, ordered as `Sealed`."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(sealed)).decode()


def sealed_of(text: str) -> Sealed:
    """What a token says. Raises `ValueError`."""
    try:
        return msgspec.msgpack.decode(base64.urlsafe_b64decode(text), type=Sealed)
    except msgspec.DecodeError as error:
        raise ValueError(f"no token of a sealed value: {error}") from None


def plain(value: Any) -> Any:
    """What stands in JSON for a personal value: never the value itself. Is the `enc_hook` of msgspec. Raises
    `TypeError` for a value of any other kind, and `NoPlace` for one that no event has held."""
    if type(value) is Known:
        if value.sealed is None:
            raise NoPlace("a personal value that no event holds sealed cannot be kept")
        return {TOKEN: token(value.sealed)}
    if type(value) is Erased:
        return {GONE: True}
    raise TypeError(f"a {type(value).__name__} cannot be written as JSON")


def shown(value: Any) -> Any:
    """The same for people who look at records without a place: text that stands there in the clear is shown."""
    return value.value if type(value) is Known and value.sealed is None else plain(value)


def opened_fields(fields: Fields, sealer: Sealer) -> Fields:
    """Fields ready for JSON, with the objects of what is personal. Raises `KeysNeeded`, `ValueError`."""
    return {
        name: from_plain(PersonalForm, value, sealer) if type(value) is dict and _is_form(value) else value
        for name, value in fields.items()
    }


def _is_form(value: dict[str, Any]) -> bool:
    return value == {GONE: True} or (len(value) == 1 and isinstance(value.get(TOKEN), str))


def from_plain(form: Any, given: Any, sealer: Sealer | None = None) -> Any:
    """The object for what `plain` has made. Is a `dec_hook` of msgspec. Raises `KeysNeeded`, `ValueError`."""
    if getattr(form, "__origin__", form) is not PersonalForm:
        if isinstance(form, type) and isinstance(given, form):
            return given  # as msgspec does where there is no hook
        raise TypeError(f"a {form} cannot be read from JSON")
    if type(given) is dict and isinstance(text := given.get(TOKEN), str):
        return opened(sealed_of(text), sealer)
    if given == {GONE: True}:
        return _ERASED
    raise ValueError("neither a sealed value nor an erased one")
