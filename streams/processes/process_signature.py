"""In whose name a process manager sends: its own, on behalf of who has caused it."""

from __future__ import annotations

from collections.abc import Mapping

from aggregates.principal import Principal, process
from streams.deciding.messages import JSON
from streams.principals.signature import BEHALF, PRINCIPAL, Signed, SigningKeys, sign

SIGNATURE_BYTES = 1_200
"""The most that it adds to the headers of a command."""


class ProcessSignature:
    """Signs for the process manager `name`. Without `keys`, or while these have none, its commands are nobody's."""

    def __init__(self, name: str, keys: SigningKeys | None = None) -> None:
        self._name = name
        self._keys = keys

    def headers(
        self,
        to: str,
        aggregate_id: str,
        id: str,
        command: str,
        data: bytes,
        cause: Principal | None,
        *,
        expected_sequence: str = "",
    ) -> list[tuple[str, bytes]]:
        """The headers of a command to an aggregate of the type `to`, in JSON, because of what `cause` has done."""
        key = None if self._keys is None else self._keys.of_process(self._name, to)
        if key is None:
            return []
        signed = Signed(to, aggregate_id, id, command, data, JSON, expected_sequence)
        return sign(process(self._name, cause), signed, key)


def principal_of(headers: Mapping[str, bytes]) -> Principal | None:
    """Who has caused an event, as the headers of its record say."""
    who, origin = (headers.get(name, b"").decode(errors="replace") for name in (PRINCIPAL, BEHALF))
    return cause_of(f"{who}\n{origin}" if origin else who)


def cause_of(text: str) -> Principal | None:
    """Who has caused an event, of a `Principal.text`; None where it names nobody, whatever it says."""
    try:
        return Principal.parse(text)
    except ValueError:
        return None
