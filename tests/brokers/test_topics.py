"""Topics have three copies whatever is up when they are made, and who has fewer is told so."""

from __future__ import annotations

from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from tests.brokers.conftest import Rig
from tests.e2e.client import PARTITIONS, eventually
from tests.e2e.worker import ORDERS


async def test_topics_made_while_a_broker_is_down(rig: Rig) -> None:
    """They have three copies all the same, of which two are acknowledged. One that was there before and has one copy is
    named, with what to do; so is more than there are brokers for, before anything is made."""
    system, few = rig.system, rig.system.topic("order-events")
    await system.admin.create_topics([NewTopic(few, PARTITIONS, 1)])
    refused = await system.run("-A", ORDERS, "setup", REPLICAS="4")
    assert (2, True) == (refused.returncode, "fewer than REPLICAS=4 brokers" in refused.stderr), refused.stderr
    assert "Traceback" not in refused.stderr
    assert [few] == [*await system.topics()]
    broker = rig.cluster.controller()
    await broker.kill()

    async def missed() -> bool:
        try:
            return len((await system.admin.describe_cluster())["brokers"]) == 2
        except KafkaError:
            return False

    await eventually(missed, 60, "the others do not miss it")
    made = await system.run("-A", ORDERS, "setup")
    assert 0 == made.returncode, made.stdout + made.stderr
    [line] = [line for line in (made.stdout + made.stderr).splitlines() if "fewer than" in line]
    assert f"{few}: Kafka keeps fewer than 2 copies" in line
    assert "kafka-reassign-partitions" in line
    await broker.start()  # aiokafka's administrator asks any of them, also one that is down
    described = await system.admin.describe_topics([*await system.topics()])
    copies = {topic["topic"]: {len(p["replicas"]) for p in topic["partitions"]} for topic in described}
    assert {few: {1}} | {name: {3} for name in copies if name != few} == copies
    resource = ConfigResource(ConfigResourceType.TOPIC, system.topic("order-commands"))
    [[(_, _, _, _, entries)]] = [answer.resources for answer in await system.admin.describe_configs([resource])]
    assert "2" == {name: value for name, value, *_ in entries}["min.insync.replicas"]
