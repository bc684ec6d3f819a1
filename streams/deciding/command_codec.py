"""The data of a command to an object of its class, and what tells it from another command with the same id."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import datetime
from decimal import Context, Decimal
from functools import cache
from hashlib import blake2b
from typing import Any

import msgspec

from aggregates.decider import Decider
from aggregates.personal import Blinding
from schemas.codec import Codec, Undecodable
from schemas.command_json import Check, json_reader, time_check, variants_in
from schemas.sealing import marks_of
from schemas.writer import AVRO_NATIVE
from streams.deciding.messages import AVRO, JSON, Envelope, Failure
from streams.moments import EPOCH

DIGEST_BYTES = 7
_DIGEST = blake2b(digest_size=DIGEST_BYTES)
_NONE = object()
_EXACT = Context(prec=10_000, traps=[])
_ZERO = Decimal(0)
_encode = msgspec.json.Encoder(order="deterministic").encode


class CommandCodec:
    """Reads the commands of a decider, in JSON and in Avro alike."""

    def __init__(self, decider: Decider[Any, Any, Any], codec: Codec) -> None:
        self._type = decider.type
        self._codec = codec
        self._json: dict[str, Callable[[bytes], Any]] = {
            name: json_reader(class_) for name, class_ in decider.commands.items()
        }
        self._times: dict[str, Check | None] = {name: time_check(class_) for name, class_ in decider.commands.items()}
        self._forms = {name: _form(class_) for name, class_ in decider.commands.items()}
        self._personal = {schema.name for schema in codec.own if marks_of(schema)}

    def read(self, envelope: Envelope) -> Any:
        """The command as its sender said it. Raises `Failure`."""
        read = self._json.get(envelope.type)
        if read is None:
            known = ", ".join(self._json)
            raise Failure("UnknownCommand", f"{self._type} has no command {envelope.type!r}; it has {known}")
        try:
            if envelope.content_type == JSON:
                command = read(envelope.data or b"{}")
            elif envelope.content_type == AVRO:
                command = self._codec.decode_one(envelope.data)
                if (times := self._times[envelope.type]) is not None:
                    times(command, "$")
            else:
                raise Failure("Unreadable", f"content-type {envelope.content_type!r}: use {JSON} or {AVRO}")
        except RecursionError:
            raise Failure("Unreadable", f"{envelope.type}: the data is nested too deeply") from None
        except Undecodable as error:
            why = f"the bytes are no {envelope.type} in Avro" if envelope.type in self._personal else error
            raise Failure("Unreadable", f"{envelope.type}: {why}") from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Failure("Unreadable", f"{envelope.type}: {error}") from None
        if type(command).__name__ != envelope.type:
            raise Failure("Unreadable", f"the data holds a {type(command).__name__}, the type says {envelope.type}")
        return command

    def cause(self, type: str, command: Any, keyed: bool = True) -> str:
        """The type of a command and a digest of its data, for `RecordedEvent.command`.

        It is the same however the data is spelled, in JSON or in Avro, and stays the same when the class, or one within
        it, gets a field with a default: of what is left out nothing is known. Of one that may say what is personal the
        digest has the key of blind ids: nobody without it can try what was said.
        """
        said = {}
        for name, default, varies in self._forms[type]:
            value = getattr(command, name)
            if default is _NONE or value != default:
                said[name] = _as_it_is(value) if varies else value
        return cause_of(type, _encode(said), Blinding.key if keyed and type in self._personal else b"")

    def is_cause(self, kept: str, type: str, command: Any) -> bool:
        """Whether what was kept tells of this command, also where that was before digests had a key."""
        return kept in (self.cause(type, command), self.cause(type, command, keyed=False))


def _as_it_is(value: Any) -> Any:
    """A value in one form of those that mean the same: `2.50` is `2.5`, 12:00 at UTC+1 is 11:00 at UTC, and
    what has its default may be left out."""
    if isinstance(value, Decimal):
        return value.normalize(_EXACT) or _ZERO  # and not -0
    if isinstance(value, datetime):
        return value - EPOCH
    if hasattr(value, "__dataclass_fields__"):
        class_: Any = type(value)
        parts = ((name, default, getattr(value, name)) for name, default in _fields(class_))
        return {name: _as_it_is(part) for name, default, part in parts if default is _NONE or part != default}
    if isinstance(value, dict):
        return {key: _as_it_is(its) for key, its in value.items()}
    if isinstance(value, list | tuple):
        return [_as_it_is(its) for its in value]
    plain = msgspec.to_builtins(value, builtin_types=AVRO_NATIVE, order="deterministic")
    return _as_it_is(plain) if isinstance(plain, dict | list) else plain


def cause_of(type: str, data: bytes, key: bytes = b"") -> str:
    """The type of a command and the digest of these bytes, with a key."""
    digest = blake2b(digest_size=DIGEST_BYTES, key=key) if key else _DIGEST.copy()  # sooner done than another one
    digest.update(data)
    return f"{type} {digest.hexdigest()}"


def _form(class_: type) -> list[tuple[str, Any, bool]]:
    """The fields of a class: their defaults, where they have one, and whether one value may be said in several ways."""
    variants = variants_in(class_)
    return [(name, default, name in variants) for name, default in _fields(class_)]


@cache
def _fields(class_: Any) -> list[tuple[str, Any]]:
    found = []
    for field in dataclasses.fields(class_):
        default: Any = _NONE
        if field.default is not dataclasses.MISSING:
            default = field.default
        elif field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        found.append((field.name, default))
    return found
