"""Commands that are due at a steady rate, and when each was replied to and seen in the table.

Times count from when a command is due, whenever it is really sent: who is late, and be it this client, makes all that
follows late, and none of it is left out. A command is *visible* when a client that follows the list of orders over
server-sent events has a row with its event in it. So the time holds the stream itself, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import time
import uuid
from array import array
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Sequence

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from streams.deciding.messages import Reply, command_headers, decode_reply
from streams.kafka.topics import commands_topic
from streams.settings import Settings
from tests.bench.asking import connect, length_of, read_head, request
from tests.bench.watchers import STREAM
from tests.contract.topics import topics
from tests.e2e.orders import LINE, OPEN

OPENED_AT_ONCE = 500
WAIT_SECONDS, AGAIN_SECONDS = 60.0, 0.05

_ROW = re.compile(rb'^data: \{"id": *"([^"]+)".*"sequence": *(\d+)')

NEVER = 0.0


class Timed:
    """The commands of one run by their numbers: when each was `due`, `sent`, `replied` to and `visible`."""

    def __init__(self, rate: float, seconds: float) -> None:
        count = int(rate * seconds)
        self.rate = rate
        self.due, self.sent, self.replied, self.visible = (array("d", bytes(8 * count)) for _ in range(4))
        self.sequences = array("q", bytes(8 * count))
        """The number that each event has in its order."""

    def __len__(self) -> int:
        return len(self.due)


class TimedLoad:
    """Orders, one client that sends lines for them and hears of their replies, and one that follows their list."""

    def __init__(self, settings: Settings, orders: int, url: str) -> None:
        self.settings = settings
        self._url = url
        self._topic = commands_topic(settings.namespace, "order")
        self._replies = f"{settings.namespace}bench-replies"
        """A topic of its own, as one client has it: one partition, of which each answer holds what has come."""
        self._orders = [f"o{number}" for number in range(orders)]
        self._sequences = dict.fromkeys(self._orders, 0)
        self._waiting: defaultdict[str, deque[tuple[int, int]]] = defaultdict(deque)
        """By order: number and sequence of the commands that are not visible yet."""
        self._run, self._looks = "", 0
        self.on_reply: Callable[[Timed, int, Reply], None] = lambda timed, number, reply: None
        self.on_visible: Callable[[Timed, int, str], None] = lambda timed, number, order: None
        """Called for some commands, when they are replied to, and when the row of the order is there."""
        self._timed = Timed(0, 0)
        self._unseen = self._unanswered = 0
        self._begun = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @contextlib.asynccontextmanager
    async def clients(self) -> AsyncIterator[None]:
        """Connect, and open the orders."""
        servers = self.settings.bootstrap_servers
        async with (
            topics(self._replies),
            AIOKafkaProducer(
                bootstrap_servers=servers, acks="all", enable_idempotence=True, linger_ms=0
            ) as self._producer,
            AIOKafkaConsumer(bootstrap_servers=servers, fetch_max_wait_ms=500) as consumer,
        ):
            consumer.assign([TopicPartition(self._replies, 0)])
            await consumer.seek_to_end()
            reader, writer = await connect(self._url)
            writer.write(request("/orders", STREAM))
            status, head = await read_head(reader)
            if status != 200:
                raise RuntimeError(f"no stream of orders: {head.decode()}")
            self._tasks = [asyncio.create_task(self._hear(consumer)), asyncio.create_task(self._follow(reader))]
            try:
                async with asyncio.timeout(WAIT_SECONDS):
                    await self._begun.wait()
                await self._open()
                yield
            finally:
                writer.close()
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _open(self) -> None:
        for start in range(0, len(self._orders), OPENED_AT_ONCE):
            some = self._orders[start : start + OPENED_AT_ONCE]
            self._begin(Timed(len(some), 1))
            for number, order in enumerate(some):
                await self._send(number, order, "OpenOrder", json.dumps(OPEN).encode())
            await self._done()

    def _begin(self, timed: Timed) -> None:
        self._run, self._timed, self._looks = uuid.uuid4().hex, timed, 0
        self._unanswered = self._unseen = len(timed)
        self._waiting.clear()

    async def send(self, rate: float, seconds: float, looks: int = 0) -> Timed:
        """Send at a steady rate for so long, and return when all is replied to and visible. About `looks` of them are
        told to `on_reply` and `on_visible`. Raises `RuntimeError`, also where one is not accepted."""
        timed, data = Timed(rate, seconds), json.dumps(LINE).encode()
        self._begin(timed)
        self._looks = len(timed) // looks if looks else 0
        choose, begin = random.Random(len(timed)).choice, time.perf_counter() + 0.1
        for number in range(len(timed)):
            due = timed.due[number] = begin + number / rate
            if (early := due - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            timed.sent[number] = time.perf_counter()
            await self._send(number, choose(self._orders), "AddLine", data)
        await self._done()
        return timed

    async def _send(self, number: int, order: str, type: str, data: bytes) -> None:
        self._timed.sequences[number] = self._sequences[order] = self._sequences[order] + 1
        self._waiting[order].append((number, self._sequences[order]))
        headers = command_headers(f"{self._run}-{number}", type, "/bench", self._replies)
        await self._producer.send(self._topic, data, key=order.encode(), headers=headers)

    async def _done(self) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while self._unanswered or self._unseen:
            for task in self._tasks:
                if task.done():
                    task.result()
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self._unanswered} replies are missing, {self._unseen} are not visible")
            await asyncio.sleep(0.02)

    async def _hear(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            for records in (await consumer.getmany(timeout_ms=1_000)).values():
                now = time.perf_counter()
                for record in records:
                    run, _, number = record.key.decode().rpartition("-")
                    if run == self._run and self._timed.replied[int(number)] == NEVER:
                        self._replied(int(number), now, record.value)

    def _replied(self, number: int, now: float, value: bytes) -> None:
        self._timed.replied[number] = now
        self._unanswered -= 1
        reply = decode_reply(value)
        if reply.status != "accepted":
            raise RuntimeError(f"not accepted: {value!r}")
        if self._is_looked_at(number):
            self.on_reply(self._timed, number, reply)

    def _is_looked_at(self, number: int) -> bool:
        return self._looks > 0 and number % self._looks == 0

    async def _follow(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            if found := _ROW.match(line):
                self._seen(found[1].decode(), int(found[2]), time.perf_counter())
            elif line.startswith(b"event: begin"):
                self._begun.set()
        raise RuntimeError("the stream of orders has ended")

    def _seen(self, order: str, sequence: int, now: float) -> None:
        waiting = self._waiting[order]
        while waiting and waiting[0][1] <= sequence:  # a newer row tells of all changes before it
            number, _ = waiting.popleft()
            self._timed.visible[number] = now
            self._unseen -= 1
            if self._is_looked_at(number):
                self.on_visible(self._timed, number, order)


async def row_sequence(url: str, order: str, at_least: str = "") -> int:
    """The sequence of the row of an order, by a query, that waits for a position if one is named; 0 for no row.

    It is asked again while the worker answers that it does not have it yet. Raises `TimeoutError` after a minute.
    """
    reader, writer = await connect(url)
    try:
        asked = request(f"/orders/{order}")
        asked = asked[:-2] + f"At-Least: {at_least}\r\n\r\n".encode() if at_least else asked
        async with asyncio.timeout(WAIT_SECONDS):
            status, body = await _answer(reader, writer, asked)
            while status == 503:
                await asyncio.sleep(AGAIN_SECONDS)
                status, body = await _answer(reader, writer, asked)
        return int(json.loads(body)["sequence"]) if status == 200 else 0
    finally:
        writer.close()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: bytes) -> tuple[int, bytes]:
    writer.write(asked)
    status, head = await read_head(reader)
    return status, await reader.readexactly(length_of(head))


def milliseconds(begins: Sequence[float], ends: Sequence[float]) -> list[float]:
    """How long each took, from the shortest."""
    return sorted((end - begin) * 1e3 for begin, end in zip(begins, ends, strict=True))


def at(ordered: Sequence[float], part: float) -> float:
    """A percentile: 0.5 for the median, 1 for the maximum."""
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)]
