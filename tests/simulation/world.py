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

import streams.deciding.group_handler
import streams.kafka.records
import streams.ownership.owner
import streams.ownership.takeover
from projections.applying import event_reader, partition_processor
from projections.publishing import tail_assignment
from projections.stores.local import partition_view, tables
from streams.journal import layout_follower
from streams.journal.layout import Layout, first_layout
from streams.journal.memory import MemoryStore
from streams.journal.port import Journal
from streams.limits import Limits
from tests.memory_rows import MemoryRows
from tests.simulation.account import TYPE
from tests.simulation.checks import Checks
from tests.simulation.client import Client
from tests.simulation.disk import Batch
from tests.simulation.faults import Faults
from tests.simulation.group import Group
from tests.simulation.kafka import Kafka
from tests.simulation.loop import PROCESS, Loop
from tests.simulation.network import Network
from tests.simulation.store import JournalLine
from tests.simulation.topics import CONTROL_TOPIC, HINT_KEY, PARTITIONED, REPLIES_TOPIC

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
FAULTY_SECONDS = 15.0
HEALING_SECONDS = 120.0
"""Virtual time in which everything must come to rest once nothing fails any more."""
MOST_STEPS = 400_000
LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class Shape:
    """How large the world is. `partitions` are the slices, which are in so many `logs` at first. Workers look at the
    layout each `look_seconds` when nothing is announced."""

    partitions: int
    logs: int
    command_workers: int
    projection_workers: int
    aggregates: int
    commands: int
    dedupe_window: int
    cache_weight: int
    limits: Limits
    transactional: bool
    markers: bool
    near: int
    batch: int
    catch_ups: int
    look_seconds: float

    @classmethod
    def of(cls, random: Random) -> Shape:
        """Small, so that every bound is met."""
        return cls(
            partitions=(slices := random.choice((1, 2, 2, 3, 4, 8))),
            logs=random.randint(1, min(3, slices)),
            command_workers=random.randint(2, 3),
            projection_workers=random.choice((1, 2, 2)),
            aggregates=random.randint(2, 5),
            commands=random.randint(10, 40),
            dedupe_window=random.choice((2, 5, 1_000)),
            cache_weight=random.choice((1, 6_000, 1_000_000)),
            limits=Limits(
                group_commands=random.choice((1, 3, 3, 8)),
                group_bytes=random.choice((12, 40, 512 * 1024)),
                snapshot_every=random.choice((2, 3)),
            ),
            transactional=random.random() < 0.3,
            markers=random.random() < 0.2,
            near=random.choice((0, 2, 1_000)),
            batch=random.choice((1, 4, 1_000)),
            catch_ups=random.choice((1, 4)),
            look_seconds=random.choice((2.0, 8.0, 30.0)),
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
        self.store.layouts[TYPE] = first_layout(self.shape.partitions, self.shape.logs, HINT_KEY)
        self.read_model = MemoryRows()
        for topic in PARTITIONED:
            self.kafka.create(topic, self.shape.partitions)
        self.kafka.create(CONTROL_TOPIC, 1)
        self.checks = Checks(self)
        self.faults = Faults(self)
        self.client = Client(self)
        self.command_group = Group(self, "commands", self.shape.partitions, seats=True)
        self.projection_group = Group(self, "projections", self.shape.partitions)

    @property
    def layout(self) -> Layout:
        """The newest one."""
        return self.store.layouts[TYPE]

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
        elif topic == CONTROL_TOPIC:
            self.checks.ordered(records)

    def run(self) -> Result:
        """From the first command to rest, then all that must hold in the end."""
        began = time.perf_counter()
        with self._inside():
            self.faults.start()
            self.client.start()
            self.loop.outside(FAULTY_SECONDS, self._heal)
            self.loop.run(FAULTY_SECONDS + HEALING_SECONDS, MOST_STEPS)
            if not self.checks.failed:
                if self.checks.at_rest():
                    self.checks.at_the_end()
                else:
                    self.checks.fail(*self.checks.why_not_at_rest())
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
        """Stop when all is at rest. What is stuck in one slice goes on when all is but for that."""
        if self.checks.at_rest() and not self.checks.is_in_between():
            self.loop.stop()
            return
        stuck = self.faults.stuck
        if stuck.slices and self.checks.at_rest(without=stuck.slices):
            stuck.end()
        self.loop.outside(LOOK_SECONDS, self._look)

    @contextmanager
    def _inside(self) -> Iterator[None]:
        """The product in this world: its clock, its database, its sizes."""
        shape = self.shape
        inside: list[tuple[Any, str, Any]] = [
            (time, "monotonic", self.loop.time),
            (streams.deciding.group_handler, "now", self.now),
            (streams.ownership.takeover, "now", self.now),
            (streams.ownership.owner, "now", self.now),
            (layout_follower, "LOOK_SECONDS", shape.look_seconds),
            (tail_assignment, "LOOK_AGAIN_SECONDS", shape.look_seconds),
            (partition_view, "WriteBatch", Batch),
            (partition_processor, "NEAR", shape.near),
            (partition_processor, "BATCH", shape.batch),
            (partition_processor, "BATCH_BEHIND", shape.batch),
            (event_reader, "COMMITS_AT_ONCE", shape.batch),
            (event_reader, "FIRST_COMMITS", 1),
            (tables, "DROPPED_AT_ONCE", shape.batch),
            (streams.kafka.records, "_refetched", set()),
            (streams.kafka.records, "_said_of", set()),
        ]
        before = [getattr(module, name) for module, name, _ in inside]
        for module, name, value in inside:
            setattr(module, name, value)
        try:
            yield
        finally:
            for (module, name, _), value in zip(inside, before, strict=True):
                setattr(module, name, value)
