"""The RocksDB folder of a projection worker is lost, damaged, or on a full disk."""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.rig import Rig
from tests.e2e.client import eventually
from tests.e2e.worker import Worker


def _tables(folder: Path) -> list[Path]:
    """The folders of RocksDB below a worker's, one per table and partition."""
    return sorted({current.parent for current in folder.rglob("CURRENT")})


LISTS, ROWS = "MANIFEST-*", "*.[sl][so][tg]"
"""Files of RocksDB: those that say which files there are, and those with rows, `.sst` and `.log`."""


def _damage(folder: Path, pattern: str) -> None:
    """Overwrite bytes amid the files of every table."""
    files = [file for table in _tables(folder) for file in table.glob(pattern) if file.stat().st_size > 200]
    assert files
    for file in files:
        with file.open("r+b") as content:
            content.seek(file.stat().st_size // 3)
            content.write(random.randbytes(100))


@pytest.mark.parametrize("fault", [pytest.param("deleted", marks=pytest.mark.full), "damaged"])
async def test_tables_lost_between_two_runs(rig: Rig, fault: str) -> None:
    """The worker is stopped or killed, its RocksDB folder deleted or bytes in its files overwritten, and the worker
    started again: it recovers from the changelog, and its rows are right."""
    await rig.start()
    times = 4 if rig.full else 1
    async with rig.under_load(f"RocksDB folder {fault} between two runs", times):
        for number in range(times):
            [worker] = rig.projections
            if number % 2:
                await rig.kill(worker)
            else:
                worker.signal(signal.SIGTERM)
                await asyncio.to_thread(worker.end)
                assert 0 == worker.process.returncode
                rig.projections.remove(worker)
            if fault == "deleted":
                shutil.rmtree(worker.folder)
            else:
                _damage(worker.folder, ROWS if number else LISTS)
            rig.start_projections(worker.folder)
            await rig.ready()
    assert not [line for line in rig.projections[0].lines if "Traceback" in line]


@pytest.mark.full
async def test_tables_deleted_while_the_worker_runs(rig: Rig) -> None:
    """The folder disappears beneath a worker under load: as soon as RocksDB needs a file that is gone, the worker makes
    the tables again, without being started again."""
    await rig.start()
    async with rig.under_load("RocksDB folder deleted while the worker runs", pace=600) as load:
        [worker] = rig.projections
        shutil.rmtree(worker.folder)
        await eventually(lambda: any("out of service" in line for line in worker.lines), 180, worker.tail)
        await load.served()
        await rig.ready()
    assert worker.running
    assert not [line for line in worker.lines if "Traceback" in line]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 300 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300m", "tmpfs", str(disk)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"a disk cannot be filled here, this test has to mount one: {done.stderr}", pytrace=False)
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def _fill(disk: Path) -> Path:
    """Leave no room."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        size = 1 << 20
        while size:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 2
    return filler


async def test_disk_full(rig: Rig, small_disk: Path) -> None:
    """No room on a projection worker's disk: it says so and holds, or ends saying so; with room again, and started
    again if it had ended, all rows are right."""
    await rig.start(projections=0)
    worker = rig.start_projections(small_disk / "worker")
    await rig.ready()
    async with rig.under_load("disk of a projection worker full"):
        filler = _fill(small_disk)
        await eventually(lambda: _says_no_space(worker), 180, worker.tail)
        filler.unlink()
        if not worker.running:
            rig.projections.remove(worker)
            rig.start_projections(small_disk / "worker")
        await rig.ready()
    assert not [line for line in worker.lines if "Traceback" in line]


def _says_no_space(worker: Worker) -> bool:
    return any("No space left" in line for line in worker.lines)
