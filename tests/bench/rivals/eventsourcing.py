"""Python's `eventsourcing`, the best known library of its kind: see `eventsourcing_orders.py`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from tests.bench.rivals.program import Program, program


class Eventsourcing:
    """One process of it."""

    def __init__(self, running: Program) -> None:
        self._program = running

    async def round(self, count: int, orders: int) -> float:
        """Commands a second, one after another, to orders at random. Those that are missing are opened before."""
        return float((await self._program.ask(f"{count} {orders}"))["rate"])


@contextlib.asynccontextmanager
async def eventsourcing(folder: Path) -> AsyncIterator[Eventsourcing]:
    """It runs for the length of a block, and keeps its file in `folder`."""
    command = [sys.executable, "-m", "tests.bench.rivals.eventsourcing_orders", str(folder / "orders.db")]
    async with program(command, folder / "eventsourcing.log") as running:
        yield Eventsourcing(running)
