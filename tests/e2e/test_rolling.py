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


def lines_about(worker: Worker, slice: int) -> list[str]:
    """What a worker has said of the commands of one partition that wait."""
    return [line for line in worker.lines if f"parcel-{slice} waits" in line]


async def held_slices(system: System, worker: Worker) -> dict[str, str]:
    """By partition why its commands wait, as `/owners` of a worker says."""
    _, answer, _ = await system.get(worker, "/owners")
    return {slice: reason for log in answer["owners"] for slice, reason in log["held"].items()}


async def row(system: System, tables: Worker, id: str, sequence: int) -> Any:
    """The row of a parcel, when it has got so far."""

    async def there() -> Any:
        status, found, _ = await system.get(tables, f"/parcels/{id}")
        return found if status == 200 and found["sequence"] >= sequence else None

    return await eventually(there, 30, tables.tail)


async def test_there_and_back(system: System) -> None:
    """New code reads old events, snapshots and commands; old code reads new events that it may read, and holds the
    partition of one that it must not, and no other of its log, until new code is back: then the commands that wait have
    their one effect, in order."""
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
    held = partition_of(SEALED_BY_NEW)
    others = [id for id in PARCELS[2::3] if partition_of(id) != held]
    [behind] = {*PARCELS[2::3]} - {*others}
    log = first_layout(PARTITIONS, Settings().logs).of(held)
    assert any(partition_of(id) in log.slices for id in others)
    await weigh(system, others, 1000)
    waiting = [uuid.uuid4().hex for _ in range(2)]
    for key, id in zip((SEALED_BY_NEW, behind), waiting, strict=True):
        await system.send("parcel", key, b'{"grams": 1}', headers(id, "Weigh", system.topic("answers")))
    await eventually(lambda: lines_about(again, held), 30, again.tail)
    await weigh(system, others, 1000)
    assert "deploy the version that knows it" in (await held_slices(system, again))[str(held)]
    status, ready, _ = await system.get(again, "/health/ready")
    assert (503, True) == (status, f"parcel-{held}: an event that this version cannot read" in ready["detail"])
    shown = await system.run("-A", OLD, "owners")
    assert f"parcel-{held} waits: an event that this version cannot read" in shown.stdout
    assert ([], []) == (inbox.by_key[waiting[0]], inbox.by_key[waiting[1]])
    [said] = lines_about(again, held)
    assert "deploy the version that knows it" in said

    # The new version again: what waited is decided, once.
    last = system.start(NEW)
    await eventually(lambda: last.last_ready, 30, last.tail)
    await stop(again)
    await system.all_served(last)
    first, second = [await inbox.answer(id, 1, 30) for id in waiting]
    assert ("rejected", "Sealed") == (first["status"], first["error"]["type"])
    assert ("accepted", 8) == (second["status"], second["aggregate"]["sequence"])
    assert {} == await held_slices(system, last)
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
