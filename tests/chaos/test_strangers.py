"""Strangers write to every topic, and a journal raises what no journal should."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.chaos.rig import Rig
from tests.chaos.strangers import Strangers
from tests.e2e.client import eventually

PACE = 40
"""Hostile records a second."""
STUMBLING = "tests.chaos.stumbling"


async def test_hostile_records(rig: Rig) -> None:
    """Records that nobody can read come on every topic under load: each command among them becomes a dead letter, and
    nothing else comes of it."""
    await rig.start()
    strangers = Strangers(rig.system)
    async with rig.under_load("hostile records on every topic") as load, strangers.at_work(PACE):
        await asyncio.sleep(30 if rig.full else 6)
        await load.served()
    letters = await rig.system.read("order-dead-letters")
    assert strangers.sent <= len(letters) <= strangers.sent + 1, "the last one may be on its way when they stop"
    assert all(worker.running for worker in [*rig.orders, *rig.projections])
    said = [line for worker in [*rig.orders, *rig.projections] for line in worker.lines]
    assert [] == [line for line in said if "Traceback" in line]


async def test_journal_that_raises(rig: Rig, tmp_path: Path) -> None:
    """The journal of the orders raises what no journal should, before or after it has done what it was asked for: its
    partitions begin anew, each for itself, and no worker ends."""
    file = tmp_path / "stumbles"
    for _ in range(2):
        rig.start_orders(STUMBLING, STUMBLES=str(file))
    rig.start_projections()
    await rig.ready()
    async with rig.under_load("journal raises what it should not") as load:
        file.touch()
        await asyncio.sleep(rig.outage)
        file.unlink()
        await load.served()
        await rig.ready()
    assert all(worker.running for worker in rig.orders)
    said = [line for worker in rig.orders for line in worker.lines]
    assert any("a bug of the driver" in line or "too big" in line for line in said)


async def test_refused_changelog(rig: Rig) -> None:
    """The changelog takes no batches as large as those that come: they are sent in smaller ones, and no row is wrong.
    For a while it takes not even a row: those keys wait, say why, and are right when their tables were built again."""
    await rig.start()
    changelog = "projections-order-rows-changelog"
    fault = "changelog refuses batches, and rows" if rig.full else "changelog refuses batches"
    async with rig.under_load(fault) as load:
        await rig.system.configure(changelog, {"max.message.bytes": "1500"})
        await asyncio.sleep(rig.outage)
        if rig.full:
            await rig.system.configure(changelog, {"max.message.bytes": "600"})
            [worker] = rig.projections
            await eventually(lambda: any("its store takes" in line for line in worker.lines), 60, worker.tail)
        await rig.system.configure(changelog, {"max.message.bytes": "1048588"})
        await load.served()
        if rig.full:
            await asyncio.sleep(35)  # for half a minute it is believed what a topic takes
            await _build_again(rig)
    assert all(worker.running for worker in rig.projections)


async def _build_again(rig: Rig) -> None:
    """What an operator does with tables whose rows wait."""
    [worker] = rig.projections
    status, body, _ = await rig.system.get(worker, "/projections")
    assert 200 == status
    waiting = [it["name"] for it in body["projections"] if it["quarantined_keys"]]
    assert waiting
    for name in waiting:
        done = await rig.system.run("-A", worker.module, "projections", "rebuild", name, "--wait", "--url", worker.url)
        assert 0 == done.returncode, done.stdout + done.stderr
