"""The processes: command workers and projection workers, wired as `command_app` and `projection_app` wire them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from projections.applier import Applier
from projections.tables import is_newer, read_up_to
from projections.tailer import Tailers
from streams.broker import PartitionLog, partition_of
from streams.cache import Cache
from streams.handler import Handler
from streams.intake import Delivery
from streams.journal import stream_name
from streams.outbox import TypeOutbox
from streams.owner import Owner
from streams.ownership import Ownership
from streams.topic_ids import Described
from tests.simulation.account import COMMANDS, EVENTS, PROJECTIONS, TYPE, account
from tests.simulation.group import Consumer, Message, Place
from tests.simulation.kafka import SimulatedBroker

if TYPE_CHECKING:
    from streams.broker import Broker, Record
    from tests.simulation.world import World

COMMANDS_TOPIC = f"{TYPE}-commands"
COMMITS_TOPIC = f"{TYPE}-commits"
EVENTS_TOPIC = f"{TYPE}-events"
DEAD_LETTERS_TOPIC = f"{TYPE}-dead-letters"
REPLIES_TOPIC = "answers"
TABLES = (*(projection.name for projection in PROJECTIONS), "positions")


class WatchedOutbox(TypeOutbox):
    """The worker's outbox; whoever watches sees the replies as the owner hands them over."""

    def __init__(self, world: World, broker: Broker) -> None:
        super().__init__(broker, COMMITS_TOPIC, COMMANDS_TOPIC, DEAD_LETTERS_TOPIC)
        self._world = world

    async def replies(self, replies: Sequence[tuple[str, str, bytes]]) -> None:
        self._world.checks.replied(replies)
        await super().replies(replies)


class CommandWorker:
    """Owns what its group gives it, and answers."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self._name = name
        self._journal = world.journal()
        self._broker = SimulatedBroker(world, world.shape.partitions)
        self._outbox = WatchedOutbox(world, self._broker)
        self.ownership = Ownership(self._new_owner, self._describe, lambda: self._consumer.rejoin())
        self._consumer = Consumer(
            world,
            world.command_group,
            name,
            (COMMANDS_TOPIC,),
            self.ownership.revoke,
            self._positions,
            self._deliver,
        )
        self.stopping = asyncio.Event()

    async def main(self) -> None:
        """Serve until told to stop."""
        serving = asyncio.create_task(self._consumer.run())
        stop = asyncio.create_task(self.stopping.wait())
        await asyncio.wait((serving, stop), return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
        await self.ownership.close()
        await self._consumer.leave()
        serving.cancel()

    def _new_owner(self, partition: int, topic_id: str, count: int) -> Owner:
        shape, stream = self._world.shape, stream_name(TYPE, partition)
        cache = Cache(shape.cache_weight)
        handler = Handler(account, EVENTS, COMMANDS, self._journal, stream, cache, shape.dedupe_window, shape.limits)
        return Owner(
            stream,
            partition,
            topic_id,
            self._name,
            self._journal,
            handler,
            self._outbox,
            shape.limits,
            PartitionLog(self._broker, COMMANDS_TOPIC, partition),
            self.ownership.lost,
            lambda key: partition_of(key, shape.partitions),
        )

    async def _describe(self) -> Described | None:
        return (await self._broker.describe([COMMANDS_TOPIC])).get(COMMANDS_TOPIC)

    async def _positions(self, partitions: list[int]) -> dict[Place, int]:
        owned = await self.ownership.assign(set(partitions))
        return {(COMMANDS_TOPIC, p): offset for p, offset in owned.items()}

    async def _deliver(self, message: Message) -> None:
        record = message.record
        delivery = Delivery(
            record.offset, record.key, record.value, record.headers, record.timestamp, message.ack, message.discard
        )
        await self.ownership.deliver(message.partition, delivery)
        owner = self.ownership.owners.get(message.partition)
        if owner is not None:
            self._world.checks.bounds(owner)


class SimulatedTable:
    """A `projections.tables.Table` with a dictionary in the place of RocksDB, which outlives its process."""

    def __init__(self, world: World, name: str, disk: dict[tuple[str, int], dict[bytes, bytes]]) -> None:
        self.changelog = changelog_of(name)
        self._world = world
        self._name = name
        self._disk = disk

    def _rows(self, partition: int) -> dict[bytes, bytes]:
        return self._disk.setdefault((self._name, partition), {})

    def get(self, partition: int, key: bytes) -> bytes | None:
        return self._rows(partition).get(key)

    async def publish(self, broker: Broker, partition: int, rows: Mapping[bytes, bytes | None]) -> int:
        records: list[Record] = [(key, value, []) for key, value in rows.items()]
        return await broker.publish(self.changelog, partition, records)

    def write(self, partition: int, rows: Mapping[bytes, bytes | None], offset: int) -> None:
        present = self._rows(partition)
        for key, value in rows.items():
            if value is None:
                present.pop(key, None)
            else:
                present[key] = value
        known = read_up_to(int(present.get(PERSISTED, b"-1")), len(rows), offset)
        present[PERSISTED] = b"%d" % known

    async def recover(self, partition: int) -> None:
        """As `LocalStore` does: what the changelog has behind the offset that the disk has, but no older rows."""
        world, present = self._world, self._rows(partition)
        log = world.kafka.partition(self.changelog, partition)
        at = int(present.get(PERSISTED, b"-1"))
        for record in await world.network.ask("group", lambda: log.after(at + 1, len(log.records))):
            assert record.key is not None
            assert record.value is not None
            if is_newer(record.value, present.get(record.key)):
                present[record.key] = record.value
            present[PERSISTED] = b"%d" % record.offset


PERSISTED = b"__faust\0offset__"


def changelog_of(table: str) -> str:
    """The topic of a table's changes."""
    return f"projections-{table}-changelog"


