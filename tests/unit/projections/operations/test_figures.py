"""The figures of the last hour: of one worker what is new since the last point, of several as one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from projections.operations import figures
from projections.operations.figures import SUMS, Figures, FiguresRecorder, Window, is_command, together
from streams.observability import catalog
from streams.observability.instruments import Instruments
from streams.web.lag import StreamLag, TableLag


def test_figures_of_workers_are_added_up_or_the_largest_counts() -> None:
    """Rates are those of all workers, delays those of the slowest; what one does not know the others may."""
    first = {name: [1.0, None, None] for name in Figures.__struct_fields__}
    second = {name: [3.0, 2.0, None] for name in Figures.__struct_fields__}
    whole = together([first, second])
    for name in Figures.__struct_fields__:
        assert [4.0 if name in SUMS else 3.0, 2.0, None] == getattr(whole, name)


def test_a_point_shows_what_is_new() -> None:
    """Of commands over HTTP alone, whatever was before; nothing where there was none."""
    seconds = Instruments().histogram(catalog.HTTP_SECONDS)
    window = Window(seconds, is_command)
    route = "/orders/{id}/commands"
    seconds.of("POST", route).observe(20.0, count=100)
    window.quantiles("command")
    assert {"command_p50": None, "command_p99": None} == window.quantiles("command")
    seconds.of("GET", "/orders/{id}").observe(20.0, count=100)
    seconds.of("POST", route).observe(0.04, count=10)
    seconds.of("POST", "/users/{id}/commands").observe(0.04, count=10)
    shown = window.quantiles("command")
    assert (pytest.approx(0.0375), True) == (shown["command_p50"], 0.025 < (shown["command_p99"] or 0) <= 0.05)


def at(stream: str, decided: int, *tables: str) -> StreamLag:
    """A stream of which so many commands were decided, with the tables of a worker."""
    return StreamLag(
        stream=stream, committed_offset=decided - 1, epoch=1, owner="w", head=1, eventful=1, published=1, applied=1,
        lag=0, ahead=0, events=0, seconds=0.0, unpublished_events=0,
        projections=[TableLag(table, True, 1, 0, 0, 0.0) for table in tables],
    )  # fmt: skip


async def test_a_command_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One worker publishes a stream, another has its first table, a third has another one: one of them counts it. A
    type without tables counts where it is published."""
    sources = {
        "order": SimpleNamespace(kept=[SimpleNamespace(name="orders"), SimpleNamespace(name="analytics")]),
        "user": SimpleNamespace(kept=[]),
    }
    has: dict[int, tuple[list[tuple[str, ...]], list[str]]] = {
        0: ([("order-0",), ("order-1",)], ["user-0"]),
        1: ([("order-0", "orders-2"), ("order-1", "orders-2.1", "analytics-1")], []),
        2: ([("order-0", "analytics-1")], []),
    }
    decided = 0.0
    for streams, untabled in has.values():
        side: Any = SimpleNamespace(app=SimpleNamespace(instruments=Instruments()), sources=sources)
        recorder = FiguresRecorder(side)
        for total in (100, 110):
            lags = [at(stream, total, *tables) for stream, *tables in streams]
            lags += [at(stream, total) for stream in untabled]

            async def lags_here(side: Any, lags: list[StreamLag] = lags) -> list[StreamLag]:
                return lags

            monkeypatch.setattr(figures, "lags_here", lags_here)
            found = await recorder._look(10.0)
        decided += found["commands"] or 0.0
    assert 3.0 == decided  # 10 of each of three streams in 10 s
