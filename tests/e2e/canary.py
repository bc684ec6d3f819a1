"""Looks for a text in the raw files of everything: in every encoding in which it might stand there, unpacked too."""

from __future__ import annotations

import base64
import gzip
import json
import mmap
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, quote_plus

import cramjam

from tests.e2e.client import eventually
from tests.e2e.system import ROOT
from tests.stores import flush_soon, postgres

SERVERS = Path(os.environ.get("SERVERS_DIR", ROOT / ".servers"))
IN_THE_CLEAR = ("-commands",)
"""Topics that hold commands as their senders wrote them, for as long as `retention.ms` says: see `docs/privacy.md`."""
OF_THE_BROKER = "__"
"""What its own topics begin with."""


@dataclass
class Searched:
    """What a search has gone through, and where what it looked for stands: `file: form`."""

    files: int = 0
    bytes: int = 0
    found: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.files} files, {self.bytes:,} bytes, found {len(self.found)} times"


def forms(text: str) -> set[bytes]:
    """The text as it may stand in a file. Of Base64 what does not depend on the bytes around it."""
    raw = text.encode()
    found = {raw, text.encode("utf-16-le"), text.encode("utf-16-be"), raw.hex().encode(), raw.hex().upper().encode()}
    found |= {quote(text).encode(), quote_plus(text).encode(), json.dumps(text)[1:-1].encode()}
    found |= {"".join(f"\\u{ord(character):04x}" for character in text).encode(), raw[::-1]}
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for before in range(3):
            # Four characters are three bytes: the first and the last ones may have others beside them.
            encoded = encode(b"\0" * before + raw)
            found.add(encoded[4 if before else 0 : len(encoded) // 4 * 4 - 4])
    return found


def search(files: Iterable[Path], text: str) -> Searched:
    """Look for a text in these files."""
    wanted, searched = forms(text), Searched()
    for file in files:
        try:
            size = file.stat().st_size
            if size == 0:
                continue
            with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
                searched.found += [f"{file}: {form!r}" for form in wanted if data.find(form) >= 0]
        except FileNotFoundError:  # servers write anew, and remove
            continue
        searched.files, searched.bytes = searched.files + 1, searched.bytes + size
    return searched


def below(folder: Path) -> Iterator[Path]:
    """All files."""
    return (file for file in folder.rglob("*") if file.is_file() and not file.is_symlink())


def kafka_files(namespace: str, in_the_clear: bool = False) -> Iterator[Path]:
    """What the broker has of a namespace, and its own topics. Topics of commands stand by themselves: they are what is
    `in_the_clear`."""
    for folder in (SERVERS / "kafka" / "data").iterdir():
        topic = folder.name.rpartition("-")[0]
        is_ours = topic.startswith(namespace) or (topic.startswith(OF_THE_BROKER) and not in_the_clear)
        if folder.is_dir() and is_ours and topic.endswith(IN_THE_CLEAR) == in_the_clear:
            # Indexes are made 10 MB large at once, and hold offsets and times alone.
            yield from (file for file in below(folder) if file.suffix not in (".index", ".timeindex"))


def store_files(kind: str) -> Iterator[Path]:
    """All that a database has: its tables, and its log of what was written."""
    return below(SERVERS / kind / "data")


def server_logs() -> Iterator[Path]:
    """What the servers say for people."""
    return SERVERS.glob("*/log")


def unpack_backup(folder: Path, into: Path) -> None:
    """Write what the files of a backup hold to files in another folder."""
    for file in folder.iterdir():
        (into / file.name).write_bytes(gzip.decompress(file.read_bytes()))


async def unpack_cassandra(url: str, namespace: str, into: Path) -> None:
    """Write what the compressed tables of a namespace's keyspaces hold to files in a folder, once there are some."""
    await flush_soon(url, namespace)
    tables = SERVERS / "cassandra" / "data" / "data"
    await eventually(lambda: [*tables.glob(f"{namespace}*/commits*/*-Data.db")], 30, "no commits in files")
    for number, file in enumerate(tables.glob(f"{namespace}*/*/*-Data.db")):
        try:
            (into / f"{number}-{file.parent.name}-Data.db").write_bytes(_unpacked(file))
        except FileNotFoundError:  # compacted meanwhile
            continue


def _unpacked(file: Path) -> bytes:
    """The blocks of LZ4 of a file of Cassandra: where they begin stands in the file CompressionInfo beside it."""
    info = file.with_name(file.name.replace("-Data.db", "-CompressionInfo.db")).read_bytes()
    at = 2 + int.from_bytes(info[:2])  # the name of the compressor
    options = int.from_bytes(info[at : at + 4])
    at += 4
    for _ in range(2 * options):
        at += 2 + int.from_bytes(info[at : at + 2])
    _, most, _, count = struct.unpack_from(">iiqi", info, at)
    starts = struct.unpack_from(f">{count}q", info, at + 20)
    data = file.read_bytes()
    found = []
    for start, end in zip(starts, [*starts[1:], len(data)], strict=True):
        block = data[start : end - 4]  # without its checksum
        found.append(block if len(block) >= most else bytes(cramjam.lz4.decompress_block(block)))
    return b"".join(found)


async def unpack_postgres(url: str, namespace: str, into: Path) -> None:
    """Write the rows of all tables of a namespace's schemas to files in a folder: what is long is compressed where it
    is kept."""
    async with postgres(url) as connection:
        for schema, table in await connection.fetch("SELECT schemaname, tablename FROM pg_tables"):
            if schema.startswith(namespace):
                rows = await connection.fetch(f'SELECT it::text FROM "{schema}"."{table}" AS it')
                (into / f"{schema}.{table}").write_text("\n".join(row for (row,) in rows))
