"""What gateways read of the topic of replies, on a real Kafka: each its own part, however many they are."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio

from projections.gateway.command_log import CommandLog
from projections.gateway.command_records import CommandAggregate, KafkaPosition, SentCommand, encode_sent
from projections.gateway.replies import GatewayReplies
from projections.gateway.waiters import ReplyWaiters
from streams.deciding.messages import AggregateRef, Reply, encode_reply
from streams.kafka.client import KafkaClient, ProducerRecord, partition_of
from streams.kafka.client_factory import ClientFactory
from tests.contract.topics import SERVERS, new_topic

PARTITIONS = 8
EACH = 100
"""The commands that each worker brings in."""
pytestmark = pytest.mark.asyncio(loop_scope="function")


class Cost(NamedTuple):
    """Of each worker the rows in its file, and the records that it has read."""

    rows: list[int]
    records: list[int]


@pytest_asyncio.fixture(loop_scope="function")
async def topic(namespace: str) -> AsyncIterator[str]:
    """It is removed afterwards."""
    async with new_topic(namespace, PARTITIONS) as name:
        yield name


@pytest_asyncio.fixture(loop_scope="function")
async def broker() -> AsyncIterator[KafkaClient]:
    broker = KafkaClient(ClientFactory(SERVERS), PARTITIONS)
    await broker.start()
    yield broker
    await broker.stop()


def worker(broker: KafkaClient, topic: str, folder: Path) -> GatewayReplies:
    """A gateway's reading."""
    commands = CommandLog(lambda: folder / "commands.sqlite")
    return GatewayReplies(
        broker, commands, ReplyWaiters(2), clients=ClientFactory(SERVERS), topic=topic, partitions=PARTITIONS
    )


async def produce(broker: KafkaClient, topic: str, ids: list[str]) -> dict[int, int]:
    """A note and a reply of each command, in its partition. Returns the ends."""
    ends = {}
    for partition in range(PARTITIONS):
        records: list[ProducerRecord] = []
        for id in ids:
            if partition_of(id.encode(), PARTITIONS) == partition:
                place = KafkaPosition("order-commands", 0, 1)
                sent = SentCommand(id, CommandAggregate("order", "1"), "PlaceOrder", place, "1")
                reply = Reply(id, "accepted", AggregateRef("order", "1", 1), command="PlaceOrder")
                records += [(id.encode(), value, []) for value in (encode_sent(sent), encode_reply(reply))]
        if records:
            ends[partition] = await broker.publish(topic, partition, records) + 1
    return ends


async def read_up_to(worker: GatewayReplies, ends: dict[int, int]) -> None:
    """Wait until a worker has read all that is for it."""
    wanted = {partition: end for partition, end in ends.items() if partition in worker._active | worker._standby}
    async with asyncio.timeout(20):
        while any(worker._read_to.get(partition, 0) < end for partition, end in wanted.items()):
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("many", [1, 2, 4, 8])
async def test_a_worker_costs_what_it_brings_in(broker: KafkaClient, topic: str, tmp_path: Path, many: int) -> None:
    """However many workers there are, a command is a row at two of them (at one if there are no others) and two records
    for each: so a worker's rows and records are about twice what it brings in, not what all of them do."""
    workers = [worker(broker, topic, tmp_path / str(nr)) for nr in range(many)]
    for nr, each in enumerate(workers):
        active = {partition for partition in range(PARTITIONS) if partition % many == nr}
        standby = {partition for partition in range(PARTITIONS) if partition % many == (nr + 1) % many} - active
        await each.assign(active, standby)
    ends = await produce(broker, topic, [f"c-{nr}" for nr in range(many * EACH)])
    cost = Cost([], [])
    for nr, each in enumerate(workers):
        await read_up_to(each, ends)
        cost.records.append(sum(each._read_to.values()))
        await each.close()
        with sqlite3.connect(tmp_path / str(nr) / "commands.sqlite") as file:
            cost.rows.append(file.execute("SELECT count(*) FROM commands").fetchone()[0])
    copies = min(many, 2)
    assert (copies * many * EACH, 2 * copies * many * EACH) == (sum(cost.rows), sum(cost.records))
    assert max(cost.rows) < 1.5 * copies * EACH
    assert max(cost.records) < 1.5 * 2 * copies * EACH


async def test_a_partition_that_comes_back(broker: KafkaClient, topic: str, tmp_path: Path) -> None:
    """A worker that gets a partition again reads on where its file ends, and knows what became of commands meanwhile;
    one that never had it reads the day."""
    one, other = (worker(broker, topic, tmp_path / name) for name in ("one", "other"))
    id, partition = "c-1", partition_of(b"c-1", PARTITIONS)
    later = next(f"d-{nr}" for nr in range(99) if one._partition(f"d-{nr}") == partition)
    await one.assign({partition}, ())
    before = await produce(broker, topic, [id])
    await read_up_to(one, before)
    await one.assign((), ())
    await produce(broker, topic, [later])
    for again in (one, other):
        await again.assign({partition}, ())
        async with asyncio.timeout(10):
            while not again._read_to:
                await asyncio.sleep(0.01)
            assert (before[partition] if again is one else 0) <= again._read_to[partition]
            for known in (await again.find_for_sure(id), await again.find_for_sure(later)):
                assert known is not None
                assert known.reply is not None
        await again.close()
