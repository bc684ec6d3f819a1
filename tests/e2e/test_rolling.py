"""A rolling deployment, there and back: two versions of a context take over from each other, and nothing is lost."""

from __future__ import annotations

import asyncio
import json
import signal
import uuid
from itertools import islice
from typing import Any

import pytest

from streams.journal.layout import first_layout
from streams.settings import Settings
from tests.e2e.client import PARTITIONS, eventually, headers, keys_of, partition_of
from tests.e2e.system import System
from tests.e2e.worker import Worker

pytestmark = pytest.mark.asyncio(loop_scope="module")
JOURNAL = "sqlite"

OLD, NEW, TABLES = (f"tests.rolling.{name}" for name in ("old", "new", "tables"))
PARCELS = [key for partition in range(PARTITIONS) for key in islice(keys_of(partition, "parcel-"), 3)]
"""Three in each partition."""
SEALED_BY_NEW = PARCELS[0]


async def weigh(system: System, ids: list[str], grams: int, times: int = 1, **fields: str) -> None:
    """Each of these parcels gets heavier."""
    for _ in range(times):
        replies = [system.ask("parcel", id, "Weigh", {"grams": grams, **fields}, seconds=30) for id in ids]
        assert {"accepted"} == {reply["status"] for reply in await asyncio.gather(*replies)}


async def stop(worker: Worker) -> None:
    worker.signal(signal.SIGTERM)
    await eventually(lambda: not worker.running, 30, worker.tail)


async def row(system: System, tables: Worker, id: str, sequence: int) -> Any:
    """The row of a parcel, when it has got so far."""

    async def there() -> Any:
        status, found, _ = await system.get(tables, f"/parcels/{id}")
        return found if status == 200 and found["sequence"] >= sequence else None

    return await eventually(there, 30, tables.tail)


async def test_there_and_back(system: System) -> None:
    """New code reads old events, snapshots and commands; old code reads new events that it may read, and holds the
    log of one that it must not, until new code is back: then its command has its one effect."""
    tables = system.start(TABLES)
    old = system.start(OLD, SNAPSHOT_EVERY="2")
    inbox = await system.answers()
    await asyncio.gather(system.all_served(tables), system.all_served(old))
    await weigh(system, PARCELS, 100, times=5)  # snapshots by old code
    for id in PARCELS[1::3]:
        assert "accepted" == (await system.ask("parcel", id, "Seal", {}))["status"]

    # There: both serve, then the new one alone.
    new = system.start(NEW)
    await system.all_served(old, new)
    await weigh(system, PARCELS[::3] + PARCELS[2::3], 10)
    await stop(old)
    await system.all_served(new)
    await weigh(system, PARCELS[::3], 1, scales="kitchen")
    await weigh(system, PARCELS[2::3], 1)  # as old clients send it
    refused = await system.ask("parcel", PARCELS[1], "Seal", {"number": "7"})
    assert ("rejected", "Sealed") == (refused["status"], refused["error"]["type"])
    assert "accepted" == (await system.ask("parcel", SEALED_BY_NEW, "Seal", {"number": "7"}))["status"]
    shown = await system.run("-A", NEW, "show", "parcel", SEALED_BY_NEW)
    weighed = ["unknown"] * 5 + ["kitchen"]
    state = json.loads(shown.stdout)
    assert {"grams": 511, "seal": "7"} == {name: state["state"][name] for name in ("grams", "seal")}
    assert {"id": SEALED_BY_NEW, "grams": 511, "seal": "7", "sequence": 8}.items() <= (
        await row(system, tables, SEALED_BY_NEW, 8)
    ).items()
    assert weighed == [scales for index, scales in enumerate(state["state"]["scales"]) if index != 5]
    assert "unnumbered" == (await row(system, tables, PARCELS[1], 6))["seal"]

    # Both formats stand in one stream, and each says which it is.
    records = await system.read("parcel-events")
    said = {(dict(it.headers)["content-type"], it.value[:1]) for it in records}
    assert {(b"avro/binary", b"\xc3"), (b"application/json", b"{")} == said

    # And back: old code goes on with all but what it must not read.
    again = system.start(OLD)
    await system.all_served(new, again)
    await stop(new)
    await system.all_served(again)
    layout = first_layout(PARTITIONS, Settings().logs)
    held = layout.of(partition_of(SEALED_BY_NEW))
    others = [id for id in PARCELS[2::3] if partition_of(id) not in held.slices]
    assert others
    await weigh(system, others, 1000)
    id = uuid.uuid4().hex
    await system.send("parcel", SEALED_BY_NEW, b'{"grams": 1}', headers(id, "Weigh", system.topic("answers")))
    await eventually(
        lambda: [
            line for line in again.lines if f"parcel@{held.number}: loading" in line and "deploy the version" in line
        ],
        30,
        again.tail,
    )
    await weigh(system, others, 1000)
    assert [] == inbox.by_key[id]

    # The new version again: what waited is decided, once.
    last = system.start(NEW)
    await system.all_served(again, last)
    await stop(again)
    await system.all_served(last)
    waited = await inbox.answer(id, 1, 30)
    assert ("rejected", "Sealed") == (waited["status"], waited["error"]["type"])
    await weigh(system, PARCELS[2::3], 1, scales="post")
    for other in others:
        found = await row(system, tables, other, 10)
        assert (500 + 10 + 1 + 2000 + 1, ["unknown"] * 9 + ["post"]) == (found["grams"], found["scales"])
    for log in (await system.commits("parcels", "parcel")).values():
        sequences: dict[str, list[int]] = {}
        for event in (event for commit in log for event in commit.events if event.is_event):
            sequences.setdefault(event.aggregate_id, []).append(event.sequence)
        assert all(list(range(1, len(found) + 1)) == found for found in sequences.values())

    # History tells which version wrote what, and what it reads as.
    _, told, _ = await system.get(tables, f"/parcels/{PARCELS[1]}/history")
    assert ("Sealed", "rolling.parcel.Sealed:1") == (told["events"][5]["type"], told["events"][5]["schema"])
    assert [{"type": "SealedWith", "data": {"number": "unnumbered"}}] == told["events"][5]["reads_as"]
