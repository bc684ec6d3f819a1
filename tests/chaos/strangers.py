"""Strangers who write to every topic of a system what is no command, no event, no order, no reply and no row."""

from __future__ import annotations

import asyncio
import itertools
import random
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaProducer
from aiokafka.record.default_records import DefaultRecordBase
from aiokafka.record.util import calc_crc32c

from tests.e2e.client import PARTITIONS
from tests.e2e.system import System

DEEP = b"[" * 5_000
MARK = "stranger", b"1"
"""The header by which tests know what is not the system's own."""

Headers = tuple[tuple[str, bytes], ...]
Written = tuple[bytes | None, bytes | None, Headers]

COMMANDS: list[Written] = [
    (b"s", b'{"type":"OpenOrder","data":' + DEEP + b"}", ()),
    (b"s", DEEP, (("ce_type", b"OpenOrder"),)),
    (b"s", DEEP, (("ce_type", b"#release"),)),
    (b"s", b"\xff", (("ce_type", b"#release"),)),
    (b"\xff\xfe", b"{}", (("ce_type", b"OpenOrder"),)),
    (b"s", b"{}", (("ce_type", b"\xff"), ("ce_id", b"\xff"))),
    (b"s", b"{}", (("ce_type", b"OpenOrder"), ("ce_type", b"AddLine"))),
    (b"s", b"{}", (("ce_type", b"OpenOrder"), ("ce_id", b"x" * 5_000), ("ce_traceparent", b"x" * 20_000))),
    (b"s", b"{}", (("ce_type", b"OpenOrder"), ("ce_replyto", b"x" * 5_000))),
    (b"s", b"{}", (("ce_type", b"OpenOrder"), ("ce_deadline", b"99999-01-01"))),
    (b"s", b"{}", (("ce_type", b"OpenOrder"), ("\x01\x02", b"x"))),
    (b"s", b"{", (("ce_type", b"AddLine"), ("dl_type", b"\xff"), ("dl_position", b":::"), ("dl_dropped", b"x"))),
    (b"s", b'{"quantity":' + b"9" * 5_000 + b"}", (("ce_type", b"AddLine"),)),
    (b"s", b"\xc3\x01" + b"\xff" * 20, (("ce_type", b"AddLine"), ("content-type", b"avro/binary"))),
    (None, b"{}", (("ce_type", b"OpenOrder"),)),
    (b"s", None, (("ce_type", b"OpenOrder"),)),
    (b"s", None, ()),
]
"""None of them can have an effect. `\\x01\\x02` becomes a name that is no text."""

FOREIGN: list[Written] = [
    (b"s", b"hello", ()),
    (b"s", DEEP, (("ce_type", b"OrderOpened"), ("ce_id", b"x"), ("ce_position", b"order-0:x:0"))),
    (b"\xff", b"\xff\x00", (("ce_position", b"9" * 5_000), ("\x01\x02", b""))),
    (b"serving/orders", b'{"table":' + DEEP, ()),
    (b"generation/orders-1", b'{"generation":"x"}', ()),
    (b"paused/orders", b"null", ()),
    (b"orders-1\x00rs", b"{}", ()),
    (b"orders-1\x00p", b"\xff", ()),
    (b"s", b'{"status":"accepted","command_id":' + DEEP, ()),
    (None, b"9" * 5_000, ()),
]

ELSEWHERE = (
    "order-events", "order-commits", "projections-control", "projections-order-rows-changelog", "gateway-replies",
    "replies",
)  # fmt: skip


class Strangers:
    """`sent` counts what they have sent to the command topic of orders."""

    def __init__(self, system: System) -> None:
        self.sent = 0
        self._system = system

    @asynccontextmanager
    async def at_work(self, pace: float) -> AsyncIterator[None]:
        """So many records a second, on all topics in turn."""
        async with AIOKafkaProducer(bootstrap_servers=self._system.servers) as producer:
            task = asyncio.create_task(self._write(producer, pace))
            yield
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _write(self, producer: AIOKafkaProducer, pace: float) -> None:
        present = await self._system.topics()
        topics = [self._system.topic(name) for name in ELSEWHERE if self._system.topic(name) in present]
        for number in itertools.count():
            await self._send(producer, self._system.topic("order-commands"), PARTITIONS, COMMANDS, number)
            self.sent += 1
            topic = topics[number % len(topics)]
            await self._send(producer, topic, present[topic], FOREIGN, number // len(topics))
            await asyncio.sleep(2 / pace)  # the pace; nothing is waited for

    async def _send(
        self, producer: AIOKafkaProducer, topic: str, partitions: int, written: list[Written], number: int
    ) -> None:
        key, value, headers = written[number % len(written)]
        batch = producer.create_batch()
        batch.append(key=key, value=value, timestamp=None, headers=[*headers, MARK])
        batch.close()
        if any(name == "\x01\x02" for name, _ in headers):
            batch._buffer = _renamed(bytearray(batch._build()))
        await (await producer.send_batch(batch, topic, partition=random.randrange(partitions)))


def _renamed(raw: bytearray) -> bytearray:
    """A batch with a header whose name is no text."""
    at = raw.index(b"\x04\x01\x02") + 1
    raw[at : at + 2] = b"\xff\xfe"
    crc = calc_crc32c(bytes(raw[DefaultRecordBase.ATTRIBUTES_OFFSET :]))
    struct.pack_into(">I", raw, DefaultRecordBase.CRC_OFFSET, crc)
    return raw
