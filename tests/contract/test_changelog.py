"""A table and its changelog on a real broker that does not take every row."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from projections.applying.refolding import fold_key
from projections.stores.local.store import rocksdb_table
from projections.stores.local.tables import LocalRows
from streams.kafka.client import KafkaClient
from streams.kafka.client_factory import ClientFactory
from streams.runtime.application import Application
from streams.settings import Settings
from tests.contract.topics import SERVERS, topics
from tests.unit.boxes import Boxes, boxes, put
from tests.unit.local_machines import Consumer
from tests.unit.until import until

LIMIT = 50_000


class Shelf:
    """Rows in RocksDB, whose changelog takes batches of up to 50,000 bytes."""

    def __init__(self, folder: Path, name: str) -> None:
        self.app = Application("a.test", name, Settings(data_dir=folder, partitions=1))
        self.app._consumer = Consumer()
        self.broker = KafkaClient(ClientFactory(SERVERS), 1)
        self.rows = LocalRows(rocksdb_table(self.app, "box-rows", {}), self.broker)

    async def take(self, most: int) -> None:
        """Have the changelog take batches of up to so many bytes."""
        admin = AIOKafkaAdminClient(bootstrap_servers=SERVERS)
        await admin.start()
        config = {"max.message.bytes": str(most)}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, self.rows.changelog, configs=config)])
        await admin.close()


@pytest_asyncio.fixture(loop_scope="function")
async def shelf(tmp_path: Path, namespace: str) -> AsyncIterator[Shelf]:
    """Its changelog is removed afterwards."""
    shelf = Shelf(tmp_path, f"{namespace}shelf-{tmp_path.name}")
    config = {"max.message.bytes": str(LIMIT), "cleanup.policy": "compact"}
    async with topics(shelf.rows.changelog, config=config):
        await shelf.broker.start()
        yield shelf
        await shelf.broker.stop()


@pytest.mark.parametrize("known", [True, False])
async def test_a_row_that_the_changelog_does_not_take(shelf: Shelf, known: bool, monkeypatch: Any) -> None:
    """Its key is set aside, whether the limit is known before or the broker has to say so; all others go on; and it
    comes back by the usual order when the topic takes it."""
    here = Boxes()
    if not known:  # as where a client must not ask for it

        async def unknown(topic: str) -> int:
            return 1_000_000

        monkeypatch.setattr(shelf.broker, "_ask_largest", unknown)
    partition = here.partition()
    await partition.open([here.wanted(rows=shelf.rows)])
    table = partition.tables["boxes-1"]
    for what in ("a" * 30_000, "b" * 30_000, "c"):
        await here.write(("1", put(what)), ("2", put("x")))
    await until(lambda: table.place.at == here.head, 20)
    rows = await shelf.rows.load(0, "boxes-1", ["1", "2"])
    assert (["1"], ["x"] * 3) == (list(table.quarantined), (rows["2"].row or {})["in"])
    assert "RowTooLarge" in table.quarantined["1"].error
    await here.write(("2", put("y")), ("3", put("z")))
    await until(lambda: table.place.at == here.head, 20)
    monkeypatch.undo()
    await shelf.take(1_000_000)
    await asyncio.sleep(0.2)  # the broker learns of it through its own log
    shelf.broker._limits._known.clear()
    [folded] = await fold_key(partition, "boxes", "1")
    rows = await shelf.rows.load(0, "boxes-1", ["1", "2", "3"])
    assert (None, 3, {}) == (folded.waits, len((rows["1"].row or {})["in"]), table.quarantined)
    await here.write(("1", put("w")))
    await until(lambda: table.place.at == here.head, 20)
    assert here.expected(boxes)["1"]["in"] == ((await shelf.rows.load(0, "boxes-1", ["1"]))["1"].row or {})["in"]
    await here.close()
