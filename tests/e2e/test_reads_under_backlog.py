"""Queries while many events wait: the worker that applies them answers, and its event loop keeps coming round."""

from __future__ import annotations

import asyncio
import time

import pytest

from streams.settings import Settings
from tests.bench.watchers import LINE
from tests.bench.written import Written, one_by_one, order_id
from tests.e2e.client import eventually
from tests.e2e.system import System
from tests.e2e.worker import PROJECTIONS, Worker

pytestmark = [pytest.mark.alone, pytest.mark.asyncio(loop_scope="module")]
JOURNAL = "sqlite"

ORDERS, EVENTS = 1_000, 20_000
EVERY = 0.02
BUSY_MS = 80.0
"""Processor time between two looks of the loop around itself; the collector's included, of which it is the most."""
ANSWER_SECONDS = 1.0
"""On a machine that has other things to do as well."""


async def test_queries_while_events_are_applied(system: System) -> None:
    """While 20,000 events are published and applied, the loop comes round within 80 ms of its own time, and every
    query by key is answered, none later than after a second."""
    written = Written(Settings.from_environment(system.environment()))
    async with written.open():
        await written.append(one_by_one(ORDERS, 2 * ORDERS))
        worker = system.start("tests.bench.probed", PROBED=PROJECTIONS)
        await eventually(lambda: worker.last_ready, 60, worker.tail)
        await applied(system, worker, written)
        await written.append((number % ORDERS, LINE) for number in range(EVENTS))
        await system.get(worker, "/probe")
        began = time.monotonic()
        applying = asyncio.create_task(applied(system, worker, written))
        written.hint()
        took: list[float] = []
        while not applying.done():
            took.append(await asked(system, worker, f"/orders/{order_id(len(took) % ORDERS)}"))
            await asyncio.sleep(EVERY)
        await applying
        _, probed, _ = await system.get(worker, "/probe")
    assert len(took) > 10, f"{EVENTS} events in {time.monotonic() - began:.1f} s"
    assert max(took) < ANSWER_SECONDS
    assert probed["busy"]["max"] < BUSY_MS, probed["stalls"]


async def asked(system: System, worker: Worker, path: str) -> float:
    """Seconds until a query was answered, with 200."""
    began = time.monotonic()
    status, body, _ = await system.get(worker, path)
    assert 200 == status, body
    return time.monotonic() - began


async def applied(system: System, worker: Worker, written: Written) -> None:
    """Return when the tables show all that is written: the worker itself says when."""
    for stream, nr in written.ends.items():
        status, body, _ = await system.get(
            worker, f"/orders/{order_id(0)}", At_Least=f"{stream}:{nr}", Prefer="wait=60"
        )
        assert 200 == status, body
