"""The data of a command to an object of its class, and what tells it from another command with the same id."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Context, Decimal
from hashlib import blake2b
from typing import Any

import msgspec

from aggregates.decider import Decider
from schemas.codec import AVRO_NATIVE, Codec, Undecodable
from schemas.door import Check, json_reader, time_check, variants_in
from streams.messages import AVRO, JSON, Envelope, Failure

_DIGEST_BYTES = 7
_EXACT = Context(prec=10_000, traps=[])
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
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
        # What is not said, and what may be said in more than one way.
        self._forms = {name: (_defaults(class_), variants_in(class_)) for name, class_ in decider.commands.items()}

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
        except (msgspec.DecodeError, UnicodeDecodeError, Undecodable) as error:
            raise Failure("Unreadable", f"{envelope.type}: {error}") from None
        if type(command).__name__ != envelope.type:
            raise Failure("Unreadable", f"the data holds a {type(command).__name__}, the type says {envelope.type}")
        return command

    def cause(self, type: str, command: Any) -> str:
        """The type of a command and a digest of its data, for `RecordedEvent.command`.

        It is the same however the data is spelled, in JSON or in Avro, and stays the same when the class gets a field
        with a default: of what is left out nothing is known.
        """
        fields = msgspec.to_builtins(command, builtin_types=AVRO_NATIVE, order="deterministic")
        defaults, variants = self._forms[type]
        for name, default in defaults:
            if getattr(command, name) == default:
                del fields[name]
        for name in variants:
            if name in fields:
                fields[name] = _as_it_is(fields[name])
        return cause_of(type, _encode(fields))


def _as_it_is(value: Any) -> Any:
    """A value in one form of those that mean the same: `2.50` is `2.5`, and 12:00 at UTC+1 is 11:00 at UTC."""
    match value:
        case Decimal():
            return value.normalize(_EXACT)
        case datetime():
            return value - _EPOCH
        case dict():
            return {key: _as_it_is(its) for key, its in value.items()}
        case list() | tuple():
            return [_as_it_is(its) for its in value]
    return value


def cause_of(type: str, data: bytes) -> str:
    """The type of a command and the digest of these bytes."""
    return f"{type} {blake2b(data, digest_size=_DIGEST_BYTES).hexdigest()}"


def _defaults(class_: type) -> list[tuple[str, Any]]:
    found = []
    for field in dataclasses.fields(class_):
        if field.default is not dataclasses.MISSING:
            found.append((field.name, field.default))
        elif field.default_factory is not dataclasses.MISSING:
            found.append((field.name, field.default_factory()))
    return found
