"""Projections in the hands of an operator, under load: built anew, paused, mended, dropped, and asked all along."""

from __future__ import annotations

import json
import shutil
import signal
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete
from aiokafka.errors import PolicyViolationError

from tests.e2e.client import PARTITIONS, eventually, partition_of
from tests.e2e.orders_under_load import OPEN, Reader, Writers, folded
from tests.e2e.system import System
from tests.e2e.worker import ORDERS, Worker

pytestmark = pytest.mark.asyncio(loop_scope="module")

APP = "tests.rebuild.app"
EARLIER = 2_400
"""Lines that are there before the first test."""
PACE = 60
JSON = {"Content-Type": "application/json"}
CHANGELOG = "projections-order-rows-changelog"


@pytest.fixture(scope="module")
def journal_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One file: what is looked at here is the read side."""
    return f"sqlite:///{tmp_path_factory.mktemp('journal')}/shop.db"


@dataclass
class Shop:
    """Orders, two workers of projections, and whether the bug of these is mended."""

    system: System
    writers: Writers
    mended: Path
    workers: list[Worker]

    def reader(self) -> Reader:
        return Reader(self.system, self.writers.keys, self.workers)

    async def start(self, versions: str, folder: Path | None = None) -> Worker:
        worker = self.system.start(APP, folder, REBUILD_MENDED=str(self.mended), REBUILD_VERSIONS=versions)
        self.workers.append(worker)
        return worker

    async def post(self, path: str, body: Any = None, worker: int = 0) -> tuple[int, Any]:
        """Status and answer to an order, from one of the workers."""
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        async with self.system.http.post(self.workers[worker].url + path, data=data, headers=JSON) as response:
            return response.status, json.loads(await response.read())

    async def status(self, name: str = "orders", worker: int = 0) -> dict[str, Any]:
        """What `/projections/{name}` says."""

        async def answer() -> Any:
            status, body, _ = await self.system.get(self.workers[worker], f"/projections/{name}")
            return body if status == 200 else None

        return dict(await eventually(answer, 30, self.workers[worker].tail))

    async def rebuild(self, worker: int = 0) -> str:
        """Order a new table; its name."""
        status, told = await self.post("/projections/orders/rebuild", worker=worker)
        assert (202, (await self.status())["serving"]) == (status, told["serving"])
        return str(told["table"])

    async def tables(self) -> dict[str, str]:
        """The states of the tables of orders."""
        return {its["table"]: its["state"] for its in (await self.status())["tables"]}

    async def serves(self, table: str, seconds: float = 30) -> None:
        """Return when this table answers, by what both workers say."""

        async def does() -> bool:
            return {table} == {(await self.status(worker=number))["serving"] for number in range(len(self.workers))}

        await eventually(does, seconds, lambda: "\n".join(worker.tail() for worker in self.workers))

    async def level(self) -> None:
        """Return when nothing is behind: all that was written is decided, published and applied."""
        await self.system.covered("orders", "order")

        async def done() -> bool:
            lag = await self.system.lag(self.workers[0])
            return lag is not None and lag["total"] == 0

        await eventually(done, 30, lambda: "\n".join(worker.tail() for worker in self.workers))

    async def equals_the_journal(self) -> None:
        """Every row, at both workers, is what the journal says."""
        await self.level()
        expected = await folded(self.system)
        for worker in self.workers:
            found = {key: (await self.system.get(worker, f"/orders/{key}"))[1] for key in expected}
            assert expected == {key: {n: v for n, v in row.items() if n != "version"} for key, row in found.items()}

    async def broken(self) -> tuple[str, str]:
        """An order with a line that the projection raises on, and a good one behind it; the position of the first."""
        key = f"broken-{uuid.uuid4().hex[:6]}"
        await self.system.ask("order", key, "OpenOrder", OPEN)
        line = {"description": "", "quantity": 1, "unit_price": "1.00"}
        reply = await self.system.ask("order", key, "AddLine", line | {"sku": "BROKEN"})
        await self.system.ask("order", key, "AddLine", line | {"sku": "good"})

        async def waits() -> Any:
            waiting = (await self.status())["quarantined"]
            return [its for its in waiting if its["key"] == key and its["events"] == 2]

        [its] = await eventually(waits, 20, self.workers[0].tail)
        assert its["position"].startswith(f"order-{partition_of(key)}:"), reply
        assert "Bug: " in its["error"]
        return key, its["position"]

    async def row(self, key: str) -> Any:
        """The row of an order, as both workers have it."""
        one, two = [(await self.system.get(worker, f"/orders/{key}"))[1] for worker in self.workers]
        assert one == two
        return one

    async def faust(self, *arguments: str) -> tuple[int, str]:
        """Exit code and output of `projections` on the command line."""
        ended = await self.system.run("-A", APP, "projections", *arguments)
        assert "Traceback" not in ended.stderr
        return ended.returncode, ended.stdout + ended.stderr


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(system: System, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    """Orders with lines in every partition."""
    shop = Shop(system, Writers(system, "load-"), tmp_path_factory.mktemp("mended") / "mended", [])
    orders = system.start(ORDERS)
    for _ in range(2):
        await shop.start("1")
    await system.all_served(orders)
    await system.all_served(*shop.workers)
    await shop.writers.open()
    await shop.writers.write(EARLIER)
    await shop.level()
    yield shop


async def test_status(shop: Shop) -> None:
    """Both workers say the same: one table of each projection, which serves and has all of its events."""
    events = sum((await shop.system.ends("order-events")).values())
    for worker in range(2):
        _, body, _ = await shop.system.get(shop.workers[worker], "/projections")
        stores = {"countries": "rocksdb", "orders": "rocksdb", "users-orders": "sqlite"}
        assert [(name, 1, "order", store) for name, store in stores.items()] == [
            (its["name"], its["version"], its["source"], its["store"]) for its in body["projections"]
        ]
        for projection in body["projections"]:
            [table] = projection["tables"]
            assert ("serving", events, events) == (table["state"], table["done"], table["total"])
            assert {str(partition) for partition in range(PARTITIONS)} == table["partitions"].keys()
            assert {"current"} == {its["state"] for its in table["partitions"].values()}
    assert 404 == (await shop.system.get(shop.workers[0], "/projections/none"))[0]
    code, said = await shop.faust("status", "--url", shop.workers[1].url)
    assert (0, True) == (code, "orders-1" in said and "serving" in said), said


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("orders/pause", b"{", 400, "JSON"),
        ("orders/pause", {}, 422, "reason"),
        ("orders/pause", {"reason": "  "}, 422, "$.reason"),
        ("orders/pause", {"reason": 7}, 422, "$.reason"),
        ("orders/pause", {"reason": "x", "until": 7}, 422, "until"),
        ("orders/pause", {"reason": "x" * 20_000}, 413, "bytes"),
        ("orders/skip", {"position": "order-0:1:0"}, 422, "reason"),
        ("orders/skip", {"position": "order-0", "reason": "x"}, 422, "$.position"),
        ("orders/skip", {"position": "order-0:999999:0", "reason": "x"}, 422, "$.position"),
        ("orders/skip", {"position": "user-0:1:0", "reason": "x"}, 422, "$.position"),
        ("orders/drop", {"table": "orders"}, 422, "$.table"),
        ("orders/drop", {"table": "orders-9"}, 404, "orders-9"),
        ("orders/rebuild", {"again": "yes"}, 422, "$.again"),
        ("orders/rebuild", [], 422, "object"),
        ("none/rebuild", None, 404, "none"),
        ("orders/rows/none/rebuild", None, 404, "none"),
    ],
)
async def test_orders_that_cannot_be_taken(shop: Shop, path: str, body: Any, status: int, says: str) -> None:
    """Problem details that name what is wrong, and nothing has changed."""
    answered, problem = await shop.post(f"/projections/{path}", body, worker=1)
    assert (status, status) == (answered, problem["status"])
    assert says in problem["detail"]
    assert (await shop.status())["serving"] in await shop.tables()
    async with shop.system.http.get(shop.workers[0].url + "/projections/orders/rebuild") as response:
        assert (405, "POST") == (response.status, response.headers["Allow"])


async def test_rebuild_under_load(shop: Shop) -> None:
    """A table is built beside and takes over, twice: every answer is 200, right, and never older than one before."""
    async with shop.reader() as reader, shop.writers.writing(PACE):
        before = (await shop.status())["serving"]
        first = await shop.rebuild()
        await shop.serves(first)
        code, said = await shop.faust("rebuild", "orders", "--wait", "--url", shop.workers[1].url)
        second = said.split()[0]
        assert (0, True) == (code, f"{second} answers now" in said), said
        await shop.serves(second)
    assert 0 == reader.refused
    assert reader.asked > 50
    assert {before: "to drop", first: "to drop", second: "serving"}.items() <= (await shop.tables()).items()
    answered, problem = await shop.post("/projections/orders/drop", {"table": second})
    assert (409, True) == (answered, "serving" in problem["detail"])
    await shop.equals_the_journal()


async def test_pause_and_resume(shop: Shop) -> None:
    """While a projection is paused its rows stay as they are and it falls behind, others do not; then it catches up."""
    assert 200 == (await shop.post("/projections/orders/pause", {"reason": "to see"}, worker=1))[0]
    before = [await shop.row(key) for key in shop.writers.keys]
    [other] = (await shop.status("users-orders"))["tables"]
    await shop.writers.write(400)

    async def others() -> bool:
        [table] = (await shop.status("users-orders"))["tables"]
        return bool(table["done"] == other["done"] + 400)

    await eventually(others, 20, shop.workers[0].tail)
    status = await shop.status()
    serving = next(its for its in status["tables"] if its["table"] == status["serving"])
    assert ("to see", "paused", 400) == (status["paused"], serving["state"], serving["total"] - serving["done"])
    assert before == [await shop.row(key) for key in shop.writers.keys]
    lag = await shop.system.lag(shop.workers[0])
    assert 400 == sum(stream["events"] for stream in lag["streams"])
    code, said = await shop.faust("status", "orders", "--url", shop.workers[0].url)
    assert (1, True) == (code, "to see" in said), said
    code, said = await shop.faust("rebuild", "orders", "--wait", "--url", shop.workers[0].url)
    assert (1, True) == (code, "paused" in said), said
    assert 200 == (await shop.post("/projections/orders/resume"))[0]
    await shop.serves(said.split()[0])
    await shop.equals_the_journal()


async def test_one_key_that_raises(shop: Shop) -> None:
    """Its later events wait and are in the dead letters, other keys go on; a skip of the event folds the rest at once,
    also in a table that is built later."""
    key, position = await shop.broken()
    assert 2 == (await shop.row(key))["sequence"] + 1, "the row is as it was before"
    await shop.writers.write(40)
    await shop.level()
    code, said = await shop.faust("dead-letters", "--limit", "2")
    assert (0, 2) == (code, said.count(f"{key}  LineAdded")), said
    assert position in said
    answered, skipped = await shop.post("/projections/orders/skip", {"position": position, "reason": "a test"}, 1)
    assert (200, [key], [None]) == (
        answered,
        [row["key"] for row in skipped["rows"]],
        [row["waits"] for row in skipped["rows"]],
    )
    row = await shop.row(key)
    assert (3, ["good"]) == (row["sequence"], [line["sku"] for line in row["lines"]])
    status = await shop.status()
    assert ([], True) == (status["quarantined"], {"position": position, "reason": "a test"} in status["skips"])
    assert "accepted" == (await shop.system.ask("order", key, "PlaceOrder", {}))["status"]
    await shop.serves(await shop.rebuild())
    row = await shop.row(key)
    assert ("placed", ["good"]) == (row["status"], [line["sku"] for line in row["lines"]])
    assert 0 == (await shop.status())["quarantined_keys"]


async def test_row_rebuilt_by_mended_code(shop: Shop) -> None:
    """A row can be folded anew when the projection has been mended, and not before; rows of partitions likewise."""
    key, position = await shop.broken()
    answered, problem = await shop.post(f"/projections/orders/rows/{key}/rebuild", worker=0)
    assert (409, True) == (answered, "Bug" in problem["detail"] and position in problem["detail"])
    code, said = await shop.faust("rebuild", "orders", "--key", key, "--url", shop.workers[1].url)
    assert (1, True) == (code, "Bug" in said), said
    shop.mended.touch()
    answered, told = await shop.post(f"/projections/orders/rows/{key}/rebuild", worker=1)
    assert (200, [(await shop.status())["serving"]]) == (answered, [row["table"] for row in told["rows"]])
    assert ["BROKEN", "good"] == [line["sku"] for line in (await shop.row(key))["lines"]]
    assert 0 == (await shop.status())["quarantined_keys"]
    answered, told = await shop.post(f"/projections/countries/rows/{OPEN['country']}/rebuild")
    assert (200, list(range(PARTITIONS))) == (answered, sorted(row["partition"] for row in told["rows"]))
    shop.mended.unlink()


async def test_topic_that_does_not_reach_back(shop: Shop) -> None:
    """What is not on the topic any more comes from the journal: the new table is complete all the same."""
    topic = shop.system.topic("order-events")
    ends = await shop.system.ends("order-events")
    upto = {TopicPartition(topic, p): RecordsToDelete(end - 150 * (p > 0)) for p, end in ends.items()}
    await shop.system.admin.delete_records(upto)
    shop.mended.touch()
    async with shop.reader() as reader, shop.writers.writing(PACE):
        built = await shop.rebuild(worker=1)
        await shop.serves(built)
    assert 0 == reader.refused
    await shop.level()
    table = next(its for its in (await shop.status())["tables"] if its["table"] == built)
    assert table["done"] == table["total"]


async def test_new_version(shop: Shop) -> None:
    """New code builds its table beside the old one, which goes on answering; it takes over once, and nobody sees a row
    go back, though workers are exchanged one by one. Then the old tables are dropped, also on Kafka."""
    old = (await shop.status())["serving"]
    async with shop.reader() as reader:
        for worker in list(shop.workers):
            shop.workers.remove(worker)
            worker.signal(signal.SIGTERM)
            await eventually(lambda worker=worker: not worker.running, 30, worker.tail)
            await shop.start("2", worker.folder)
            await shop.system.all_served(*shop.workers)
            if reader.versions == [1]:  # one worker is old, one is new
                tables = await shop.tables()
                assert {old: "frozen", "orders-2": "building"}.items() <= tables.items()
        await shop.serves("orders-2")
    assert [1, 2] == reader.versions
    tables = await shop.tables()
    assert {"orders-2": "serving", old: "to drop"}.items() <= tables.items()
    async with shop.reader() as reader:
        for table in tables.keys() - {"orders-2"}:
            assert 202 == (await shop.post("/projections/orders/drop", {"table": table}))[0]

        async def gone() -> bool:
            return {"orders-2": "serving"} == await shop.tables()

        await eventually(gone, 30, shop.workers[0].tail)
        assert 202 == (await shop.post("/projections/orders/drop", {"table": old}))[0]
    assert ([2], 0) == (reader.versions, reader.refused)
    left = {record.key: record.value for record in await shop.system.read(CHANGELOG)}
    tables_left = {key.partition(b"\0")[0] for key, value in left.items() if value is not None}
    assert {b"orders-2", b"countries-1"} == tables_left


async def test_rows_that_are_gone(shop: Shop) -> None:
    """With the changelog and the workers' folders, and still the table is said to answer: nobody is told that there are
    no rows, and it answers when it has all of them again."""
    before = [await shop.row(key) for key in shop.writers.keys]
    workers, shop.workers[:] = list(shop.workers), []
    for worker in workers:
        worker.signal(signal.SIGTERM)
    for worker in workers:
        await eventually(lambda worker=worker: not worker.running, 30, worker.tail)
        shutil.rmtree(worker.folder)
    topic, ends = shop.system.topic(CHANGELOG), await shop.system.ends(CHANGELOG)
    upto = {TopicPartition(topic, p): RecordsToDelete(end) for p, end in ends.items()}

    async def deleted() -> bool:
        try:
            await shop.system.admin.delete_records(upto)
        except PolicyViolationError:  # that it need not be compacted is not known everywhere yet
            return False
        return True

    await shop.system.configure(CHANGELOG, {"cleanup.policy": "delete"})
    await eventually(deleted, 10, "Kafka keeps the records")
    await shop.system.configure(CHANGELOG, {"cleanup.policy": "compact"})
    for worker in workers:
        await shop.start("2", worker.folder)
    async with shop.reader() as reader:
        await shop.system.all_served(*shop.workers)
        await shop.serves("orders-2")
        assert before == [await shop.row(key) for key in shop.writers.keys]
    assert reader.refused
    assert any("table orders-2 has nothing of order-" in line for worker in shop.workers for line in worker.lines)
