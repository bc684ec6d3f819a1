"""Looks for a text in the raw files of everything: in every encoding in which it might stand there."""

from __future__ import annotations

import base64
import json
import mmap
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

from tests.e2e.system import ROOT

SERVERS = Path(os.environ.get("SERVERS_DIR", ROOT / ".servers"))
IN_THE_CLEAR = ("-commands",)
"""Topics that hold commands as their senders wrote them, for a week: see `docs/privacy.md`. They are left out of the
search here and nowhere else."""


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


def found_in(files: Iterable[Path], text: str) -> list[str]:
    """Where the text stands: `file: form`."""
    wanted = forms(text)
    return [f"{file}: {form!r}" for file in files for form in wanted if _has(file, form)]


def _has(file: Path, form: bytes) -> bool:
    try:
        if file.stat().st_size == 0:
            return False
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return data.find(form) >= 0
    except FileNotFoundError:  # servers write anew, and remove
        return False


def below(folder: Path) -> Iterator[Path]:
    """All files."""
    return (file for file in folder.rglob("*") if file.is_file() and not file.is_symlink())


def kafka_files(namespace: str) -> Iterator[Path]:
    """What the broker has of a namespace, but for what is in the clear."""
    for folder in (SERVERS / "kafka" / "data").glob(f"{namespace}*"):
        topic = folder.name.rpartition("-")[0]
        if folder.is_dir() and not topic.endswith(IN_THE_CLEAR):
            # Indexes are made 10 MB large at once, and hold offsets and times alone.
            yield from (file for file in below(folder) if file.suffix not in (".index", ".timeindex"))


def store_files(kind: str, namespace: str) -> Iterator[Path]:
    """What a database has: of Cassandra the keyspaces of the namespace, and its log of commits, of PostgreSQL all."""
    match kind:
        case "cassandra":
            for folder in (SERVERS / "cassandra" / "data").rglob("*"):
                if folder.is_dir() and (folder.name.startswith(namespace) or folder.name == "commitlog"):
                    yield from below(folder)
        case "postgres":
            for part in ("base", "pg_wal"):
                for folder in (SERVERS / "postgres" / "data").rglob(part):
                    yield from below(folder)
