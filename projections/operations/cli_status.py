"""What `/projections` says, for people: as a table, and as a bar while tables are being built."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import Any, TypeVar
from urllib.parse import quote

from projections.operations.status import Projections, ProjectionStatus, TableStatus
from streams.cli.http import Door, ask, read
from streams.cli.progress import Meter
from streams.cli.run import ERROR, CliError

T = TypeVar("T")

COLUMNS = ("projection", "table", "state", "done", "to go", "rate", "left", "waiting", "note")
NUMBERS = ("done", "to go", "rate", "left", "waiting")
HELP = "is the projections worker up (make start), is --url right?"
LOOK_SECONDS = 0.5
PATIENCE = 60.0
"""Seconds without an answer after which a bar gives up: workers may be changing hands."""
UNDER_WAY = ("building", "complete", "held")


def path_of(*parts: str) -> str:
    """The path of a projection, or of what is beneath it."""
    return "/".join(["/projections", *(quote(part, safe="") for part in parts)])


async def get_states(door: Door, name: str | None) -> list[ProjectionStatus]:
    """Of one projection, or of all. Raises `CliError`: with 1 when there is none, with 2 when there is no answer."""
    if name is not None:
        return [await ask_worker(door, path_of(name), ProjectionStatus)]
    return (await ask_worker(door, "/projections", Projections)).projections


async def ask_worker(door: Door, path: str, type: type[T]) -> T:
    """What a projections worker answers. Raises `CliError`, with 1 when there is no such thing."""
    return read(await ask(door, path, HELP), type, "a page of a projections worker", no=ERROR)


async def order(door: Door, path: str, body: dict[str, Any], seconds: float, type: type[T]) -> tuple[T, str]:
    """What a worker answers to an order, and what to add where not all workers have followed it yet.

    Raises `CliError`: 1 when it cannot be done, 2 for wrong use, or no answer.
    """
    answer = await ask(door, path, HELP, body, seconds)
    later = "" if answer.status == 200 else " (the workers that cannot be reached now will follow)"
    return read(answer, type, "a page of a projections worker", no=ERROR), later


# -- as a table ---------------------------------------------------------------------------------------------------


def rows(states: Iterable[ProjectionStatus]) -> list[list[object]]:
    """A row by table."""
    return [[state.name, *_row(state, table)] for state in states for table in state.tables]


def _row(state: ProjectionStatus, table: TableStatus) -> list[object]:
    rate = f"{table.rate:,.0f}/s" if table.rate else ""
    left = duration(table.seconds_left) if table.seconds_left else ""
    note = table.error or (state.paused if table.state == "paused" else "") or ""
    to_go = f"{table.total - table.done:,}"
    return [table.table, table.state, f"{table.done:,}", to_go, rate, left, table.quarantined_keys or "", note]


def duration(seconds: float) -> str:
    """As `1:05:09`, or `5:09`."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


# -- as a bar -----------------------------------------------------------------------------------------------------


async def watch(door: Door, name: str | None) -> list[ProjectionStatus]:
    """Show a bar for as long as tables are being built; how things are then."""
    with _Bar() as bar:
        while True:
            states = await _patiently(door, name)
            building = [table for state in states for table in state.tables if table.state == "building"]
            if not building:
                return states
            bar.show(building)
            await asyncio.sleep(LOOK_SECONDS)


async def until_table_answers(door: Door, name: str, table: str) -> None:
    """Show a bar until this table answers. Raises `CliError` when it will not without somebody's doing."""
    with _Bar() as bar:
        while True:
            [state] = await _patiently(door, name)
            building = next((status for status in state.tables if status.table == table), None)
            if state.serving == table:
                return
            if state.paused is not None:
                raise CliError(ERROR, f"{name} is paused: {state.paused}")
            if building is not None:
                bar.show([building])
                if building.state not in UNDER_WAY:
                    raise CliError(ERROR, f"{table} is not being built any more: it is {building.state}")
                if building.state == "complete" and building.error is not None:
                    raise CliError(ERROR, f"{building.error}: mend or skip what they wait for")
            await asyncio.sleep(LOOK_SECONDS)


async def _patiently(door: Door, name: str | None) -> list[ProjectionStatus]:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return await get_states(door, name)
        except CliError as stop:
            if stop.code == ERROR or time.monotonic() > deadline:
                raise
        await asyncio.sleep(LOOK_SECONDS)


class _Bar(ExitStack):
    """A meter that is there from the first table on."""

    _meter: Meter | None = None

    def show(self, tables: Sequence[TableStatus]) -> None:
        if not tables:
            return
        done, total = sum(table.done for table in tables), sum(table.total for table in tables)
        label = ", ".join(f"{table.table} {table.state}" for table in tables[:3])
        label += f" and {len(tables) - 3} more" if len(tables) > 3 else ""
        if self._meter is None:
            self._meter = self.enter_context(Meter(label, total, "events"))
        self._meter.at(done, label, total, sum(table.rate for table in tables))
