"""Errors of SQLite by their meaning for a file that can be made again: damage, a passing trouble, or a bug."""

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
    """A file does not hold the bytes that were written, or holds them in a form of the past: it is to be made again."""


def is_damage(error: Exception) -> bool:
    """Whether a file cannot be used any more."""
    return isinstance(error, Damaged) or _code(error) in _DAMAGE or _kind(error) == sqlite3.SQLITE_CORRUPT


def is_not_now(error: Exception) -> bool:
    """Whether the disk or another process is in the way: a later attempt may succeed."""
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
    """The low byte of an error code, which says what happened; the other bytes say where."""
    return _code(error) & 0xFF
