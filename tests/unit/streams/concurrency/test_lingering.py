"""A process that does not end by itself."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading
from collections.abc import AsyncIterator

from streams.concurrency.lingering import doings
from streams.concurrency.tasks import cancel

STUCK = """
import asyncio, logging, time
from streams.concurrency import lingering

lingering.SLOW_SECONDS, lingering.LONGEST_SECONDS = 0.2, 0.4
logging.basicConfig()

async def never():
    while True:
        try:
            await asyncio.sleep({seconds})
        except asyncio.CancelledError:
            pass

async def main():
    loop = asyncio.get_running_loop()
    lingering.end_in_time(loop)
    task = asyncio.create_task(never(), name="one that cannot be cancelled")
    await asyncio.sleep(0)
    {stands}
    task.cancel()
    await task

asyncio.run(main())
"""


async def _through(event: asyncio.Event) -> AsyncIterator[None]:
    await event.wait()
    yield


async def _waits(event: asyncio.Event) -> None:
    async with contextlib.aclosing(_through(event)) as through:
        async for _ in through:
            pass


async def test_where_tasks_and_threads_stand() -> None:
    """At the innermost place, however many calls lead there; what many do is said once."""
    event, free = asyncio.Event(), threading.Event()
    tasks = [asyncio.create_task(_waits(event), name="waiting for Godot") for _ in range(3)]
    thread = threading.Thread(target=free.wait, name="a thread", daemon=True)
    thread.start()
    await asyncio.sleep(0)
    told = doings(asyncio.get_running_loop())
    [task] = [it for it in told if it.startswith("3 times waiting for Godot at ")]
    assert task.endswith(" _through")
    assert "test_lingering.py:" in task
    [waiting] = [it for it in told if it.startswith("thread a thread at threading.py:")]
    assert " of threading.py:" in waiting
    free.set()
    thread.join()
    for task in tasks:
        await cancel(task)
    assert [] == [it for it in doings(asyncio.get_running_loop()) if "Godot" in it or "a thread" in it]


def _ended(stands: str) -> tuple[int, str]:
    ended = subprocess.run(
        [sys.executable, "-c", STUCK.format(seconds=60, stands=stands)], capture_output=True, text=True, timeout=30
    )
    return ended.returncode, ended.stderr


def test_a_task_that_does_not_end() -> None:
    """It is named, and then the process ends without it."""
    code, said = _ended("")
    assert 1 == code
    warning, critical = said.strip().splitlines()
    assert "the end takes more than 0 s; it is waited for: " in warning
    assert "one that cannot be cancelled at <string>:" in warning
    assert "it ends now, whatever is not done: " in critical


def test_a_loop_that_stands_still() -> None:
    """A thread looks after it."""
    code, said = _ended("time.sleep(60)")
    assert 1 == code
    assert "thread MainThread at <string>:" in said
