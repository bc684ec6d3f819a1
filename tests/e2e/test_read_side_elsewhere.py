"""The page on tables of somebody else's events, followed to the letter: two such apps beside the context's own."""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete

from tests.e2e.client import eventually, keys_of, partition_of
from tests.e2e.orders import LINE, OPEN
from tests.e2e.system import ROOT, System
from tests.e2e.worker import ORDERS, PROJECTIONS, Worker

pytestmark = pytest.mark.asyncio(loop_scope="module")
JOURNAL = "sqlite"

PAGE = ROOT / "docs" / "read-side-elsewhere.md"
SECONDS = 60.0


def write_app(folder: Path, name: str) -> None:
    """The app of the page, under a name of its own."""
    [code] = re.findall(r"^`picking/app\.py`:\n\n```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    (folder / name).mkdir()
    (folder / name / "app.py").write_text(code.replace("picking", name))
    shutil.copytree(ROOT / "schemas" / "shop" / "order", folder / name / "schemas" / "order")


async def add_lines(system: System, id: str, *skus: str) -> str:
    """An order of two pieces of each. Returns the position of the last line."""
    commands: list[tuple[str, dict[str, Any]]] = [("OpenOrder", OPEN)]
    replies = [await system.ask("order", id, *command, id=f"{id}-open") for command in commands]
    replies += [await system.ask("order", id, "AddLine", {**LINE, "sku": sku, "quantity": 2}) for sku in skus]
    assert {"accepted"} == {reply["status"] for reply in replies}, replies
    return str(replies[-1]["position"])


async def test_two_apps_of_topics_alone(system: System, tmp_path: Path) -> None:
    """Each keeps its own tables of the topic, shows how far they are, is rebuilt and catches up, and publishes nothing.
    Where the topic has lost its beginning, tables begin with what is left, and health says so."""
    for name in ("picking", "packing"):
        write_app(tmp_path, name)
    path = f"{ROOT}:{tmp_path}"
    elsewhere = {"JOURNAL_URL": "sqlite:////nowhere/at/all", "PYTHONPATH": path}
    picking = system.start("picking.app", **elsewhere)  # it waits for the topic
    owners = [system.start(ORDERS), system.start(PROJECTIONS)]
    packing = system.start("packing.app", **elsewhere)
    await asyncio.gather(*(system.all_served(worker) for worker in (*owners, picking, packing)))

    # All three have what was written, each by its position.
    position = await add_lines(system, "A-1", "A", "B")
    for worker in (picking, packing):
        status, row, _ = await system.get(worker, "/orders/A-1", At_Least=position, Prefer="wait=20")
        assert (200, 4, position.split(":")[0]) == (status, row["pieces"], row["position"].split(":")[0]), row
    status, row, _ = await system.get(owners[1], "/orders/A-1", At_Least=position, Prefer="wait=20")
    assert (200, 2) == (status, len(row["lines"]))
    await eventually(lambda: caught_up(system, picking), SECONDS, picking.tail)
    assert 404 == (await system.get(picking, "/orders/A-1/history"))[0]
    published = {(record.partition, dict(record.headers)["ce_id"]) for record in await system.read("order-events")}
    assert len(published) == len(await system.read("order-events"))  # nobody has published anything twice
    assert {"picking-control", "packing-control"} <= {
        name.removeprefix(system.namespace) for name in await system.topics()
    }

    # One is down, the other goes on; then it catches up.
    packing.signal(signal.SIGTERM)
    await eventually(lambda: not packing.running, SECONDS, packing.tail)
    position = await add_lines(system, "A-1", "C")
    status, row, _ = await system.get(picking, "/orders/A-1", At_Least=position, Prefer="wait=20")
    assert (200, 6) == (status, row["pieces"])
    packing = system.start("packing.app", folder=packing.folder, **elsewhere)
    await system.all_served(packing)
    status, row, _ = await system.get(packing, "/orders/A-1", At_Least=position, Prefer="wait=20")
    assert (200, 6) == (status, row["pieces"])

    # The topic loses its beginning: what is there stays, and what is built now begins with what is left.
    partition = partition_of("A-1")
    tp = TopicPartition(system.topic("order-events"), partition)
    end = (await system.ends("order-events"))[partition]
    await system.admin.delete_records({tp: RecordsToDelete(before_offset=end)})
    await add_lines(system, "A-1", "D")
    other = next(key for key in keys_of(partition, "B-") if key != "A-1")
    position = await add_lines(system, other, "A")
    async with system.http.post(picking.url + "/projections/picking/rebuild", json={}) as response:
        assert 202 == response.status
    rebuilt = await eventually(lambda: serves(system, picking, "picking-1.1"), SECONDS, picking.tail)
    assert [] == rebuilt["quarantined"]
    status, row, _ = await system.get(picking, "/orders/A-1", At_Least=position, Prefer="wait=20")
    assert (200, 2) == (status, row["pieces"])
    assert 2 == (await system.get(picking, f"/orders/{other}"))[1]["pieces"]
    assert 8 == (await system.get(packing, "/orders/A-1"))[1]["pieces"]
    _, ready, _ = await system.get(picking, "/health/ready")
    [limit] = ready["limits"]
    assert f"order-{partition}: {tp.topic} begins with event" in limit
    assert 1 == sum("begins with event" in line for line in picking.lines)
    await eventually(lambda: caught_up(system, picking), SECONDS, picking.tail)


async def caught_up(system: System, worker: Worker) -> bool:
    """Whether `/lag` says that its tables have all of the topic; metrics say the same."""
    lag = await system.lag(worker)
    async with system.http.get(worker.url + "/metrics") as response:
        text = await response.text()
    heads = re.findall(r'^sourced_stream_head_commit\{stream="order-\d"\} (\d+)', text, re.MULTILINE)
    return bool(lag and lag["total"] == 0 and any(row["head"] for row in lag["streams"]) and heads)


async def serves(system: System, worker: Worker, table: str) -> Any:
    """What `/projections` says of the projection when this table answers."""
    status, body, _ = await system.get(worker, f"/projections/{table.rpartition('-')[0]}")
    return body if status == 200 and body["serving"] == table else None
