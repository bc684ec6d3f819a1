"""A rolling update by the script in `deploy/`, over two workers of each kind, while commands and queries go on."""

from __future__ import annotations

import asyncio
import signal
import sys
import uuid
from collections import Counter
from itertools import islice
from pathlib import Path

import aiohttp
import pytest

from tests.e2e.client import PARTITIONS, eventually, keys_of
from tests.e2e.system import ROOT, System
from tests.e2e.worker import Worker

pytestmark = pytest.mark.asyncio(loop_scope="module")
JOURNAL = "sqlite"

OLD, NEW, OLD_TABLES, NEW_TABLES = (f"tests.rolling.{name}" for name in ("old", "new", "old_tables", "tables"))
NEWER = {OLD: NEW, OLD_TABLES: NEW_TABLES}
PARCELS = [key for partition in range(PARTITIONS) for key in islice(keys_of(partition, "parcel-"), 2)]
PAUSE = 0.02
UPDATE_SECONDS = 240.0


class Clients:
    """Who weighs each parcel again and again, a gram at a time, and who looks at it."""

    def __init__(self, system: System, tables: list[Worker]) -> None:
        self._system, self._tables = system, tables
        self._goes_on = True
        self.sent: Counter[str] = Counter()
        """By parcel the commands that were sent; each of them was accepted."""
        self.ids: list[str] = []
        self.seen: Counter[str] = Counter()
        """By parcel the most grams that a query has said."""
        self.answers = 0
        self._tasks = [asyncio.create_task(client(id)) for id in PARCELS for client in (self._weigh, self._look)]

    async def _weigh(self, id: str) -> None:
        while self._goes_on:
            command = uuid.uuid4().hex
            self.ids.append(command)
            self.sent[id] += 1
            reply = await self._system.ask("parcel", id, "Weigh", {"grams": 1}, command, seconds=60)
            assert "accepted" == reply["status"], reply
            await asyncio.sleep(PAUSE)

    async def _look(self, id: str) -> None:
        while self._goes_on:
            for worker in list(self._tables):
                try:
                    status, row, _ = await self._system.get(worker, f"/parcels/{id}")
                except aiohttp.ClientError:  # it is being restarted
                    continue
                assert status in (200, 404, 503), row
                if status == 200:
                    assert row["grams"] >= self.seen[id], f"{id} goes back at {worker.module}"
                    self.seen[id] = row["grams"]
                    self.answers += 1
            await asyncio.sleep(5 * PAUSE)

    def check(self) -> None:
        """Raise what one of them has met."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def end(self) -> None:
        """What was sent is answered when this returns."""
        self._goes_on = False
        await asyncio.gather(*self._tasks)


async def restart(system: System, worker: Worker) -> Worker:
    """The same worker with the code of the new version: in its folder, at its port."""
    worker.signal(signal.SIGTERM)
    await eventually(lambda: not worker.running, 30, worker.tail)
    return system.start(NEWER[worker.module], worker.folder, port=worker.port)


async def update(system: System, workers: dict[str, Worker], folder: Path, clients: Clients) -> list[str]:
    """Run the script, which asks for each restart by a file here; which workers it had restarted, in their order."""
    script = [sys.executable, "-m", "deploy.rolling_update", "--seconds", "90"]
    script += ["--restart", f"touch {folder}/{{name}}.asked; until test -e {folder}/{{name}}.begun; do sleep 0.1; done"]
    script += ["--before", f"{sys.executable} -m faust -A {NEW_TABLES} setup"]
    for name, worker in workers.items():
        script += ["--worker", f"{name}={worker.url}"]
    running = await asyncio.create_subprocess_exec(
        *script, cwd=ROOT, env=system.environment(), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said = asyncio.create_task(running.communicate())
    restarted: list[str] = []

    async def done() -> bool:
        clients.check()
        for name in [name for name in workers if name not in restarted and (folder / f"{name}.asked").exists()]:
            workers[name] = await restart(system, workers[name])
            restarted.append(name)
            (folder / f"{name}.begun").touch()
        return said.done()

    try:
        await eventually(done, UPDATE_SECONDS, lambda: "\n".join(worker.tail() for worker in workers.values()))
    finally:
        if running.returncode is None:
            running.kill()
        output, _ = await said
    assert 0 == running.returncode, output.decode()
    return restarted


async def test_a_rolling_update_loses_nothing(system: System, tmp_path: Path) -> None:
    """Workers of old code give way to those of new code, readers first. Each command that is sent meanwhile is answered
    once and has its effect once; no query goes back; and what only the new code can do can be done at the end."""
    workers = {f"parcels-{number}": system.start(OLD) for number in (1, 2)}
    workers |= {f"tables-{number}": system.start(OLD_TABLES) for number in (1, 2)}
    await asyncio.gather(
        system.all_served(workers["parcels-1"], workers["parcels-2"]),
        system.all_served(workers["tables-1"], workers["tables-2"]),
    )
    inbox = await system.answers()
    clients = Clients(system, [workers["tables-1"], workers["tables-2"]])
    await eventually(lambda: clients.check() or len(clients.seen) == len(PARCELS), 30, "no query is answered")
    sent, answers = clients.sent.total(), clients.answers

    assert ["tables-1", "tables-2", "parcels-1", "parcels-2"] == await update(system, workers, tmp_path, clients)

    assert clients.sent.total() > sent
    assert clients.answers > answers
    await clients.end()
    newest = list(workers.values())
    assert [NEW, NEW, NEW_TABLES, NEW_TABLES] == [worker.module for worker in newest if worker.running]
    assert [1] * len(clients.ids) == [len(inbox.by_key[id]) for id in clients.ids]
    for id in PARCELS:
        sealed = await system.ask("parcel", id, "Seal", {"number": "7"}, seconds=30)
        assert ("accepted", clients.sent[id] + 1) == (sealed["status"], sealed["aggregate"]["sequence"])
        for worker in newest[2:]:
            status, row, _ = await system.get(worker, f"/parcels/{id}", At_Least=sealed["position"])
            assert (200, clients.sent[id], "7") == (status, row["grams"], row["seal"])
    events = [
        event for log in (await system.commits("parcels", "parcel")).values() for it in log for event in it.events
    ]
    caused = Counter(event.command_id for event in events if event.is_event)
    assert [1] * len(clients.ids) == [caused[id] for id in clients.ids]
