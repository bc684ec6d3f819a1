"""The running system as its users see it: workers as processes, and Kafka, HTTP and the journal from outside."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.partitioner import murmur2
from aiokafka.structs import RecordMetadata
from cassandra.cluster import Cluster

from streams.cassandra_session import CassandraAddress
from streams.journal import Commit
from streams.journals import open_journal
from streams.quarantine import UNPARKED, is_note

ROOT = Path(__file__).parents[2]
PARTITIONS = 4
READY_SECONDS = 60.0
STOP_SECONDS = 20.0
PAUSE = 0.05

ORDERS, PRODUCTS, USERS = (f"streams.shop.{name}" for name in ("orders", "products", "users"))
PROJECTIONS = "projections.shop.app"

Headers = Sequence[tuple[str, bytes]]

_CODES = re.compile(r"\x1b\[[?0-9;]*[A-Za-z]")


async def eventually(probe: Callable[[], Any], seconds: float, what: Callable[[], str] | str) -> Any:
    """The first true result of `probe`, asked again and again; fails with `what` when there is none in time."""
    deadline = time.monotonic() + seconds
    while True:
        found = probe()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return found
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:g} s: {what if isinstance(what, str) else what()}")
        await asyncio.sleep(PAUSE)


def partition_of(key: str) -> int:
    """Where the reference partitioner puts a key."""
    return int(murmur2(key.encode()) & 0x7FFFFFFF) % PARTITIONS


def keys_of(partition: int, prefix: str) -> Iterable[str]:
    """Keys with this prefix that belong to a partition, without end."""
    number = 0
    while True:
        if partition_of(f"{prefix}{number}") == partition:
            yield f"{prefix}{number}"
        number += 1


def headers(id: str, type: str, reply_to: str = "", **others: str) -> list[tuple[str, bytes]]:
    """CloudEvents binary mode; `others` as in `deadline="..."`, and `content_type`."""
    content_type = others.pop("content_type", "application/json")
    attributes = {"specversion": "1.0", "id": id, "type": type, "source": "/tests/e2e", "replyto": reply_to, **others}
    found = [(f"ce_{name}", value.encode()) for name, value in attributes.items() if value]
    return [*found, ("content-type", content_type.encode())]


@dataclass
class Worker:
    """A worker process and its log."""

    module: str
    port: int
    log: Path
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def lines(self) -> list[str]:
        return self.log.read_text(errors="replace").splitlines()

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to this process alone."""
        self.process.send_signal(number)

    def tail(self) -> str:
        """The end of the log, for people."""
        return f"the end of {self.log}:\n" + "\n".join(self.lines[-30:])


