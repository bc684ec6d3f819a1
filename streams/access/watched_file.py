"""A file that people change while workers run: it is read anew when it has changed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from streams.settings import SettingsError

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0

T = TypeVar("T")


class WatchedFile(Generic[T]):
    """What a file says, made of its text by `read`, which raises `ValueError` for one that says nothing.

    `setting` names the file. Raises `SettingsError` at first; a later text that cannot be read is said, and of no
    effect.
    """

    def __init__(self, setting: str, path: str, read: Callable[[str], T]) -> None:
        self._setting = setting
        self._path = Path(path)
        self._read = read
        self._looked = time.monotonic()
        self._state: tuple[int, int, int] | None = None
        self._value = self._load(self._stat())

    @property
    def value(self) -> T:
        """What it says now."""
        if time.monotonic() - self._looked >= LOOK_SECONDS:
            self._looked = time.monotonic()
            try:
                state = self._stat()
                if state != self._state:
                    self._value = self._load(state)
                    log.warning("%s: %s has changed, and counts from now on", self._setting, self._path)
            except SettingsError as error:
                log.error("%s: what stood there before goes on to count", error)
        return self._value

    def _stat(self) -> tuple[int, int, int]:
        try:
            found = self._path.stat()
        except OSError as error:
            raise SettingsError(f"{self._setting}={self._path}: {error.strerror}") from None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _load(self, state: tuple[int, int, int]) -> T:
        """What it says. One that cannot be opened just now, as where no descriptor is left, is looked at again."""
        try:
            text = self._path.read_bytes()
        except OSError as error:
            raise SettingsError(f"{self._setting}={self._path}: {error.strerror}") from None
        self._state = state
        try:
            return self._read(text.decode())
        except ValueError as error:
            raise SettingsError(f"{self._setting}={self._path}: {error}") from None