class ProjectionWorker:
    """Tails the journal and keeps the tables of what its group gives it."""

    def __init__(self, world: World, name: str, disk: dict[tuple[str, int], dict[bytes, bytes]]) -> None:
        self._world = world
        journal = world.journal()
        broker = SimulatedBroker(world, world.shape.partitions, lambda: world.faults.sending(name))
        self.tables = {table: SimulatedTable(world, table, disk) for table in TABLES}
        self._tailers = Tailers(TYPE, EVENTS_TOPIC, "/accounts", journal, broker, EVENTS)  # type: ignore[arg-type]
        self.applier = Applier(
            TYPE,
            EVENTS_TOPIC,
            PROJECTIONS,
            self.tables,  # type: ignore[arg-type]
            self.tables["positions"],  # type: ignore[arg-type]
            broker,
            EVENTS,
            journal,  # type: ignore[arg-type]
            lambda message: message.discard(),
            lambda: self.consumer.rejoin(),
        )
        self.consumer = Consumer(
            world,
            world.projection_group,
            name,
            (EVENTS_TOPIC, COMMITS_TOPIC),
            self.applier.suspend,
            self._positions,
            self._deliver,
        )

    async def main(self) -> None:
        """Serve for ever."""
        await self.consumer.run()

    async def _positions(self, partitions: list[int]) -> dict[Place, int]:
        for partition in partitions:
            for table in self.tables.values():
                await table.recover(partition)
        self._tailers.assign(set(partitions))
        log = self._world.kafka.topics[EVENTS_TOPIC].partitions
        offsets = self.applier.assign({partition: len(log[partition].records) for partition in partitions})
        return {(EVENTS_TOPIC, partition): offset for partition, offset in offsets.items()}

    async def _deliver(self, message: Message) -> None:
        if message.topic == COMMITS_TOPIC:
            self._tailers.wake(message.partition, message.value)
            message.ack()
        else:
            await self.applier.deliver(_Event(message))


class _Event:
    """A Faust event, as far as the applier looks."""

    def __init__(self, message: Message) -> None:
        self.message = message
        self.ack = message.ack

    def discard(self) -> None:
        self.message.discard()
