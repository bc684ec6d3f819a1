"""The headers of a command that say in whose name it comes, with a signature that only workers can make.

A key of the system is known to the workers of the read side alone. Of it the key of each aggregate type is made, which
its owners have too; and of that one the key for people, with which the gateway signs, and a key for each process
manager, which its own workers have. So an owner can check all that is sent to it, who sends to it can speak in the name
of his own processes alone, and nobody but the read side in that of a person.

A signature covers who it is, the aggregate, the command and its data, so it is of no use for another command; the same
command again is decided once, by its id. It holds for as long as its key is kept: when it is decided does not matter.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple, Protocol

import msgspec

from aggregates.principal import Principal, parts_of

PRINCIPAL, CLAIMS, BEHALF, PROOF = "ce_principal", "ce_principalclaims", "ce_onbehalfof", "ce_proof"
"""Who; his groups and roles in JSON, where he has some; for whom a process works; and `<id of the key>:<hex>`."""
HEADERS = (PRINCIPAL, CLAIMS, BEHALF, PROOF)
PEOPLE = "people"
"""Of what the key is made with which the gateway signs. No process has such a name."""
_MAC_BYTES = 16
_KEY_BYTES = 32
_PROCESSES = b"process:"
_LENGTHS = b"%d " * 11
_MOST_PRINCIPALS = 1_024


class Forged(Exception):
    """A command does not come from whom it says."""


class UnknownKey(Forged):
    """A signature is of a key that is not known here: of none, of one that is kept no longer, or of one to come."""


class Key(NamedTuple):
    """A key, and the id by which others know it."""

    id: str
    secret: bytes

    def __repr__(self) -> str:
        return f"Key({self.id!r})"


class VerifyingKeys(Protocol):
    """What an owner knows of keys."""

    def of_type(self, id: str, type: str) -> bytes | None:
        """The key of an aggregate type; None where it is not known."""

    async def catch_up(self) -> None:
        """Learn all keys that there are by now. Raises `Unavailable`."""


class SigningKeys(Protocol):
    """What a process manager knows of keys."""

    def of_process(self, name: str, type: str) -> Key | None:
        """The newest key with which it signs what it sends to a type; None where there is none."""


class Signed(NamedTuple):
    """What a signature covers of a command, beside the principal: aggregate, id, name, data, and when it holds."""

    type: str
    aggregate_id: str
    id: str
    name: str
    data: bytes
    content_type: str
    expected_sequence: str = ""
    deadline: str = ""


class _Claims(msgspec.Struct, omit_defaults=True):
    groups: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()


_encode_claims = msgspec.json.Encoder().encode
_decode_claims = msgspec.json.Decoder(_Claims).decode


@lru_cache(maxsize=4_096)
def derived(secret: bytes, of: str) -> bytes:
    """A key that is made of another one, which it does not tell."""
    return blake2b(of.encode(), key=secret, digest_size=_KEY_BYTES).digest()


def sign(principal: Principal, command: Signed, key: Key) -> list[tuple[str, bytes]]:
    """The headers with which a command comes from somebody."""
    said = _said(principal)
    return [*said.items(), (PROOF, f"{key.id}:{_mac(key.secret, said, command)}".encode())]


@lru_cache(maxsize=_MOST_PRINCIPALS)
def _said(principal: Principal) -> Mapping[str, bytes]:
    """The headers that say who it is."""
    claims = b""
    if principal.groups or principal.roles:
        claims = _encode_claims(_Claims(principal.groups, principal.roles))
    who, origin = parts_of(principal.text)
    said = {PRINCIPAL: who.encode(), CLAIMS: claims, BEHALF: origin.encode()}
    return {name: value for name, value in said.items() if value}


def verified(said: Mapping[str, bytes], command: Signed, keys: VerifyingKeys) -> Principal:
    """Who has sent a command, as its headers say. Raises `Forged`."""
    id, _, mac = said.get(PROOF, b"").decode(errors="replace").partition(":")
    if not id:
        raise Forged("it is not signed")
    secret = keys.of_type(id, command.type)
    if secret is None:
        raise UnknownKey(f"it is signed with the key {id[:40]!r}, which is not known here")
    who = said.get(PRINCIPAL, b"")
    whose = who.decode(errors="replace") if who.startswith(_PROCESSES) else PEOPLE
    if not hmac.compare_digest(_mac(derived(secret, whose), said, command).encode(), mac.encode()):
        raise Forged("its signature is of somebody else, or of another command")
    try:
        return named(said)
    except ValueError as error:
        raise Forged(str(error)) from None


def named(said: Mapping[str, bytes]) -> Principal:
    """Whom the headers of a command name, whose signature holds or has held. Raises `ValueError`."""
    return _principal(said.get(PRINCIPAL, b""), said.get(CLAIMS, b""), said.get(BEHALF, b""))


@lru_cache(maxsize=_MOST_PRINCIPALS)
def _principal(who: bytes, claims: bytes, origin: bytes) -> Principal:
    """The principal of headers whose signature holds: a worker has written them. Raises `ValueError`."""
    found = Principal.parse(f"{who.decode()}\n{origin.decode()}" if origin else who.decode())
    if found is None:
        raise ValueError("it is signed, and names nobody")
    more = _decode_claims(claims) if claims else _Claims()
    return replace(found, groups=more.groups, roles=more.roles)


def _mac(secret: bytes, said: Mapping[str, bytes], command: Signed) -> str:
    type, aggregate_id, id, name, data, content_type, expected_sequence, deadline = command
    parts = (
        said.get(PRINCIPAL, b""),
        said.get(CLAIMS, b""),
        said.get(BEHALF, b""),
        type.encode(),
        aggregate_id.encode(),
        id.encode(),
        name.encode(),
        content_type.encode(),
        expected_sequence.encode(),
        deadline.encode(),
        data,
    )
    lengths = _LENGTHS % tuple(map(len, parts))  # so that nothing can be moved from one part to the next
    return blake2b(lengths + b"".join(parts), key=secret, digest_size=_MAC_BYTES).hexdigest()
