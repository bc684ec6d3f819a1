"""The product's own readers with all that they need, in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from aggregates.decider import Decider
from aggregates.shop.checkout import checkout
from aggregates.shop.email import email
from aggregates.shop.order import order
from aggregates.shop.product import product
from aggregates.shop.user import user
from aggregates.timer import timer
from projections.applying.event_reader import EventReader
from projections.publishing.publication import event_headers, events_in
from schemas.codec import Codec
from schemas.registry import Schemas
from streams.deciding.cache import Aggregate, Cache
from streams.deciding.command_handler import CommandHandler
from streams.deciding.group_handler import GroupHandler
from streams.deciding.loading import load_aggregate
from streams.deciding.messages import Message, decode_reply
from streams.journal.commit_codec import decode_payload, encode_payload
from streams.journal.layout import LogSpan
from streams.journal.memory import MemoryJournal
from streams.journal.port import log_name
from streams.journal.position import stream_name
from streams.kafka.topic_limits import USUAL_LARGEST
from streams.limits import Limits
from streams.ownership.replies import Replies
from tests.command_log import Topic
from tests.fuzz.hostile import Record
from tests.in_the_clear import InTheClear
from tests.layouts import logs_of
from tests.owners import RunningOwner

ROOT = Path(__file__).parents[2]
DECIDERS: dict[str, Decider[Any, Any, Any]] = {
    it.type: it for it in (order, product, user, *(manager.decider for manager in (timer, checkout, email)))
}
MOST_SECONDS = 5.0
WINDOW = 1_000


@cache
def schemas_of(type: str) -> Schemas:
    """Those of the shop, or of the engine itself."""
    return Schemas.load("engine" if type == timer.type else "shop", type)


@cache
def events_of(type: str) -> Codec:
    """The codec of a type's events."""
    schemas, decider = schemas_of(type), DECIDERS[type]
    events = [it for it in schemas if it.name not in decider.commands]
    return Codec(events, decider.events, schemas.upcasters, sealer=InTheClear())


@cache
def commands_of(type: str) -> Codec:
    """The codec of a type's commands."""
    schemas, decider = schemas_of(type), DECIDERS[type]
    return Codec([it for it in schemas if it.name in decider.commands], decider.commands, schemas.upcasters)


class Lost(Exception):
    """An owner has given up its log over what it was sent."""


class Differs(Exception):
    """What is read again is not what was written, or not what is in memory."""


class Sink:
    """A broker that holds what it is given against what Kafka's own client can send."""

    def __init__(self) -> None:
        self.replies: list[bytes] = []
        self.letters = 0

    async def publish(self, topic: str, partition: int, records: Sequence[Any]) -> int:
        for key, value, headers in records:
            _check_record(key, value, headers)
        self.letters += len(records)
        return len(records) - 1

    async def largest(self, topic: str) -> int:
        return USUAL_LARGEST

    async def reply(self, replies: Sequence[tuple[str, str, bytes]]) -> None:
        for topic, key, value in replies:
            topic.encode()
            _check_record(key.encode(), value, [])
            decode_reply(value)
            self.replies.append(value)

    def hint(self, topic: str, partition: int, value: bytes) -> None:
        pass


def _check_record(key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes | None]]) -> None:
    """Raises what Kafka's client raises for what is no record."""
    from aiokafka.record.default_records import DefaultRecordBatchBuilder

    batch = DefaultRecordBatchBuilder(
        magic=2, compression_type=0, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1,
        batch_size=1 << 30,
    )  # fmt: skip
    batch.append(0, timestamp=0, key=key, value=value, headers=list(headers))


class Decided:
    """An owner of one slice, from its first command to what is read again of all that it has written."""

    def __init__(self, type: str, quarantine: bool) -> None:
        self.type = type
        self.journal = MemoryJournal()
        self.sink = Sink()
        limits = Limits(
            group_linger=0.0,
            quarantine=quarantine,
            snapshot_every=2,
            quarantine_limit=3,
            command_bytes=20_000,
        )
        self.cache = Cache(1_000_000)
        self.handler = GroupHandler(
            CommandHandler(
                decider=DECIDERS[type],
                events=events_of(type),
                commands=commands_of(type),
                window=WINDOW,
                limits=limits,
            ),
            journal=self.journal,
            cache=self.cache,
            log=log_name(type, 0),
            slices=1,
        )
        self.owner = RunningOwner(
            span=LogSpan(number=0, seat=0, slices=(0,)),
            topic_id="topic",
            identity="me",
            journal=self.journal,
            handler=self.handler,
            replies=Replies(self.sink, "commits", "commands", "letters"),  # type: ignore[arg-type]
            commands=Topic("topic", slices=1),
        )

    async def decide(self, records: Sequence[Record]) -> None:
        """Have them decided. Raises `Lost` when the owner gives up, `Differs` when what it wrote reads otherwise."""
        await self.owner.take_over()
        self.owner.resume()
        try:
            for offset, it in enumerate(records):
                message = Message(0, offset, it.key, it.value, it.headers, it.timestamp / 1000)  # type: ignore[arg-type]
                await self.owner.deliver(0, [message])
            async with asyncio.timeout(MOST_SECONDS):
                while self.owner.covered[0] < len(records) and self.owner.lost is None:
                    await asyncio.sleep(0)
            if self.owner.lost is not None:
                raise Lost(f"covered are {self.owner.covered[0]} of {len(records)}: {self.owner.why_lost}")
        finally:
            await self.owner.close()
        await self._read_again()

    async def _read_again(self) -> None:
        """The log, the events that are published of it, and every aggregate, from the log and with its snapshot."""
        codec, decider = events_of(self.type), DECIDERS[self.type]
        reader = EventReader(codec, self.journal, logs_of(self.journal, self.type), "/source")
        stream = stream_name(self.type, 0)
        commits = await self.journal.commits(log_name(self.type, 0), 0, 1_000)
        for commit in commits:
            written = commit.slices, commit.events, commit.is_seal
            if decode_payload(encode_payload(*written)) != written:
                raise Differs(f"commit {commit.nr}")
            published = [
                Record("events", 0, index, event.aggregate_id.encode(), event.data, tuple(headers), 0)
                for index, headers, event in event_headers(
                    stream, commit.nr, commit.recorded_at, events_in(commit, 0, 1), source=b"/source", codec=codec
                )
            ]
            for it in published:
                _check_record(it.key, it.value, it.headers)
            await reader.read(published, stream)  # type: ignore[arg-type]
        for id, kept in self.cache._aggregates.items():
            self._compare(id, kept, await load_aggregate(self.journal, decider, codec, id, WINDOW))
            await self.journal.remove_snapshot(self.type, id)
            self._compare(id, kept, await load_aggregate(self.journal, decider, codec, id, WINDOW))

    def _compare(self, id: str, kept: Aggregate, loaded: Aggregate) -> None:
        if repr(kept.state) != repr(loaded.state):
            raise Differs(f"{self.type} {id!r}: in memory {kept.state!r}, loaded {loaded.state!r}")
        if (kept.sequence, list(kept.outcomes.items())) != (loaded.sequence, list(loaded.outcomes.items())):
            raise Differs(f"{self.type} {id!r}: in memory {kept.outcomes}, loaded {loaded.outcomes}")


@cache
def samples(type: str) -> list[bytes]:
    """Events of every version, in both formats, from `tests/compatibility`."""
    files = sorted((ROOT / "tests/compatibility").glob(f"*/{type}/*.json"))
    written = [json.loads(file.read_text()) for file in files]
    return [data for it in written for data in (bytes.fromhex(it["avro"]), it["json"].encode())]