@dataclass
class Inbox:
    """What has arrived on a topic since its beginning, and goes on arriving."""

    records: list[Any] = field(default_factory=list)
    by_key: defaultdict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    consumer: AIOKafkaConsumer | None = None
    task: asyncio.Task[None] | None = None

    async def open(self, servers: list[str], topic: str, partitions: int) -> None:
        """Begin to read."""
        self.consumer = AIOKafkaConsumer(bootstrap_servers=servers, auto_offset_reset="earliest")
        await self.consumer.start()
        self.consumer.assign([TopicPartition(topic, p) for p in range(partitions)])
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.consumer is not None
        async for record in self.consumer:
            self.records.append(record)
            self.by_key[(record.key or b"").decode(errors="replace")].append(record)

    async def close(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
        if self.consumer is not None:
            await self.consumer.stop()

    async def answer(self, key: str, count: int = 1, seconds: float = 15) -> dict[str, Any]:
        """The reply number `count` to a command, as JSON."""
        await eventually(lambda: len(self.by_key[key]) >= count, seconds, f"reply {count} to {key}")
        return dict(json.loads(self.by_key[key][count - 1].value))


class System:
    """One namespace on the servers, with workers of its own. Made and taken down by the fixture `system`."""

    def __init__(self, data: Path, cassandra_url: str) -> None:
        self.namespace = f"t{uuid.uuid4().hex[:6]}_"
        self.data = data
        self.brokers = os.environ.get("KAFKA_BROKERS", "kafka://127.0.0.1:9092")
        self.servers = [url.rpartition("//")[2] for url in self.brokers.split(";")]
        self.journal_url = cassandra_url
        self.workers: list[Worker] = []
        self._inboxes: dict[str, Inbox] = {}

    async def open(self) -> None:
        self.http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60))
        self.admin = AIOKafkaAdminClient(bootstrap_servers=self.servers)
        await self.admin.start()
        self.producer = AIOKafkaProducer(
            bootstrap_servers=self.servers, acks="all", enable_idempotence=True, linger_ms=2, max_request_size=1 << 21
        )
        await self.producer.start()

    async def close(self) -> None:
        """Stop what this has started, and leave nothing on the servers."""
        for worker in self.workers:
            if worker.running:
                worker.signal(signal.SIGCONT)
                worker.signal(signal.SIGTERM)
        await asyncio.gather(*(asyncio.to_thread(_ended, worker.process) for worker in self.workers))
        for inbox in self._inboxes.values():
            await inbox.close()
        await self.http.close()
        await self.producer.stop()
        if mine := list(await self.topics()):
            await self.admin.delete_topics(mine)
        await self.admin.close()
        await asyncio.to_thread(self._drop_keyspaces)

    def _drop_keyspaces(self) -> None:
        address = CassandraAddress.parse(self.journal_url)
        with Cluster(address.hosts, port=address.port) as cluster:
            session = cluster.connect()
            rows = list(session.execute("SELECT keyspace_name FROM system_schema.keyspaces"))
            for (name,) in (row for row in rows if row[0].startswith(self.namespace)):
                session.execute(f"DROP KEYSPACE {name}", timeout=60)

    def topic(self, name: str) -> str:
        return self.namespace + name

    # -- processes -----------------------------------------------------------------------------------

    def environment(self, **settings: str) -> dict[str, str]:
        """What the workers see."""
        ours = {
            "NAMESPACE": self.namespace,
            "PARTITIONS": str(PARTITIONS),
            "DATA_DIR": str(self.data),
            "KAFKA_BROKERS": self.brokers,
            "JOURNAL_URL": self.journal_url,
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
        }
        return {**os.environ, **ours, **settings}

    def start(self, module: str, **settings: str) -> Worker:
        """Start a worker, with these settings besides, and do not wait for it."""
        name = f"{len(self.workers)}-{module.rpartition('shop.')[2]}"
        port = free_port()
        log = self.data / f"{name}.log"
        command = ["worker", "--web-port", str(port), "--datadir", str(self.data / name), "-l", "warn"]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "faust", "-A", module, *command],
                cwd=self.data,
                env=self.environment(**settings),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        worker = Worker(module, port, log, process)
        self.workers.append(worker)
        return worker

    async def run(self, *arguments: str, timeout: float = 120, **settings: str) -> subprocess.CompletedProcess[str]:
        """`faust ARGUMENTS` to its end; what it prints without the codes for terminals."""
        ended = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "faust", *arguments],
            cwd=self.data,
            env=self.environment(**settings),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        ended.stdout, ended.stderr = (_CODES.sub("", text) for text in (ended.stdout, ended.stderr))
        return ended

    async def partitions(self, worker: Worker) -> list[int] | None:
        """The partitions that a worker says it serves, or None while it is not ready."""
        assert worker.running, f"{worker.module} has ended: {worker.tail()}"
        try:
            async with self.http.get(worker.url + "/health/ready", timeout=aiohttp.ClientTimeout(total=2)) as response:
                return list((await response.json())["partitions"]) if response.status == 200 else None
        except (aiohttp.ClientError, TimeoutError):
            return None

    async def all_served(self, *workers: Worker, seconds: float = READY_SECONDS) -> None:
        """Return when these workers are ready and have all partitions of their app between them, each some.

        Their logs must say the same in a `ready:` line.
        """

        async def served() -> bool:
            found = await asyncio.gather(*map(self.partitions, workers))
            if any(not partitions for partitions in found):
                return False
            lines = [f"ready: {worker.module} partitions={ps}" for worker, ps in zip(workers, found, strict=True)]
            said = all(line == _last_ready(worker) for worker, line in zip(workers, lines, strict=True))
            return said and sorted(p for ps in found if ps for p in ps) == list(range(PARTITIONS))

        await eventually(served, seconds, lambda: "\n".join(worker.tail() for worker in workers))

    # -- Kafka ---------------------------------------------------------------------------------------

    async def send(
        self,
        type: str,
        key: str | bytes | None,
        value: bytes | None,
        headers: Headers = (),
        partition: int | None = None,
    ) -> RecordMetadata:
        """A message to the command topic of an aggregate type, on the broker when this returns."""
        encoded = key.encode() if isinstance(key, str) else key
        topic = self.topic(f"{type}-commands")
        return await self.producer.send_and_wait(topic, value, key=encoded, partition=partition, headers=list(headers))

    async def command(self, type: str, key: str, command: str, data: Any, id: str = "", reply_to: str = "") -> str:
        """A command as most programs send it. Returns its id."""
        id = id or uuid.uuid4().hex
        await self.send(type, key, json.dumps(data).encode(), headers(id, command, reply_to))
        return id

    async def ask(
        self, type: str, key: str, command: str, data: Any, id: str = "", seconds: float = 15
    ) -> dict[str, Any]:
        """A command and its reply."""
        inbox = await self.answers()
        id = id or uuid.uuid4().hex
        before = len(inbox.by_key[id])
        await self.command(type, key, command, data, id, self.topic("answers"))
        return await inbox.answer(id, before + 1, seconds)

    async def make_topic(self, name: str) -> None:
        await self.admin.create_topics([NewTopic(self.topic(name), PARTITIONS, 1)])

    async def answers(self) -> Inbox:
        """The inbox of the topic `answers`, which is made for it."""
        if "answers" not in self._inboxes:
            await self.make_topic("answers")
        return await self.inbox("answers")

    async def inbox(self, name: str) -> Inbox:
        """All that arrives on a topic, as soon as it is there."""
        if name not in self._inboxes:
            topic = self.topic(name)

            async def partitions() -> int | None:
                return (await self.topics()).get(topic)

            count = await eventually(partitions, 15, f"there is no topic {topic}")
            self._inboxes[name] = Inbox()
            await self._inboxes[name].open(self.servers, topic, count)
        return self._inboxes[name]

    async def topics(self) -> dict[str, int]:
        """Partitions by topic of this system; asked in a way that makes none."""
        found = await self.admin.describe_topics()
        return {t["topic"]: len(t["partitions"]) for t in found if t["topic"].startswith(self.namespace)}

    async def ends(self, name: str) -> dict[int, int]:
        """The end offsets of a topic by partition."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.servers)
        await consumer.start()
        try:
            tps = [TopicPartition(self.topic(name), p) for p in range(PARTITIONS)]
            return {tp.partition: end for tp, end in (await consumer.end_offsets(tps)).items()}
        finally:
            await consumer.stop()

    async def read(self, name: str) -> list[Any]:
        """All records of a topic as it is now, each partition in its order."""
        ends = {p: end for p, end in (await self.ends(name)).items() if end}
        if not ends:
            return []
        consumer = AIOKafkaConsumer(bootstrap_servers=self.servers, auto_offset_reset="earliest")
        await consumer.start()
        try:
            tps = [TopicPartition(self.topic(name), p) for p in ends]
            consumer.assign(tps)
            records: list[Any] = []
            deadline = time.monotonic() + 30
            while [tp for tp in tps if await consumer.position(tp) < ends[tp.partition]]:
                assert time.monotonic() < deadline, f"{name} cannot be read to its end"
                for found in (await consumer.getmany(timeout_ms=500)).values():
                    records.extend(found)
            return sorted(records, key=lambda record: (record.partition, record.offset))
        finally:
            await consumer.stop()

    # -- HTTP ----------------------------------------------------------------------------------------

    async def get(self, worker: Worker, path: str, **headers: str) -> tuple[int, Any, Mapping[str, str]]:
        """Status, JSON and headers (whatever their case) of an answer."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.http.get(worker.url + path, headers=named) as response:
            body = await response.read()
            return response.status, json.loads(body) if body else None, response.headers

    async def lag(self, worker: Worker) -> Any:
        """The answer of `/lag`, or None while there is none."""
        status, body, _ = await self.get(worker, "/lag")
        return body if status == 200 else None

    # -- the journal ---------------------------------------------------------------------------------

    async def commits(self, context: str, type: str) -> dict[int, list[Commit]]:
        """The whole log by partition."""
        journal = open_journal(self.journal_url, self.namespace, context)
        await journal.open()
        try:
            return {p: await self._log(journal, f"{type}-{p}") for p in range(PARTITIONS)}
        finally:
            await journal.close()

    async def _log(self, journal: Any, stream: str) -> list[Commit]:
        head, log = await journal.head(stream), []
        while head is not None and (not log or log[-1].nr < head.nr):
            found = await journal.commits(stream, log[-1].nr if log else 0, 500)
            assert found, f"{stream}: the log has a head at {head.nr} that cannot be reached"
            log.extend(found)
        return log

    async def covered(self, context: str, type: str, seconds: float = 60) -> None:
        """Return when the journal covers every command that is in the topic now."""
        ends = await self.ends(f"{type}-commands")
        journal = open_journal(self.journal_url, self.namespace, context)
        await journal.open()

        async def done() -> bool:
            heads = {p: await journal.head(f"{type}-{p}") for p in ends}
            return all(head is not None and head.offset + 1 >= ends[p] for p, head in heads.items())

        try:
            await eventually(done, seconds, lambda: "\n".join(w.tail() for w in self.workers if w.running))
        finally:
            await journal.close()

    async def check_log(self, context: str, type: str) -> dict[str, int]:
        """Hold a log against its command topic; returns the number of events by command id.

        Commits dense from 1, epochs rising one by one, every offset in one commit and every event in the commit that
        covers its command, unless that was in quarantine; each aggregate's sequence dense from 1, no command twice.
        """
        commands = await self.read(f"{type}-commands")
        offsets: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
        for record in commands:
            offsets[dict(record.headers)["ce_id"].decode()].append((record.partition, record.offset))
        ends = await self.ends(f"{type}-commands")
        events: dict[str, int] = {}
        for partition, log in (await self.commits(context, type)).items():
            assert list(range(1, len(log) + 1)) == [commit.nr for commit in log]
            before, epoch, sequences = -1, 0, defaultdict[str, int](int)
            quarantined = {row.command_id for commit in log for row in commit.events if is_note(row)}
            for commit in log:
                assert commit.epoch in (epoch, epoch + 1), "an epoch begins with the next number"
                assert commit.epoch == epoch or not commit.events, "a takeover writes an empty commit"
                taken_over, epoch = commit.epoch != epoch, commit.epoch
                releasing = any(row.type == UNPARKED for row in commit.events)
                assert commit.offset == before if taken_over else commit.offset >= before + (not releasing)
                by_command: dict[str, int] = {}
                for event in commit.events:
                    places = [offset for p, offset in offsets[event.command_id] if p == partition]
                    assert event.command_id in quarantined or any(before < at <= commit.offset for at in places), (
                        f"{event.command_id} is in commit {commit.nr}, which does not cover it"
                    )
                    if event.is_event:
                        sequences[event.aggregate_id] += 1
                        by_command[event.command_id] = by_command.get(event.command_id, 0) + 1
                    assert sequences[event.aggregate_id] == event.sequence
                assert not by_command.keys() & events.keys(), "a command has an effect in two commits"
                events.update(by_command)
                before = commit.offset
            assert ends[partition] == before + 1, "every command is covered"
        return events


def _last_ready(worker: Worker) -> str:
    return next((line for line in reversed(worker.lines) if re.match("ready: ", line)), "")


def _ended(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    """A port that nobody listens at just now."""
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        return int(any_port.getsockname()[1])
