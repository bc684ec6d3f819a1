"""What traces cost a command: groups of orders decided in memory, as `metrics` has them, with the spans of none, one in
a hundred and all of them made, encoded and sent to a collector, which takes them in a thread of its own.

All of a round counts: reading, deciding, replies, and whatever spans there are until the collector has them. Rounds of
all kinds take turns, so that whoever else wants the processor disturbs each as often, and the best of each counts.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from streams.app import YOUNG_OBJECTS
from streams.concurrency.tasks import cancel
from streams.deciding.messages import Message
from streams.journal.port import Commit, SliceHead
from streams.moments import now
from streams.observability.otlp import OtlpTracer
from streams.observability.owner_traces import OwnerTraces, Stages
from streams.observability.traces import HEADER, new_trace
from streams.runtime import garbage_collector
from streams.settings import Settings
from tests.bench.metrics import COMMANDS, TRACE, decider_of_orders, messages_of_orders
from tests.bench.report import Figure
from tests.bench.worker import say
from tests.collector import Collector, collector

SIZES = (1, 500)
OFF = "off"
SHARES: dict[str, float] = {"0 %": 0.0, "1 %": 0.01, "100 %": 1.0}
ROUNDS = 7
MOST_WAITING = 2_000
"""Spans; the next group is decided when there are fewer."""


async def measure_traces() -> list[Figure]:
    """Processor microseconds of a command without a tracer, and with one at each share of traces that are kept."""
    garbage_collector.tune(YOUNG_OBJECTS)
    figures: list[Figure] = []
    async with _collector() as collected:
        for size in SIZES:
            best: defaultdict[str, float] = defaultdict(lambda: float("inf"))
            for _ in range(ROUNDS):
                for kind in (OFF, *SHARES):
                    best[kind] = min(best[kind], await _round(size, kind, collected))
            say(f"groups of {size}: " + ", ".join(f"{kind} {best[kind]:.1f} us" for kind in best))
            for kind, cost in best.items():
                figures.append((f"groups of {size}, traces {kind}: us a command", cost))
                if kind != OFF:
                    figures.append((f"groups of {size}, traces {kind}: times that of off", cost / best[OFF]))
    return figures


async def _round(size: int, kind: str, collected: Collector) -> float:
    """Microseconds of a command."""
    count = COMMANDS if size > 1 else COMMANDS // 4
    groups = _messages(size, kind)[: count // size]
    handler = decider_of_orders()
    head = Commit(
        log="order@0", nr=1, epoch=1, owner="o", topic_id="t", slices={0: SliceHead()}, derived_nr=1,
        recorded_at=now(),
    )  # fmt: skip
    tracer = None if kind == OFF else OtlpTracer(Settings(otel_exporter_otlp_endpoint=collected.url), "bench")
    traces = None if tracer is None else OwnerTraces(tracer, "order", "order-commands")
    task = None if tracer is None else asyncio.create_task(tracer.run())
    began = time.thread_time_ns()
    for group in groups:
        decided = await handler.decide_group(group, head)
        assert decided.events
        assert decided.replies
        handler.settle(0)
        if traces is not None and tracer is not None:
            moment = time.monotonic()
            traces.committed(decided, Stages(moment, moment, moment, moment))
            while tracer.waiting > MOST_WAITING:
                await asyncio.sleep(0.001)
    if tracer is not None and task is not None:
        tracer.end()
        await task
        assert not tracer.lost
        await cancel(task)
    return (time.thread_time_ns() - began) / count / 1e3


def _messages(size: int, kind: str) -> Sequence[Sequence[Message]]:
    """As those of `metrics`, of which so many are of a trace that is kept; the others are of one that nobody keeps."""
    groups, chance = messages_of_orders(size, f"{TRACE}0"), random.Random(7)
    for message in (message for group in groups for message in group):
        if chance.random() < SHARES.get(kind, 1.0):
            start = new_trace()
            hop = HEADER, start.child().traceparent.encode()
            trace = "ce_traceparent", start.traceparent.encode()
            message.headers = [*(header for header in message.headers if header[0] != trace[0]), trace, hop]
    return groups


@asynccontextmanager
async def _collector() -> AsyncIterator[Collector]:
    """One whose work does not count: in another thread."""
    started: asyncio.Future[Collector] = asyncio.get_running_loop().create_future()
    loop = asyncio.new_event_loop()
    ended = asyncio.Event()

    async def serve() -> None:
        async with collector(keeps=False) as it:
            here.call_soon_threadsafe(started.set_result, it)
            await ended.wait()

    here = asyncio.get_running_loop()
    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        yield await started
    finally:
        loop.call_soon_threadsafe(ended.set)
        await asyncio.to_thread(thread.join)
        loop.close()
