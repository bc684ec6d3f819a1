"""The running system as its users see it: workers as processes, and Kafka, HTTP and the journal from outside."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
from aiokafka import TopicPartition
from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.structs import RecordMetadata

from streams.journal.layout import LogSpan
from streams.journal.port import Commit, log_name
from streams.kafka.client_factory import ClientFactory
from streams.open_journal import open_journal
from tests.e2e.client import PARTITIONS, Headers, Inbox, eventually, headers
from tests.e2e.worker import Worker, free_port
from tests.stores import drop_journals

ROOT = Path(__file__).parents[2]
READY_SECONDS = 60.0
FAUST = ["-m", "faust"]
TOPIC_CONFIG = 1
"""What Kafka says of a setting that the topic itself was given."""

_CODES = re.compile(r"\x1b\[[?0-9;]*[A-Za-z]")


class System:
    """One namespace on the servers, with workers of its own. Made and taken down by the fixture `system`."""

    def __init__(self, data: Path, journal_url: str, brokers: str = "", clients: ClientFactory | None = None) -> None:
        self.namespace = f"t{uuid.uuid4().hex[:6]}_"
        self.data = data
        self.brokers = brokers or os.environ.get("KAFKA_BROKERS", "kafka://127.0.0.1:9092")
        self.servers = [url.rpartition("//")[2] for url in self.brokers.split(";")]
        self.clients = clients or ClientFactory(self.servers)
        self.journal_url = journal_url
        self.tls: ssl.SSLContext | None = None
        """Whose certificates are trusted, where workers are asked with TLS."""
        self.bearer: dict[str, str] = {}
        """What whoever asks has with him."""
        self.workers: list[Worker] = []
        self._inboxes: dict[str, Inbox] = {}
        self._opening = asyncio.Lock()

    async def open(self) -> None:
        self.http = self.asker()
        self.admin = self.clients.admin()
        await self.admin.start()
        self.producer = self.clients.producer(
            acks="all", enable_idempotence=True, linger_ms=2, max_request_size=1 << 21
        )
        await self.producer.start()

    def asker(self) -> aiohttp.ClientSession:
        """A client of the workers."""
        connector, timeout = aiohttp.TCPConnector(ssl=self.tls or True), aiohttp.ClientTimeout(total=60)
        return aiohttp.ClientSession(timeout=timeout, connector=connector, headers=self.bearer)

    async def trust(self, authority: Path) -> None:
        """Ask workers with TLS from now on, whose certificates are of this authority."""
        await self.http.close()
        self.tls = ssl.create_default_context(cafile=authority)
        self.http = self.asker()

    async def close(self, keep_journal: bool = False) -> None:
        """Stop what this has started, and leave nothing on the servers, or only what the journal holds."""
        for worker in self.workers:
            if worker.running:
                worker.signal(signal.SIGCONT)
                worker.signal(signal.SIGTERM)
        await asyncio.gather(*(asyncio.to_thread(worker.end) for worker in self.workers))
        for inbox in self._inboxes.values():
            await inbox.close()
        await self.http.close()
        await self.producer.stop()
        if mine := list(await self.topics()):
            await self.admin.delete_topics(mine)
        await self.admin.close()
        if not keep_journal:
            await drop_journals(self.journal_url, self.namespace)

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

    def program(self, module: str) -> list[str]:
        """What is run for a worker of this app."""
        return FAUST

    def start(
        self, module: str, folder: Path | None = None, level: str = "warn", port: int = 0, **settings: str
    ) -> Worker:
        """Start a worker, with these settings besides, and do not wait for it. `folder`: where it keeps its tables, a
        new one by default. `level`: of its log. `port`: of one that it replaces."""
        name = f"{len(self.workers)}-{module.rpartition('shop.')[2]}"
        port = port or free_port()
        log = self.data / f"{name}.log"
        folder = folder or self.data / name
        command = ["worker", "--web-port", str(port), "--datadir", str(folder), "-l", level]
        environment = self.environment(**settings)
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, *self.program(module), "-A", module, *command],
                cwd=self.data,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        scheme = "https" if environment.get("HTTP_TLS_CERT_FILE") else "http"
        worker = Worker(module, port, log, folder, process, scheme)
        self.workers.append(worker)
        return worker

    async def run(self, *arguments: str, timeout: float = 120, **settings: str) -> subprocess.CompletedProcess[str]:
        """`faust ARGUMENTS` to its end; what it prints without the codes for terminals."""
        program = self.program(arguments[1]) if "worker" in arguments else FAUST
        ended = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, *program, *arguments],
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
            said = all(line == worker.last_served for worker, line in zip(workers, lines, strict=True))
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
        """As workers make theirs: the clock of a sender is of no account."""
        configs = {"message.timestamp.type": "LogAppendTime"}
        await self.admin.create_topics(
            [NewTopic(self.topic(name), PARTITIONS, len(self.servers), topic_configs=configs)]
        )

    async def configure(self, name: str, settings: Mapping[str, str]) -> None:
        """Settings of a topic, beside those that it has been given before."""
        resource = ConfigResourceType.TOPIC, self.topic(name)
        [found] = await self.admin.describe_configs([ConfigResource(*resource)])
        [(_, _, _, _, entries)] = found.resources
        own = {key: value for key, value, _, is_default, *_ in entries if is_default == TOPIC_CONFIG}
        await self.admin.alter_configs([ConfigResource(*resource, {**own, **settings})])

    async def answers(self) -> Inbox:
        """The inbox of the topic `answers`, which is made for it."""
        async with self._opening:
            if "answers" not in self._inboxes:
                await self.make_topic("answers")
        return await self.inbox("answers")

    async def inbox(self, name: str) -> Inbox:
        """All that arrives on a topic, as soon as it is there."""
        async with self._opening:
            if name not in self._inboxes:
                topic = self.topic(name)

                async def partitions() -> int | None:
                    return (await self.topics()).get(topic)

                count = await eventually(partitions, 15, f"there is no topic {topic}")
                inbox = Inbox()
                await inbox.open(self.clients, topic, count)
                self._inboxes[name] = inbox
            return self._inboxes[name]

    async def topics(self) -> dict[str, int]:
        """Partitions by topic of this system; asked in a way that makes none."""
        found = await self.admin.describe_topics()
        return {t["topic"]: len(t["partitions"]) for t in found if t["topic"].startswith(self.namespace)}

    async def ends(self, name: str) -> dict[int, int]:
        """The end offsets of a topic by partition."""
        consumer = self.clients.consumer()
        await consumer.start()
        try:
            tps = [TopicPartition(self.topic(name), p) for p in range(PARTITIONS)]
            return {tp.partition: end for tp, end in (await consumer.end_offsets(tps)).items()}
        finally:
            await consumer.stop()

    async def group_offsets(self, context: str, name: str) -> dict[int, int]:
        """What the consumer group of a context has committed in a topic, by partition: what tools for lag show."""
        found = await self.admin.list_consumer_group_offsets(f"{self.namespace}{context}")
        return {tp.partition: it.offset for tp, it in found.items() if tp.topic == self.topic(name)}

    async def read(self, name: str) -> list[Any]:
        """All records of a topic as it is now, each partition in its order."""
        ends = {p: end for p, end in (await self.ends(name)).items() if end}
        if not ends:
            return []
        consumer = self.clients.consumer(auto_offset_reset="earliest")
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
        """All commits of each log, by its number."""
        journal = open_journal(self.journal_url, self.namespace, context)
        await journal.open()
        try:
            layout = await journal.layout(type)
            assert layout is not None, f"nobody has started {type}"
            begun = [span for span in layout.logs if span.after is not None]
            return {span.number: await self._log(journal, type, span) for span in begun}
        finally:
            await journal.close()

    async def _log(self, journal: Any, type: str, span: LogSpan) -> list[Commit]:
        name = log_name(type, span.number)
        head = await journal.head(name, span.begins_after)
        log: list[Commit] = []
        while head is not None and (not log or log[-1].nr < head.nr):
            found = await journal.commits(name, log[-1].nr if log else span.begins_after, 500)
            assert found, f"{name}: the log has a head at {head.nr} that cannot be reached"
            log.extend(found)
        return log

    async def covered(self, context: str, type: str, seconds: float = 60) -> None:
        """Return when the journal covers every command that is in the topic now."""
        ends = await self.ends(f"{type}-commands")
        journal = open_journal(self.journal_url, self.namespace, context)
        await journal.open()

        async def done() -> bool:
            layout = await journal.layout(type)
            spans = layout.open if layout else []
            heads = [await journal.head(log_name(type, span.number), span.begins_after) for span in spans]
            covered = {slice: it.offset + 1 for head in heads if head for slice, it in head.slices.items()}
            return all(covered.get(slice, -1) >= end for slice, end in ends.items())

        try:
            await eventually(done, seconds, lambda: "\n".join(w.tail() for w in self.workers if w.running))
        finally:
            await journal.close()
