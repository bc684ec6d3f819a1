"""A worker that says how fast it applied events, as the stock table does: the app of the module `BENCH_APP`, with a
count beside it.

It counts from the first batch of events that is handed to tables until all tables have the commits `BENCH_ENDS` (JSON,
by stream). The events of the first batch are none of `BENCH_COUNT` then, since they have been read before. It says
events a second, and microseconds of this process for each.
"""

from __future__ import annotations

import importlib
import json
import os
import time
from collections.abc import Mapping, Sequence

from projections.app import ReadSide
from projections.applying.event_processor import EventProcessor
from projections.applying.event_source import Batch
from projections.applying.fold import TableFold

_module = importlib.import_module(os.environ["BENCH_APP"])
app = _module.app
_apply = EventProcessor.apply


class Count:
    """The time and processor time from the first batch of events to the last."""

    def __init__(self, side: ReadSide, ends: Mapping[str, int], events: int) -> None:
        self._side = side
        self._ends = ends
        self._events = events
        self._began: tuple[float, float] | None = None

    def begin(self, batch: Batch) -> None:
        """A batch is about to be applied."""
        if self._began is None and batch.events:
            self._events -= len(batch.events)
            self._began = time.perf_counter(), time.process_time()

    def end(self) -> None:
        """A batch has been applied. Says the rate when it was the last."""
        if self._began is None or not self._is_done():
            return
        seconds, cpu = time.perf_counter() - self._began[0], time.process_time() - self._began[1]
        print(f"bench rate {self._events / seconds:.1f} {cpu / self._events * 1e6:.1f}", flush=True)
        EventProcessor.apply = _apply

    def _is_done(self) -> bool:
        partitions = [it for source in self._side.sources.values() for it in source.partitions.values()]
        there = {it.stream for it in partitions}
        return self._ends.keys() <= there and all(
            table.place.complete >= self._ends[it.stream]
            for it in partitions
            if it.stream in self._ends
            for table in it.tables.values()
        )


_count = Count(_module.side, json.loads(os.environ["BENCH_ENDS"]), int(os.environ["BENCH_COUNT"]))


async def _counted(self: EventProcessor, batch: Batch) -> Sequence[TableFold]:
    _count.begin(batch)
    behind = await _apply(self, batch)
    _count.end()
    return behind


EventProcessor.apply = _counted
