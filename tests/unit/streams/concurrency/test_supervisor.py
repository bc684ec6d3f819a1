"""Tasks are kept running, and end as their owner wants."""

from __future__ import annotations

import asyncio
import logging

import pytest

from streams.concurrency import supervisor as module
from streams.concurrency.supervisor import Supervisor
from streams.concurrency.tasks import cancel


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses."""
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(module, "LONGEST_PAUSE", 0.01)
    monkeypatch.setattr(module, "CALM_SECONDS", 0.05)


async def test_work_that_raises_is_begun_again_and_is_in_trouble_until_it_runs_well(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Three failures, one line with a trace, and well again once it has run for a while."""
    supervisor, runs, seen = Supervisor(), 0, []

    async def work() -> None:
        nonlocal runs
        runs += 1
        seen.append(dict(supervisor.troubles))
        if runs <= 3:
            raise RuntimeError("no luck")
        await asyncio.Event().wait()

    task = supervisor.keep("digging", work)
    async with asyncio.timeout(5):
        while runs < 4 or supervisor.troubles:
            await asyncio.sleep(0.001)
    assert seen == [{}, *[{"digging": "RuntimeError: no luck"}] * 3]
    assert ["digging failed, and begins again: RuntimeError: no luck"] == [r.getMessage() for r in caplog.records]
    await cancel(task)
    assert task.cancelled()


async def test_a_kept_task_that_is_cancelled_leaves_no_trouble_behind() -> None:
    """A partition that has gone is no trouble of this worker's any more."""
    supervisor = Supervisor()

    async def work() -> None:
        raise RuntimeError("no luck")

    task = supervisor.keep("digging", work)
    async with asyncio.timeout(5):
        while not supervisor.troubles:
            await asyncio.sleep(0.001)
    await cancel(task)
    assert {} == supervisor.troubles


async def test_a_former_task_takes_no_trouble_away_from_the_one_that_follows_it() -> None:
    """It ends late, when the next one of its name has failed: that still shows, until the last one is there."""
    supervisor, ends = Supervisor(), asyncio.Event()

    async def former() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await ends.wait()

    async def work() -> None:
        raise RuntimeError("no luck")

    before = supervisor.keep("digging", former)
    await asyncio.sleep(0)
    before.cancel()
    now = supervisor.keep("digging", work)
    async with asyncio.timeout(5):
        while not supervisor.troubles:
            await asyncio.sleep(0.001)
    ends.set()
    await asyncio.wait([before])
    assert {"digging": "RuntimeError: no luck"} == supervisor.troubles
    never_begun = supervisor.keep("digging", work)
    now.cancel()
    await cancel(never_begun)
    await asyncio.wait([now])
    assert {} == supervisor.troubles


async def test_what_takes_long_to_fail_again_is_in_trouble_all_the_time() -> None:
    """That it runs for a while is no sign of health where it has failed after a longer one before, in the same way."""
    supervisor, runs, seen = Supervisor(), 0, []

    async def work() -> None:
        nonlocal runs
        runs += 1
        if runs > 3:
            await asyncio.Event().wait()
        await asyncio.sleep(0.1)
        seen.append(list(supervisor.troubles))
        raise RuntimeError("no answer")

    task = supervisor.keep("digging", work)
    async with asyncio.timeout(5):
        while runs < 4 or supervisor.troubles:
            await asyncio.sleep(0.001)
    assert [[], [], ["digging"]] == seen
    await cancel(task)


async def test_work_that_returns_is_done() -> None:
    """Nothing is begun again that has ended by itself."""
    runs: list[int] = []

    async def work() -> None:
        runs.append(1)

    await Supervisor().keep("digging", work)
    assert [1] == runs


async def test_cancel_passes_on_the_callers_own_cancellation() -> None:
    """A caller that is cancelled while it waits does not go on as if nothing were."""
    let_go = asyncio.Event()

    async def slow() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await let_go.wait()

    inner = asyncio.create_task(slow())
    await asyncio.sleep(0)
    outer = asyncio.create_task(cancel(inner))
    await asyncio.sleep(0)
    outer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await outer
    let_go.set()
    await asyncio.wait({inner})


async def test_cancel_logs_what_a_task_has_failed_with_and_does_not_raise_it(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever ends a task has more to do than to hear of its past."""

    async def fails() -> None:
        raise RuntimeError("long ago")

    task = asyncio.create_task(fails(), name="digging")
    await asyncio.wait({task})
    with caplog.at_level(logging.ERROR):
        await cancel(task)
    assert ["digging had failed: RuntimeError('long ago')"] == [r.getMessage() for r in caplog.records]


async def test_what_is_cancelled_below_a_kept_task_does_not_end_it() -> None:
    """Nobody would begin it again, and health would call it well."""
    begun = asyncio.Queue[None]()

    async def work() -> None:
        begun.put_nowait(None)
        other = asyncio.create_task(asyncio.sleep(60))
        asyncio.get_running_loop().call_soon(other.cancel)
        await other

    supervisor = Supervisor()
    task = supervisor.keep("work", work)
    async with asyncio.timeout(5):
        await begun.get()
        await begun.get()
    assert {"work": "CancelledError: "} == supervisor.troubles
    await cancel(task)
    assert task.cancelled()
