"""An event that is to be left out is there, in the stream of its position: none to come is left out by mistake."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from projections.http.problems import HttpProblem
from projections.operations.operations import Operations
from streams.journal.position import Position
from tests.layouts import logs_of
from tests.unit.projections.publishing.test_tail_of_slices import SLICES, journal_with


async def orders() -> Operations:
    """Of a log with events of three slices."""
    journal = await journal_with([0, 1], [], [2, 0])
    doors = SimpleNamespace(all_partitions=range(SLICES))
    side: Any = SimpleNamespace(
        journals={"order": journal}, logs={"order": logs_of(journal, "order", SLICES)}, doors=doors
    )
    return Operations(side)


@pytest.mark.parametrize("text", ["order-0:1:0", "order-1:1:1", "order-2:3:0", "order-0:3:1"])
async def test_an_event_of_the_stream(text: str) -> None:
    """Its commit may have events of other streams, too."""
    source: Any = SimpleNamespace(type="order")
    assert Position.parse(text) == await (await orders())._event(source, text)


@pytest.mark.parametrize(
    "text",
    ["order-1:1:0", "order-0:1:1", "order-0:2:0", "order-0:4:0", "order-0:1:9", "order-3:1:0", "user-0:1:0", "x"],
)
async def test_no_event_of_the_stream(text: str) -> None:
    """One of another stream of the same commit, one to come, and what is no position."""
    source: Any = SimpleNamespace(type="order")
    with pytest.raises(HttpProblem):
        await (await orders())._event(source, text)
