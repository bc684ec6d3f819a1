"""What is made of files that somebody changes while the process runs: certificates, tokens, grants."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from streams.notices import NOTICES, say_error
from streams.settings import SettingsError

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""A file of text is looked at as often as that."""

Stamp = tuple[tuple[int, int, int], ...]

T = TypeVar("T")


def stamp_of(files: Sequence[str]) -> Stamp:
    """What changes with any of these files. Raises `OSError`."""
    stats = [os.stat(file) for file in files]
    return tuple((stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in stats)


class Renewed(Generic[T]):
    """A value that is made anew when one of its files has changed, as their `stamp` says.

    Files that cannot be read, or do not fit one another, as while they are being renewed, are left aside and said once:
    the value before goes on to count, and they are looked at again. Safe to use in several threads.

    setting  names the files in messages
    make     the value as the files say now. Raises `SettingsError`, also at first
    seconds  between two looks; 0: at each use
    """

    def __init__(self, setting: str, stamp: Callable[[], Stamp], make: Callable[[], T], seconds: float = 0.0) -> None:
        self._setting = setting
        self._stamp = stamp
        self._make = make
        self._seconds = seconds
        self._said = ""
        self._lock = threading.Lock()
        self._looked = time.monotonic()
        try:
            self._made_of = stamp()  # before they are read: what is renewed meanwhile is read again
        except OSError:
            self._made_of = ()  # what is made of them says which one it is
        self._value = make()

    @classmethod
    def of_text(cls, setting: str, path: str, read: Callable[[str], T]) -> Renewed[T]:
        """What a file says, made of its text by `read`, which raises `ValueError` for one that says nothing.

        Raises `SettingsError`.
        """

        def make() -> T:
            try:
                return read(Path(path).read_bytes().decode())
            except OSError as error:
                raise SettingsError(f"{setting}={path}: {error.strerror}") from None
            except ValueError as error:
                raise SettingsError(f"{setting}={path}: {error}") from None

        return cls(setting, lambda: stamp_of([path]), make, LOOK_SECONDS)

    @property
    def value(self) -> T:
        """As the files say now."""
        with self._lock:  # of threads that come at once, one makes it
            if time.monotonic() - self._looked >= self._seconds:
                self._looked = time.monotonic()
                self._look()
            return self._value

    def _look(self) -> None:
        try:
            stamp = self._stamp()
            if stamp != self._made_of:
                self._value, self._made_of = self._make(), stamp
                if self._stamp() != stamp:
                    return  # they are being renewed at this moment: the next look takes them all, and says so
                log.warning("%s: its files are renewed, and count from now on", self._setting)
            if self._said:
                self._said = ""
                NOTICES.over("file-unreadable", self._setting)
        except (OSError, SettingsError) as error:
            reason = str(error) if isinstance(error, SettingsError) else f"{self._setting}: {error}"
            if reason != self._said:
                self._said = reason
                say_error(log, "file-unreadable", self._setting, "%s; what stood there before goes on to count", reason)
