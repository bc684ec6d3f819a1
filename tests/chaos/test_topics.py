"""Topics are deleted and made again under load."""

from __future__ import annotations

from tests.chaos.rig import Rig
from tests.e2e.client import eventually


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
