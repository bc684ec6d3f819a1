"""The port of key management: it wraps little secrets by keys that never leave it, and can destroy such a key.

Only the key of each period is wrapped here, once a week; those of subjects are wrapped by that, in the worker.
"""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class KeyDestroyed(Exception):
    """The key that wrapped a secret is gone, or will be: what it wrapped cannot be read any more."""


class KeyManagement(Protocol):
    """All raise `Unavailable` where it does not answer, `NotPermitted` where it refuses, and `SettingsError`."""

    async def create(self, name: str) -> str:
        """Make a key. Returns its id: the name, or what it is called there."""

    async def wrap(self, key: str, secret: bytes) -> bytes:
        """A secret of at most 4 KB as nobody can read it without the key. Raises `KeyDestroyed`."""

    async def unwrap(self, key: str, wrapped: bytes) -> bytes:
        """The secret. Raises `KeyDestroyed`, and `ValueError` for what the key has not wrapped."""

    async def destroy(self, key: str) -> datetime:
        """Destroy a key; it wraps and unwraps no more from now on. Returns when nobody can bring it back any more, UTC.
        Safe to repeat."""

    async def close(self) -> None:
        """Let go of connections."""

    def __str__(self) -> str:
        """What it is and where, for people, without secrets."""
