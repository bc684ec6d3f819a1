"""A sealer without keys, for tests of what is personal that are not about keys: what it seals can be read."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from aggregates.personal import Sealed
from schemas.sealing import KeysNeeded, Place, SubjectIsErased


class InTheClear:
    """Leaves a value as it is, and says of the `erased` subjects that they were forgotten."""

    lease = 60.0

    def __init__(self, *erased: str) -> None:
        self.erased = set(erased)

    def seal(self, type: str, place: Place, field: str, subject: str, value: str) -> bytes:
        if subject in self.erased:
            raise SubjectIsErased(subject)
        return value.encode()

    def unseal(self, sealed: Sealed) -> str | None:
        return None if sealed.subject in self.erased else sealed.envelope.decode()

    def cold(self, subjects: Iterable[str]) -> list[str]:
        return []

    async def fetch(self, subjects: Collection[str], create: bool = False) -> None:
        """Nothing is needed."""

    async def fetch_needed(self, needed: KeysNeeded) -> None:
        """Nothing is needed."""
