"""Commands of types with personal data, where they are kept: in dead letters, and in the notes of a quarantine.

Such a command is sealed as a whole, with the key of its aggregate, and over that with the key of each other person that
a marked field of it speaks of: so it can be opened again as long as none of them was forgotten. The header
`dl_sealed` of the message says whose keys those are, as a JSON array, the one to be opened first at its end. The value
is the sealed form of docs/privacy.md: of the value before, with each of its bytes as one character (ISO 8859-1), bound
to the aggregate, the sequence 0 and the field `#command`. An empty array: it was left out, as nobody can tell whose it
is, or one of them was forgotten already.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import msgspec
from msgspec.structs import replace

from aggregates.decider import Decider
from aggregates.personal import Sealed
from schemas.codec import Codec
from schemas.sealing import ITSELF, Place, Sealer, SubjectIsErased, marks_of, with_keys
from streams.deciding.messages import JSON, Envelope, Message

SEALED_FOR = "dl_sealed"
FIELD = "#command"
"""The field to which a command is bound."""
_decode_subjects = msgspec.json.Decoder(list[str]).decode


class CannotOpen(Exception):
    """A command that was kept cannot be opened. The message says why, for people."""


FORGOTTEN = "the person whom the command speaks of was forgotten: nobody can read it any more"
LEFT_OUT = "what the command says was not kept: nobody can tell of whom it speaks, or that person was forgotten before"


class PersonalCommands:
    """The commands of one aggregate type that has personal data.

    sealer    seals them, and opens them again
    """

    def __init__(self, decider: Decider[Any, Any, Any], commands: Codec, sealer: Sealer) -> None:
        self._type = decider.type
        self._commands = commands
        self.sealer = sealer
        self._others: dict[str, list[str]] = {}
        for schema in commands.own:
            self._others[schema.name] = sorted({*marks_of(schema).values()} - {ITSELF, ""})

    def sealed(self, message: Message, envelope: Envelope) -> Message:
        """A message as it may be kept. Raises `KeysNeeded`, and `SubjectIsErased`."""
        headers = [(name, value) for name, value in message.headers if name != SEALED_FOR]
        if message.value is None:
            return replace(message, headers=headers)
        id, value = _id_of(message), message.value
        subjects = [id, *self._subjects(envelope, id)] if id else []
        for subject in subjects:
            text = value.decode("latin-1")
            value = self.sealer.seal(self._type, Place(id, 0), FIELD, subject, text)
        if not subjects:
            value = b""
        headers.append((SEALED_FOR, msgspec.json.encode(subjects)))
        return replace(message, value=value, headers=headers)

    def left_out(self, message: Message) -> Message:
        """The same without what it says."""
        headers = [(name, value) for name, value in message.headers if name != SEALED_FOR]
        return replace(message, value=b"", headers=[*headers, (SEALED_FOR, b"[]")])

    def sealed_if_known(self, message: Message, envelope: Envelope) -> Message:
        """A message as it may be kept, without what it says where somebody was forgotten. Raises `KeysNeeded`."""
        try:
            return self.sealed(message, envelope)
        except SubjectIsErased:
            return self.left_out(message)

    def opened(self, message: Message) -> Message:
        """A message as it came. Raises `KeysNeeded`, `CannotOpen`."""
        value = opened_value(self._type, message.key, message.value, message.headers, self.sealer)
        return replace(message, value=value, headers=[it for it in message.headers if it[0] != SEALED_FOR])

    def _subjects(self, envelope: Envelope, id: str) -> list[str]:
        """The other persons of whom a command speaks, as far as it can be read."""
        names = self._others.get(envelope.type)
        if not names:
            return []
        try:
            if envelope.content_type == JSON:
                data = msgspec.json.decode(envelope.data)
            else:
                data = msgspec.to_builtins(self._commands.decode_one(envelope.data))
            found = [data.get(name) for name in names]
        except Exception:  # it is no command, so nobody says that the field names somebody
            return []
        return sorted({it for it in found if isinstance(it, str) and it} - {id})


def is_sealed(headers: Iterable[tuple[str, bytes | None]]) -> bool:
    """Whether a message that was kept is sealed."""
    return any(name == SEALED_FOR for name, _ in headers)


def opened_value(
    type: str, key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes | None]], sealer: Sealer
) -> bytes | None:
    """The value of a message that was kept, as it came. Raises `KeysNeeded`, `CannotOpen`."""
    said = [text for name, text in headers if name == SEALED_FOR]
    if not said or value is None:
        return value
    try:
        subjects = _decode_subjects(said[-1] or b"")
    except msgspec.DecodeError:
        raise CannotOpen(f"the header {SEALED_FOR} is none of ours") from None
    if not subjects:
        raise CannotOpen(LEFT_OUT)
    id = (key or b"").decode(errors="replace")
    for subject in reversed(subjects):
        try:
            text = sealer.unseal(Sealed(type, id, 0, FIELD, subject, value))
            if text is None:
                raise CannotOpen(FORGOTTEN)
            value = text.encode("latin-1")
        except ValueError as error:
            raise CannotOpen(f"the command cannot be opened: {error}") from None
    return value


async def open_kept(
    sealer: Sealer | None,
    type: str,
    key: bytes | None,
    value: bytes | None,
    headers: Sequence[tuple[str, bytes | None]],
) -> bytes | None:
    """The value of a message that was kept, as it came. Raises `CannotOpen`, and what the stores of keys raise."""
    if not is_sealed(headers):
        return value
    if sealer is None:
        raise CannotOpen("the command is sealed, and its type has no keys here")
    return await with_keys(sealer, partial(opened_value, type, key, value, headers, sealer))


def _id_of(message: Message) -> str:
    try:
        return (message.key or b"").decode()
    except UnicodeDecodeError:
        return ""
