"""One run: everything it has is made from its seed, and nothing of it is left afterwards."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from random import Random
from typing import Any

import streams.owner
import streams.takeover
from streams.journal import Journal
from streams.journal_memory import MemoryStore
from streams.limits import Limits
from tests.simulation.checks import Checks
from tests.simulation.client import Client
from tests.simulation.faults import Faults
from tests.simulation.group import Group
from tests.simulation.kafka import Kafka
from tests.simulation.loop import PROCESS, Loop
from tests.simulation.network import Network
from tests.simulation.store import JournalLine
from tests.simulation.workers import (
    COMMANDS_TOPIC,
    COMMITS_TOPIC,
    DEAD_LETTERS_TOPIC,
    EVENTS_TOPIC,
    REPLIES_TOPIC,
    TABLES,
    changelog_of,
)

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
FAULTY_SECONDS = 15.0
HEALING_SECONDS = 120.0
"""Virtual time in which everything must come to rest once nothing fails any more."""
MOST_STEPS = 400_000
LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class Shape:
    """How large the world is."""

    partitions: int
    command_workers: int
    projection_workers: int
    aggregates: int
    commands: int
    dedupe_window: int
    cache_weight: int
    limits: Limits
    transactional: bool
    markers: bool

    @classmethod
    def of(cls, random: Random) -> Shape:
        """Small, so that every bound is met."""
        return cls(
            partitions=random.randint(1, 2),
            command_workers=random.randint(2, 3),
            projection_workers=random.choice((1, 2, 2)),
            aggregates=random.randint(2, 5),
            commands=random.randint(10, 40),
            dedupe_window=random.choice((2, 5, 1_000)),
            cache_weight=random.choice((1, 6, 1_000)),
            limits=Limits(
                commands=random.choice((1, 3, 3, 8)),
                bytes=random.choice((12, 40, 512 * 1024)),
                snapshot_every=random.choice((2, 3)),
            ),
            transactional=random.random() < 0.3,
            markers=random.random() < 0.2,
        )


@dataclass(frozen=True)
class Result:
    """What a run came to: `invariant` and `text` are empty when all held. Equal seeds give equal digests."""

    seed: int
    invariant: str
    text: str
    digest: str
    steps: int
    seconds: float


class World:
    """Kafka, the store, the network, the processes on them, the client, and who watches."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.loop = Loop(self.random)
        self.trace: list[tuple[float, str, tuple[object, ...]]] = []
        self.shape = Shape.of(self.random)
        self.network = Network(self.loop, self.random, self.note)
        self.kafka = Kafka()
        self.store = MemoryStore()
        topics = (COMMANDS_TOPIC, COMMITS_TOPIC, EVENTS_TOPIC, DEAD_LETTERS_TOPIC, REPLIES_TOPIC)
        for topic in (*topics, *map(changelog_of, TABLES)):
            self.kafka.create(topic, self.shape.partitions)
        self.checks = Checks(self)
        self.faults = Faults(self)
        self.client = Client(self)
        self.command_group = Group(self, "commands", self.shape.partitions)
        self.projection_group = Group(self, "projections", self.shape.partitions)

    def note(self, kind: str, *what: object) -> None:
        """Write into the trace."""
        self.trace.append((self.loop.time(), kind, what))

    def wall(self) -> float:
        """The broker's wall clock, in seconds since 1970."""
        return EPOCH.timestamp() + self.loop.time()

    def now(self) -> datetime:
        """The wall clock of the process that asks."""
        process = PROCESS.get()
        return EPOCH + timedelta(seconds=self.loop.time() + (process.skew if process else 0.0))

    def journal(self) -> Journal:
        """A connection to the store."""
        return JournalLine(self, self.store, self.shape.transactional)  # type: ignore[return-value]

    def arrived(self, topic: str, partition: int, records: Sequence[Any]) -> None:
        """Records are on the broker."""
        if topic == REPLIES_TOPIC:
            self.client.replied(records)

    def run(self) -> Result:
        """From the first command to rest, then all that must hold in the end."""
        began = time.perf_counter()
        with self._clocks():
            self.faults.start()
            self.client.start()
            self.loop.outside(FAULTY_SECONDS, self._heal)
            self.loop.run(FAULTY_SECONDS + HEALING_SECONDS, MOST_STEPS)
            if not self.checks.failed:
                if self.checks.at_rest():
                    self.checks.at_the_end()
                else:
                    self.checks.fail("liveness", self.checks.what_is_missing())
            self.loop.close()
        digest = sha256(repr(self.trace).encode()).hexdigest()
        invariant, text = self.checks.failed or ("", "")
        seconds = time.perf_counter() - began
        return Result(self.seed, invariant, text, digest, self.loop.steps, seconds)

    def _heal(self) -> None:
        self.note("healed")
        self.faults.heal()
        self._look()

    def _look(self) -> None:
        if self.checks.at_rest():
            self.loop.stop()
        else:
            self.loop.outside(LOOK_SECONDS, self._look)

    @contextmanager
    def _clocks(self) -> Iterator[None]:
        monotonic, now = time.monotonic, streams.owner.now
        time.monotonic, streams.owner.now, streams.takeover.now = self.loop.time, self.now, self.now
        try:
            yield
        finally:
            time.monotonic, streams.owner.now, streams.takeover.now = monotonic, now, now
