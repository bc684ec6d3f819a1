"""Backup and restore: a system in Cassandra that has lost its journal, its topics and its folders is what it was."""

from __future__ import annotations

import asyncio
import shutil
import signal
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.client import PARTITIONS, eventually, keys_of
from tests.e2e.system import System
from tests.e2e.worker import Worker
from tests.stores import drop_journals

pytestmark = pytest.mark.asyncio(loop_scope="module")

WRITES, READS = "tests.rolling.new", "tests.rolling.tables"
PARCELS = [key for partition in range(PARTITIONS) for key in islice(keys_of(partition, "parcel-"), 2)]
KEPT = "answers"
"""The topic of the tests' own replies."""


async def started(system: System, *modules: str) -> list[Worker]:
    workers = [system.start(module) for module in modules]
    await asyncio.gather(*(system.all_served(worker, seconds=120) for worker in workers))
    return workers


async def stop(workers: list[Worker]) -> None:
    for worker in workers:
        worker.signal(signal.SIGTERM)
    await asyncio.gather(*(asyncio.to_thread(worker.end) for worker in workers))


async def lose_all(system: System) -> None:
    """Nothing is left on the servers, and in the folders of workers."""
    mine = {topic for topic in await system.topics() if topic != system.topic(KEPT)}
    await system.admin.delete_topics([*mine])

    async def gone() -> bool:
        return not mine & (await system.topics()).keys()

    await eventually(gone, 30, "the topics are still there")
    await drop_journals(system.journal_url, system.namespace)
    for worker in system.workers:
        shutil.rmtree(worker.folder, ignore_errors=True)


async def published(system: System, count: int) -> list[Any]:
    """What is on the topic of events when it has so many: each with its key, content and headers, its position too."""
    found: list[Any] = []

    async def there() -> bool:
        found[:] = [(it.partition, it.key, it.value, it.headers) for it in await system.read("parcel-events")]
        return len(found) >= count

    await eventually(there, 60, lambda: f"{len(found)} of {count} events are published")
    return found


async def rows(system: System, door: Worker, positions: list[str]) -> dict[str, Any]:
    """The row of each parcel, when these positions are in."""
    found = {}
    for id, position in zip(PARCELS, positions, strict=True):
        status, row, _ = await system.get(door, f"/parcels/{id}", At_Least=position, Prefer="wait=60")
        assert 200 == status, row
        found[id] = row
    return found


async def count_of_events(system: System) -> int:
    logs = (await system.commits("parcels", "parcel")).values()
    return sum(event.is_event for log in logs for commit in log for event in commit.events)


async def test_a_system_is_what_it_was(system: System, tmp_path: Path) -> None:
    """What is restored has the same events, on the topic too, at the same positions, and the same rows; a repeated
    command has the reply that it had. Then all goes on, and nothing disagrees."""
    backup, restore = (("-A", READS, action, str(tmp_path / "kept")) for action in ("backup", "restore"))
    writes, reads = await started(system, WRITES, READS)
    replies: list[dict[str, Any]] = []
    for number in range(3):
        asked = (system.ask("parcel", id, "Weigh", {"grams": 1}, f"{number}-{id}", seconds=60) for id in PARCELS)
        replies = await asyncio.gather(*asked)
    positions = [reply["position"] for reply in replies]
    before = await rows(system, reads, positions)
    count = await count_of_events(system)
    topic = await published(system, count)
    assert 3 * len(PARCELS) == count == len(topic)

    kept = await system.run(*backup)  # while all of it runs
    assert (0, True) == (kept.returncode, "parcels.backup: " in kept.stdout), kept.stderr
    lost = await system.ask("parcel", PARCELS[0], "Weigh", {"grams": 1000}, "lost", seconds=60)
    assert "accepted" == lost["status"]
    await stop([writes, reads])
    refused = await system.run(*restore)
    assert (1, True) == (refused.returncode, "parcel-events has events: delete this topic first" in refused.stderr)

    await lose_all(system)
    restored = await system.run(*restore, "--reason", "a disk")
    assert (0, True) == (restored.returncode, f"{count} events, as of" in restored.stdout), restored.stderr
    again = await system.run(*restore)
    assert (1, True) == (again.returncode, "already: restore into an empty one" in again.stderr), again.stderr
    set_up = await system.run("-A", READS, "setup")
    assert 0 == set_up.returncode, set_up.stderr
    [reads] = await started(system, READS)
    assert topic == await published(system, count)
    assert before == await rows(system, reads, positions)
    await started(system, WRITES)
    repeated = await system.ask("parcel", PARCELS[1], "Weigh", {"grams": 1}, f"2-{PARCELS[1]}", seconds=60)
    assert replies[1] == repeated
    lost_again = await system.ask("parcel", PARCELS[0], "Weigh", {"grams": 1000}, "lost", seconds=60)
    assert ("accepted", 4) == (lost_again["status"], lost_again["aggregate"]["sequence"])
    assert count + 1 == await count_of_events(system)
    verified = await system.run("-A", WRITES, "journal", "verify", "parcel")
    assert 0 == verified.returncode, verified.stdout + verified.stderr
