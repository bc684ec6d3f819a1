"""The file of a backup: gzip of records in MessagePack, each behind its length in four bytes, big-endian.

The first record says what it is a backup of, then come the commits, log by log, each in the bytes that the journal
has; the last one counts them. What lacks its last record is no backup. A file gets its name when it is whole, and is on
the disk.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import msgspec

from streams.journal.commit_codec import commit_from, encode_payload
from streams.journal.layout import Layout
from streams.journal.port import Commit, Identity

FORMAT = 1
COMPRESSION = 5
_LENGTH = 4


class BackupError(Exception):
    """A backup that cannot be made or used; the message says why, in one line."""


class Begin(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """What the file is a backup of.

    format     of the file
    identity   whose journal it is
    taken_at   when its end was looked at, UTC
    layouts    by aggregate type the logs that it has
    ends       by log the number of its last commit in here, that before its first one for an empty log
    schemas    by which commits and events are read, by fingerprint
    """

    format: int
    identity: Identity
    taken_at: datetime
    layouts: Mapping[str, Layout]
    ends: Mapping[str, int]
    schemas: Mapping[str, str]


class Written(msgspec.Struct, frozen=True, tag=True):
    """A commit, its slices and events in the bytes of the journal."""

    log: str
    nr: int
    epoch: int
    owner: str
    topic_id: str
    derived_nr: int
    recorded_at: datetime
    payload: bytes


class End(msgspec.Struct, frozen=True, tag=True):
    """The number of commits, and of events in them."""

    commits: int
    events: int


_decoder = msgspec.msgpack.Decoder(Begin | Written | End)


class Writer:
    """Writes a backup; `commits` and `events` are those so far."""

    def __init__(self, file: gzip.GzipFile, begin: Begin) -> None:
        self.commits = self.events = 0
        self._file = file
        self._put(begin)

    def add(self, commit: Commit) -> None:
        """The next commit of its log."""
        payload = encode_payload(commit.slices, commit.events, commit.is_seal)
        told = commit.log, commit.nr, commit.epoch, commit.owner, commit.topic_id, commit.derived_nr
        self._put(Written(*told, commit.recorded_at, payload))
        self.commits += 1
        self.events += sum(event.is_event for event in commit.events)

    def end(self) -> None:
        """Nothing follows."""
        self._put(End(self.commits, self.events))

    def _put(self, record: Begin | Written | End) -> None:
        data = msgspec.msgpack.encode(record)
        self._file.write(len(data).to_bytes(_LENGTH, "big") + data)


@contextmanager
def written(path: Path, begin: Begin) -> Iterator[Writer]:
    """A new file, which gets its name when all is in it. Raises `BackupError` where it cannot be written."""
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as raw:
            with gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=COMPRESSION) as file:
                writer = Writer(file, begin)
                yield writer
                writer.end()
            raw.flush()
            os.fsync(raw.fileno())
        part.rename(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise BackupError(f"{path}: {error.strerror or error}") from None


class Reader:
    """Reads a backup, once: `begin`, then the commits. Raises `BackupError` for what is none, or not whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._records = self._read()
        first = next(self._records, None)
        if not isinstance(first, Begin):
            raise BackupError(f"{path} is no backup of a journal")
        if first.format > FORMAT:
            raise BackupError(f"{path} has format {first.format}, and this version knows {FORMAT}: use a newer one")
        self.begin = first

    def commits(self) -> Iterator[Commit]:
        """All commits, those of each log in their order. Raises `BackupError` at the end of a file that lacks some."""
        commits = events = 0
        for record in self._records:
            match record:
                case Written():
                    row = (record.nr, record.epoch, record.owner, record.topic_id, record.derived_nr)
                    commit = commit_from(record.log, (*row, None, record.payload), record.recorded_at)
                    commits += 1
                    events += sum(event.is_event for event in commit.events)
                    yield commit
                case End() if (commits, events) == (record.commits, record.events):
                    return
                case _:
                    break
        raise BackupError(f"{self.path} is not whole: it is cut off, or damaged, behind commit {commits}")

    def _read(self) -> Iterator[Begin | Written | End]:
        try:
            with gzip.open(self.path, "rb") as file:
                while length := file.read(_LENGTH):
                    yield _decoder.decode(file.read(int.from_bytes(length, "big")))
        except (EOFError, zlib.error, gzip.BadGzipFile, msgspec.MsgspecError):
            return  # what is missing tells
        except OSError as error:
            raise BackupError(f"{self.path}: {error.strerror or error}") from None
