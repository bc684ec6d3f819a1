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
from collections.abc import Mapping, Sequence
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


class Forged(Exception):
    """A command does not come from whom it says."""


class UnknownKey(Forged):
    """A signature is of a key that is not known here: of none, of one that is kept no longer, or of one to come."""


class Key(NamedTuple):
    """A key, and the id by which others know it."""

    id: str
    secret: bytes


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
    claims = b""
    if principal.groups or principal.roles:
        claims = _encode_claims(_Claims(principal.groups, principal.roles))
    who, origin = parts_of(principal.text)
    said = {PRINCIPAL: who.encode(), CLAIMS: claims, BEHALF: origin.encode()}
    headers = [(name, value) for name, value in said.items() if value]
    return [*headers, (PROOF, f"{key.id}:{_mac(key.secret, said, command)}".encode())]


def verified(said: Mapping[str, bytes], command: Signed, keys: VerifyingKeys) -> Principal:
    """Who has sent a command, as its headers say. Raises `Forged`."""
    id, _, mac = said.get(PROOF, b"").decode(errors="replace").partition(":")
    if not id:
        raise Forged("it is not signed")
    secret = keys.of_type(id, command.type)
    if secret is None:
        raise UnknownKey(f"it is signed with the key {id[:40]!r}, which is not known here")
    who = said.get(PRINCIPAL, b"").decode(errors="replace")
    origin = said.get(BEHALF, b"").decode(errors="replace")
    try:
        principal = Principal.parse(f"{who}\n{origin}" if origin else who)
    except ValueError as error:
        raise Forged(str(error)) from None
    if principal is None:
        raise Forged("it is signed, and names nobody")
    whose = derived(secret, who) if principal.is_process else derived(secret, PEOPLE)
    if not hmac.compare_digest(_mac(whose, said, command).encode(), mac.encode()):
        raise Forged(f"its signature is not that of {principal}, or of another command")
    if claims := said.get(CLAIMS):
        more = _decode_claims(claims)
        principal = replace(principal, groups=more.groups, roles=more.roles)
    return principal


def _mac(secret: bytes, said: Mapping[str, bytes], command: Signed) -> str:
    parts: Sequence[bytes] = (
        *(said.get(name, b"") for name in (PRINCIPAL, CLAIMS, BEHALF)),
        *(text.encode() for text in (command.type, command.aggregate_id, command.id, command.name)),
        *(text.encode() for text in (command.content_type, command.expected_sequence, command.deadline)),
        command.data,
    )
    text = b"".join([b"%d:%s" % (len(part), part) for part in parts])
    return blake2b(text, key=secret, digest_size=_MAC_BYTES).hexdigest()
