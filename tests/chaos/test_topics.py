"""Command topics are deleted, or lose what they had."""

from __future__ import annotations

import shutil

from tests.chaos.rig import Rig
from tests.e2e.client import PARTITIONS, eventually


async def test_commands_topic_made_again(rig: Rig) -> None:
    """The command topic is deleted and made again: what was not read in time is sent again by the clients that have no
    reply, and the journal begins the new topic at its beginning."""
    await rig.start()
    times = 3 if rig.full else 1
    async with rig.under_load("commands topic deleted and made again", times) as load:
        topic = rig.system.topic("order-commands")

        async def gone() -> bool:
            return topic not in await rig.system.topics()

        for _ in range(times):
            await rig.system.admin.delete_topics([topic])
            await eventually(gone, 30, "the topic is still there")
            await rig.system.make_topic("order-commands")
            await load.served()


async def test_commands_lost_by_kafka(rig: Rig) -> None:
    """Kafka loses a command topic's messages with its disk, and keeps the topic: new commands get offsets that the
    journal has covered. The owners notice while they run, and go on from the end of what is there; commands that came
    before they noticed have no reply, and are sent again."""
    await rig.start()
    async with rig.at_rest("commands lost by Kafka") as load:
        await load.lines(800)
        await rig.kafka.stop()
        for partition in range(PARTITIONS):
            folder = rig.system.topic(f"order-commands-{partition}")
            shutil.rmtree(rig.kafka.where.folder("kafka") / "data" / folder)
        await rig.kafka.start()
        await rig.ready()
        await load.answered(await load.lines(100))
    said = "\n".join(line for worker in rig.orders for line in worker.lines)
    assert "Kafka has lost commands that it had acknowledged" in said
