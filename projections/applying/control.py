"""What operators have ordered and the leader has decided, on a topic of one partition that every worker follows.

A record is a fact, under a key of its own, and the newest counts; the topic is compacted. So orders outlive the worker
that took them, and two at the same moment do not undo each other. A fact that is over is told by another one, never by
a record without a value: Kafka would remove that some day, and who starts would wait for the end of the topic in vain.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Annotated, Any, NamedTuple, TypeVar

import msgspec
from aiokafka.errors import KafkaError

from projections.applying.topic_reader import TopicReader
from projections.stores.declaration import projection_name, table_name, version_of
from projections.stores.rows import FORMAT
from streams.concurrency.retry import until_it_answers
from streams.concurrency.supervisor import Supervisor
from streams.concurrency.tasks import cancel
from streams.journal.position import Position
from streams.kafka.client import KafkaClient, ProducerRecord
from streams.kafka.records import UnreadableRecord
from streams.notices import warn

log = logging.getLogger(__name__)


class Serving(msgspec.Struct, frozen=True):
    """Of a projection: the table that answers, and the format of its rows. One of another format does not answer, nor
    does one of `NO_ROWS`."""

    table: str
    format: int = 1


NO_ROWS = 0


class Generation(msgspec.Struct, frozen=True):
    """Of a version of a projection, by the name of its first table: how often it was to be built again."""

    generation: int


class Paused(msgspec.Struct, frozen=True):
    """Of a projection: why it stands still, None when it does not."""

    reason: str | None


class Skipped(msgspec.Struct, frozen=True):
    """Of a projection and a position: why it is left out."""

    reason: str


class Dropped(msgspec.Struct, frozen=True):
    """Of a table: whether it is to be removed."""

    dropped: bool = True


class Secret(msgspec.Struct, frozen=True):
    """Of the workers: with which they sign what they ask each other, in hex digits."""

    secret: Annotated[str, msgspec.Meta(pattern="^(?:[0-9a-f]{2}){16,64}$")]


class Signing(msgspec.Struct, frozen=True):
    """Of a key of the system, by its id: the key, in hex digits; empty when it is kept no longer."""

    key: Annotated[str, msgspec.Meta(pattern="^(?:(?:[0-9a-f]{2}){16,64}|)$")]


Fact = Serving | Generation | Paused | Skipped | Dropped | Secret | Signing
KINDS: Mapping[str, type[Fact]] = {
    kind.__name__.lower(): kind for kind in (Serving, Generation, Paused, Skipped, Dropped, Secret, Signing)
}


class SystemKey(NamedTuple):
    """A key of the system: when it was made, in seconds since 1970, and read, by the clock that is never set."""

    id: str
    secret: bytes
    made: float
    read: float

    def __repr__(self) -> str:
        return f"SystemKey({self.id!r})"


_HOPS = "hops"
RENEW_SECONDS = 3_600.0
"""A secret as old as that is renewed."""
KNOWN_SECONDS = 10.0
"""So long after this worker has read a new secret the one before it signs: until all others have read it."""
_AT_ONCE = 1_000
_PUBLISH_SECONDS = 10.0
_SEEN_SECONDS = 5.0

_OVER = (Paused(None), Dropped(False), Signing(""))
"""Facts that say that another one is over: the same as none."""
MOST_FACTS = 100_000

F = TypeVar("F", bound=Fact)


class Control:
    """The facts, as far as this worker has read: about the projections `of` it, all where that is None. `changed()` is
    called after each of its steps."""

    def __init__(
        self,
        topic: str,
        feed: TopicReader,
        broker: KafkaClient,
        supervisor: Supervisor | None = None,
        of: Container[str] | None = None,
    ) -> None:
        self._of = of
        self._topic = topic
        self._feed = feed
        self._broker = broker
        self._facts: dict[tuple[str, ...], Fact] = {}
        self._secrets: Sequence[bytes] = ()
        self._secret_read = 0.0
        self._secret_made = 0.0
        self._keys: dict[str, SystemKey] = {}
        self._read_to = 0
        self._moved = asyncio.Condition()
        self._supervisor = supervisor or Supervisor()
        self._task: asyncio.Task[None] | None = None
        self.changed: Callable[[], None] = lambda: None

    @property
    def secrets(self) -> Sequence[bytes]:
        """With which workers sign what they ask each other: the newest one and the one before it, of which the first
        is to sign with."""
        is_known = time.monotonic() - self._secret_read >= KNOWN_SECONDS
        return self._secrets if is_known else self._secrets[::-1]

    @property
    def system_keys(self) -> Sequence[SystemKey]:
        """The keys of which those of the contexts are made, the newest last."""
        return list(self._keys.values())

    # -- what is so --------------------------------------------------------------------------------------------

    def serving(self, projection: str) -> str | None:
        """The table that answers for a projection; None until the first is complete."""
        fact = self._fact(Serving, projection)
        return fact.table if fact is not None and fact.format == FORMAT else None

    async def first_serving(self, projection: str, seconds: float) -> str | None:
        """Likewise, after waiting for it for as long as that."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._moved:
                await self._moved.wait_for(lambda: self.serving(projection) is not None)
        return self.serving(projection)

    def wanted(self, projection: str, version: int) -> str:
        """The table that is to be built of a version: a new one after each `build_again`."""
        fact = self._fact(Generation, table_name(projection, version))
        return table_name(projection, version, 0 if fact is None else fact.generation)

    def paused(self, projection: str) -> str | None:
        """Why a projection stands still; None when it does not."""
        fact = self._fact(Paused, projection)
        return None if fact is None else fact.reason

    def skips(self, projection: str) -> Mapping[str, str]:
        """The positions that a projection leaves out, and why."""
        return {
            key[2]: fact.reason
            for key, fact in self._facts.items()
            if isinstance(fact, Skipped) and key[1] == projection
        }

    def dropped(self) -> set[str]:
        """The tables that are to be removed."""
        return {key[1] for key, fact in self._facts.items() if isinstance(fact, Dropped) and fact.dropped}

    def _fact(self, kind: type[F], of: str) -> F | None:
        fact = self._facts.get((kind.__name__.lower(), of))
        return fact if isinstance(fact, kind) else None

    # -- what shall be so: each returns the offset of the order, after this worker has read it ---------------------

    async def serve(self, projection: str, table: str) -> int:
        """From now on this table answers."""
        if table in self.dropped():  # in the days of another version: not any more, when that one comes back
            await self._put(Dropped(False), table)
        return await self._put(Serving(table, FORMAT), projection)

    async def withdraw(self, projection: str, table: str) -> int:
        """This table, which has answered, does not answer any more."""
        return await self._put(Serving(table, NO_ROWS), projection)

    async def build_again(self, projection: str, version: int) -> int:
        """Have a new table built of a version."""
        base = table_name(projection, version)
        fact = self._fact(Generation, base)
        return await self._put(Generation(1 if fact is None else fact.generation + 1), base)

    async def pause(self, projection: str, reason: str) -> int:
        """Let a projection stand still."""
        return await self._put(Paused(reason), projection)

    async def resume(self, projection: str) -> int:
        """Let it go on."""
        return await self._put(Paused(None), projection)

    async def skip(self, projection: str, position: str, reason: str) -> int:
        """Leave an event out of a projection, for ever, also when it is built again."""
        return await self._put(Skipped(reason), projection, position)

    async def drop(self, table: str) -> int:
        """Have a table removed that nobody needs."""
        return await self._put(Dropped(), table)

    async def share_secret(self) -> None:
        """Have a secret that all workers know: who finds none makes one. Raises `TimeoutError`.

        Of two that start in the same moment both do; the later one counts, and the other one still does beside it.
        """
        if not self._secrets:
            await self._put(Secret(secrets.token_hex(32)), _HOPS)

    async def renew_secret(self) -> None:
        """Make a new secret where the newest is an hour old: for the leader. Raises `TimeoutError`."""
        if time.time() - self._secret_made >= RENEW_SECONDS:
            await self._put(Secret(secrets.token_hex(32)), _HOPS)

    async def add_key(self, id: str, key: bytes) -> int:
        """From now on the system has this key. Raises `TimeoutError`."""
        return await self._put(Signing(key.hex()), id)

    async def end_key(self, id: str) -> int:
        """It is kept no longer. Raises `TimeoutError`."""
        return await self._put(Signing(""), id)

    async def _put(self, fact: Fact, *of: str) -> int:
        """On return it is on the topic, and this worker has read it. Raises `TimeoutError`; it may be there then."""
        record: ProducerRecord = "/".join([type(fact).__name__.lower(), *of]).encode(), msgspec.json.encode(fact), []
        async with asyncio.timeout(_PUBLISH_SECONDS):
            offset = await self._broker.publish(self._topic, 0, [record])
        await self.wait_for(offset)
        return offset

    async def wait_for(self, offset: int) -> None:
        """Return when this worker has read the topic up to this offset. Raises `TimeoutError`."""
        if self._read_to <= offset:
            async with asyncio.timeout(_SEEN_SECONDS), self._moved:
                await self._moved.wait_for(lambda: self._read_to > offset)

    @property
    def offset(self) -> int:
        """That of the newest fact that this worker has read; -1 before the first."""
        return self._read_to - 1

    # -- reading --------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Read all that is there, then follow."""
        # Up to the last record, not to the end: behind it may be the mark of a transaction, which nobody is given.
        last = await until_it_answers(
            lambda: self._broker.last_record(self._topic, 0),
            f"Kafka: the last order in {self._topic}",
            (KafkaError, TimeoutError),
        )
        self._task = self._supervisor.keep(f"reading {self._topic}", self._follow)
        if last is not None:
            async with self._moved:
                await self._moved.wait_for(lambda: self._read_to > last.offset)

    async def close(self) -> None:
        """Follow no more."""
        if self._task is not None:
            await cancel(self._task)

    async def _follow(self) -> None:
        """Read on from where the one before has failed."""
        reading = await self._feed.open(self._topic, 0)
        try:
            await reading.seek(self._read_to or await reading.first())
            while True:
                await self._take(await reading.read(_AT_ONCE))
                self.changed()
        finally:
            await reading.close()

    async def _take(self, records: Sequence[Any]) -> None:
        for record in records:
            try:
                self._read(record)
            except Exception as error:  # whatever it is, the orders behind it count
                text = "%s: offset %d is no order and is left out: %r"
                warn(log, "strangers-record", self._topic, text, self._topic, record.offset, error)
            self._read_to = record.offset + 1
        async with self._moved:
            self._moved.notify_all()

    def _read(self, record: Any) -> None:
        if isinstance(record, UnreadableRecord):  # that was said
            return
        text, value = (record.key or b"").decode(), record.value
        name, *of = text.split("/", 2)  # a position has no slash in it, and a projection none in its name
        kind = KINDS.get(name)
        if kind is None or len(of) != 1 + (kind is Skipped) or not all(of):
            raise ValueError(f"no key of a fact: {text!r}")
        if kind in (Generation, Dropped):
            version_of(of[0])
        if kind is Skipped:
            of[1] = str(Position.parse(of[1]))
        projection = projection_name(of[0]) if kind in (Generation, Dropped) else of[0]
        if self._of is not None and kind not in (Secret, Signing) and projection not in self._of:
            return  # of other code: a worker that has it reads it when it starts
        if value is None or (fact := msgspec.json.decode(value, type=kind)) in _OVER:
            self._facts.pop((name, *of), None)
            self._keys.pop(of[0] if kind is Signing else "", None)
            return
        if len(self._facts) >= MOST_FACTS and (name, *of) not in self._facts:
            raise ValueError(f"there are {MOST_FACTS} orders already")
        if isinstance(fact, Serving) and (projection_name(fact.table) != of[0] or version_of(fact.table) < 0):
            raise ValueError(f"{fact.table} is no table of {of[0]}")
        if isinstance(fact, Secret):
            self._secrets = (bytes.fromhex(fact.secret), *self._secrets[:1])
            self._secret_read, self._secret_made = time.monotonic(), record.timestamp / 1_000
        if isinstance(fact, Signing):
            made, read = record.timestamp / 1_000, time.monotonic()
            self._keys.setdefault(of[0], SystemKey(of[0], bytes.fromhex(fact.key), made, read))
        self._facts[name, *of] = fact
