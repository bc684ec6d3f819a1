"""What the log and `owners` say of ownership: one line when it begins, one when it ends, none in between."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from streams.cli.owners import get_owners, in_short, offsets_in_short, row
from streams.cli.run import CliError
from streams.journal.port import Commit
from streams.web.owners import LogStatus
from tests.unit.streams.ownership.owner_bench import LINE, OPEN, Bench, stuck
from tests.unit.until import until


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    await bench.close()


@pytest.fixture(autouse=True)
def all_lines(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The lines about changes of hands, without the figures."""
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.INFO]
    return [re.split(r" \(|, in \d+ ms", line)[0] for line in lines if "taken over" in line or "given up" in line]


async def test_kept(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """A rebalance after which the partition is where it was is not worth a line."""
    owner, _, _ = await bench.owner()
    before = owner.since
    for _ in range(3):
        await owner.suspend(1)
        owner.resume()
    assert ["order@0: taken over from nobody: epoch 1 at commit 1"] == said(caplog)
    assert before == owner.since


async def test_closed(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """The reason is said, once."""
    owner, _, _ = await bench.owner()
    await owner.close(why="assigned to another worker")
    await owner.close()
    assert ["order@0: given up: assigned to another worker"] == said(caplog)[1:]


async def test_fenced(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """The line says who has it now; closing what was lost adds none."""
    old, _, _ = await bench.owner()
    await bench.owner()
    await old.deliver(0, [bench.command("OpenOrder", OPEN)])
    await until(lambda: bool(bench.lost))
    await old.close()
    _, taken_over, given_up = said(caplog)
    assert "order@0: taken over from owner 0" == taken_over
    assert given_up.startswith("order@0: given up: fenced, another owner has taken over: order@0 nr 2")


async def test_journal_down(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """An owner that cannot finish its group in time says so, and nothing more when it is closed."""
    owner, _ = await stuck(bench)
    await owner.suspend(0.05)
    await owner.close()
    assert ["order@0: given up: in the middle of a group, since the journal does not answer"] == said(caplog)[1:]


async def test_what_an_owner_shows(bench: Bench) -> None:
    """What is indexed and what waits can be seen while it works."""
    owner, journal, _ = await bench.owner()
    go_on = asyncio.Event()

    async def slow(commit: Commit) -> None:
        await go_on.wait()

    journal.on_append = slow
    await owner.deliver(0, [bench.command("OpenOrder", OPEN)])
    await until(lambda: (0, 0) == owner.queued)
    delivery = bench.command("AddLine", LINE)
    await owner.deliver(0, [delivery])
    assert (1, delivery.size) == owner.queued
    go_on.set()
    await until(lambda: owner.head is not None and owner.head.nr == 3 == owner.derivation.derived_nr)
    assert (0, 0) == owner.queued


async def test_routine_is_no_warning(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Taking over, and giving up by a rebalance or at the end, are routine; being fenced asks for a look."""
    old, _, _ = await bench.owner()
    new, _, _ = await bench.owner()
    await old.deliver(0, [bench.command("OpenOrder", OPEN)])
    await until(lambda: bool(bench.lost))
    await new.close(why="assigned to another worker")
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert 1 == len(warnings)
    assert warnings[0].startswith("order@0: given up: fenced")


def test_a_log_without_owner() -> None:
    """It is shown as not served, by nobody."""
    status = LogStatus(log="order@3", seat=3, slices=(3, 5, 7))
    assert ["order@3", 3, "3-7/2", "no", None, 0] == row(status)[:6]


@pytest.mark.parametrize(
    ("slices", "shown"),
    [
        ((), ""),
        ((4,), "4"),
        ((0, 1), "0,1"),
        (tuple(range(8)), "0-7"),
        (tuple(range(1, 32, 2)), "1-31/2"),
        ((0, 2, 4, 5), "0,2,4,5"),
    ],
)
def test_slices_in_short(slices: tuple[int, ...], shown: str) -> None:
    """As one reads them, however many there are."""
    assert shown == in_short(slices)


def test_offsets_in_short() -> None:
    """Of the slices that have had commands, the first ones."""
    assert "" == offsets_in_short({0: 0, 2: 0})
    assert "0:5 4:7" == offsets_in_short({4: 7, 2: 0, 0: 5})
    assert "0:1 1:1 2:1 3:1 +28" == offsets_in_short(dict.fromkeys(range(32), 1))


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (
            web.Response(status=404, text="no such page"),
            "answers 404: no such page; is it the /owners of a worker of a command app",
        ),
        (web.Response(text='{"streams": []}'), "is not the /owners of a worker"),
        (web.Response(body=b"\xff"), "is not the /owners of a worker"),
    ],
)
async def test_who_is_no_command_worker(answer: web.Response, why: str) -> None:
    """Asked for its owners, it is named; the exit code is 2, as 1 would mean that a log is not served."""

    async def handler(request: Any) -> web.Response:
        return answer

    app = web.Application()
    app.router.add_get("/owners", handler)
    async with TestServer(app) as server:
        url = str(server.make_url("/"))
        with pytest.raises(CliError, match=why) as stopped:
            await get_owners(url)
    with pytest.raises(CliError, match="is this worker up") as not_up:
        await get_owners(url)
    assert (2, 2) == (stopped.value.code, not_up.value.code)
