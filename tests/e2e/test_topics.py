"""What a worker makes before it serves, and how it ends when it cannot."""

from __future__ import annotations

import asyncio

import pytest
import pytest_asyncio
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from tests.e2e.client import PARTITIONS
from tests.e2e.system import System
from tests.e2e.worker import ORDERS, PROJECTIONS, Worker, free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOUR = 3_600_000
RETENTION = {
    "order-commands": 7 * 24 * HOUR,
    "order-commits": HOUR,
    "order-logs": HOUR,
    "order-events": -1,
    "order-dead-letters": -1,
    "replies": 24 * HOUR,
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worker(system: System) -> Worker:
    """A worker that nobody has sent a message yet."""
    worker = system.start(ORDERS)
    await system.all_served(worker)
    return worker


async def settings_of(system: System, topic: str) -> dict[str, str]:
    """A topic's settings."""
    [response] = await system.admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    [(code, message, _, _, entries)] = response.resources
    assert code == 0, message
    return {entry[0]: entry[1] for entry in entries}


async def test_topics_are_made_before_the_first_message(system: System, worker: Worker) -> None:
    """A worker makes the topics of its type and of replies with `PARTITIONS` partitions each, that of its keys with
    one, and those alone."""
    expected = {system.topic(name): PARTITIONS for name in RETENTION} | {system.topic("orders-keys"): 1}
    assert expected == {topic: n for topic, n in (await system.topics()).items() if "-__assignor" not in topic}


@pytest.mark.parametrize("name", RETENTION)
async def test_topics_keep_what_they_must(system: System, worker: Worker, name: str) -> None:
    """Events and dead letters stay for ever, commands a week, replies a day, hints an hour, all by the
    broker's clock; none is compacted."""
    settings = await settings_of(system, system.topic(name))
    assert (str(RETENTION[name]), "delete") == (settings["retention.ms"], settings["cleanup.policy"])
    assert "LogAppendTime" == settings["message.timestamp.type"]


@pytest.mark.parametrize("name", RETENTION)
async def test_an_acknowledged_message_outlives_a_broker(system: System, worker: Worker, name: str) -> None:
    """A replica that lacks messages never leads; of three brokers two have each, with one broker one copy has to do."""
    settings = await settings_of(system, system.topic(name))
    in_sync = str(max(1, len(system.servers) - 1))
    assert (in_sync, "false") == (settings["min.insync.replicas"], settings["unclean.leader.election.enable"])


@pytest.mark.parametrize("module", [ORDERS, PROJECTIONS])
async def test_another_number_of_partitions_is_refused(system: System, worker: Worker, module: str) -> None:
    """A worker whose PARTITIONS is not that of the topics ends with status 2 and a line that says both numbers."""
    ended = await system.run("-A", module, "worker", "--web-port", str(free_port()), "-l", "warn", PARTITIONS="8")
    assert 2 == ended.returncode
    [line] = [line for line in (ended.stdout + ended.stderr).splitlines() if line.startswith("error: ")]
    assert "has 4 partitions" in line
    assert "PARTITIONS says 8" in line
    assert "Traceback" not in ended.stdout + ended.stderr
    found = await system.topics()
    assert [PARTITIONS] * len(RETENTION) == [found[system.topic(name)] for name in RETENTION]


@pytest.mark.parametrize(
    "settings",
    [
        {"NAMESPACE": "1 system"},
        {"JOURNAL_URL": "mongodb://127.0.0.1/shop"},
        {"JOURNAL_URL": "cassandra://127.0.0.1:notaport/shop"},
        {"JOURNAL_URL": "cassandra://127.0.0.1:9042"},
        {"PARTITIONS": "none"},
        {"PARTITIONS": "0"},
        {"KAFKA_BROKERS": "SSL://127.0.0.1:9092"},
        {"KAFKA_BROKERS": ";"},
        {"KAFKA_BROKERS": "kafka://127.0.0.1:abc"},
        {"GROUP_LINGER": "inf"},
    ],
    ids=lambda settings: "=".join(*settings.items()),
)
async def test_settings_that_cannot_be_used_are_named(system: System, settings: dict[str, str]) -> None:
    """A worker with a wrong setting ends with status 2 and one line that names the setting."""
    options = "worker", "--web-port", str(free_port())
    runs = (system.run("-A", module, *options, **settings) for module in (ORDERS, PROJECTIONS))
    for ended in await asyncio.gather(*runs):
        assert 2 == ended.returncode
        [line] = (ended.stdout + ended.stderr).splitlines()
        assert line.startswith("error: ")
        assert next(iter(settings)) in line


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"JOURNAL_URL": "sqlite:////proc/shop.db"}, "shop_orders.db cannot be made: may this user write there?"),
        ({"DATA_DIR": "/proc/data"}, "/proc/data/orders: No such file or directory: choose a folder"),
    ],
    ids=["journal", "folder"],
)
async def test_places_that_cannot_be_written(system: System, settings: dict[str, str], words: str) -> None:
    """A worker that finds out when it starts ends with status 2 and one line, too."""
    ended = await system.run("-A", ORDERS, "worker", "--web-port", str(free_port()), "-l", "warn", **settings)
    assert 2 == ended.returncode
    [line] = [line for line in (ended.stdout + ended.stderr).splitlines() if line.startswith("error: ")]
    assert words in line
    assert "Traceback" not in ended.stdout + ended.stderr
