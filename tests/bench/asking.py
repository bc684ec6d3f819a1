"""Many GETs over connections that stay open, and how long each took. A client library costs more than the server."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


class Asked(NamedTuple):
    """Answers a second, and milliseconds that half of them and 99 of a hundred took at most."""

    rate: float
    p50: float
    p99: float


def percentiles(seconds: Sequence[float]) -> tuple[float, float]:
    """The 50th and the 99th, in milliseconds."""
    ordered = sorted(seconds)
    return ordered[len(ordered) // 2] * 1e3, ordered[len(ordered) * 99 // 100] * 1e3


async def connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to the worker at a URL."""
    place = urlsplit(url)
    return await asyncio.open_connection(place.hostname, place.port)


def request(path: str, accept: str = "application/json") -> bytes:
    """A GET."""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: {accept}\r\n\r\n".encode()


async def read_head(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Status and headers of an answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), head


def length_of(head: bytes) -> int:
    """Bytes of the body that follows these headers."""
    length = _LENGTH.search(head)
    return int(length[1]) if length else 0


async def ask(url: str, paths: Sequence[str], in_flight: int, seconds: float) -> Asked:
    """Ask for these paths at random, `in_flight` at a time. Raises `RuntimeError` for any answer but 200."""
    took: list[float] = []
    end = time.perf_counter() + seconds

    async def one(choose: random.Random) -> None:
        reader, writer = await connect(url)
        try:
            while (began := time.perf_counter()) < end:
                path = choose.choice(paths)
                writer.write(request(path))
                status, head = await read_head(reader)
                body = await reader.readexactly(length_of(head))
                if status != 200:
                    raise RuntimeError(f"{url}{path} answered {status}: {body[:500]!r}")
                took.append(time.perf_counter() - began)
        finally:
            writer.close()

    await asyncio.gather(*(one(random.Random(number)) for number in range(in_flight)))
    return Asked(len(took) / seconds, *percentiles(took))
