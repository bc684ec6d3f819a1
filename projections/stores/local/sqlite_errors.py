"""What SQLite's errors mean for a copy of a changelog: that it is damaged, that it is not to be had now, or a bug."""

from __future__ import annotations

import errno
import sqlite3

_DAMAGE = {
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_IOERR_READ,
    sqlite3.SQLITE_IOERR_SHORT_READ,
    sqlite3.SQLITE_IOERR_CORRUPTFS,
}
_NOT_NOW = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_NOMEM,
}


class Damaged(Exception):
    """A file does not hold what was written; it can only be made again from the changelog."""


def is_damage(error: Exception) -> bool:
    """Whether a file cannot be used any more."""
    return isinstance(error, Damaged) or _code(error) in _DAMAGE or _kind(error) == sqlite3.SQLITE_CORRUPT


def is_not_now(error: Exception) -> bool:
    """Whether it is the disk, or another process: it may be otherwise when it is tried again."""
    return _kind(error) in _NOT_NOW


def is_in_use(error: Exception) -> bool:
    """Whether another process has the file."""
    return _kind(error) == sqlite3.SQLITE_BUSY


def is_without_room(error: Exception) -> bool:
    """Whether the disk is full."""
    return _kind(error) == sqlite3.SQLITE_FULL or (isinstance(error, OSError) and error.errno == errno.ENOSPC)


def _code(error: Exception) -> int:
    return getattr(error, "sqlite_errorcode", None) or 0


def _kind(error: Exception) -> int:
    """What stands in the low byte of a code; the rest says where."""
    return _code(error) & 0xFF
