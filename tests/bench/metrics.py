"""What counting costs a command: groups of orders decided in memory, and what their owner then counts of each.

The difference of two rates would drown in what rates vary by. So each is measured by itself: deciding (reading,
deciding, encoding of events and replies, no Kafka and no journal), and counting.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from aggregates.shop.order import order
from schemas.codec import Codec
from streams.app import YOUNG_OBJECTS
from streams.deciding.cache import Cache
from streams.deciding.command_handler import CommandHandler
from streams.deciding.group_handler import GroupHandler
from streams.deciding.messages import Message, command_headers
from streams.journal.memory import MemoryJournal, MemoryStore
from streams.journal.port import Commit, SliceHead
from streams.moments import now
from streams.observability.instruments import Instruments
from streams.observability.owner_metrics import OwnerMetrics
from streams.runtime import garbage_collector
from tests.bench.report import Figure
from tests.bench.serialization import codec_of
from tests.bench.worker import say

SIZES = (1, 10, 500)
COMMANDS, ROUNDS = 20_000, 3
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0"
TRACES = {"no trace": "", "traces that nobody keeps": f"{TRACE}0", "traces that are kept": f"{TRACE}1"}
OPEN = msgspec.json.encode({"user_id": "17850", "kind": "sale", "country": "France"})
LINE = {"description": "WHITE HANGING HEART T-LIGHT HOLDER", "quantity": 6, "unit_price": "2.55"}


async def measure_metrics() -> list[Figure]:
    """Microseconds of a command, and the share of them that is counting."""
    garbage_collector.tune(YOUNG_OBJECTS)
    figures: list[Figure] = []
    for size in SIZES:
        for name, trace in TRACES.items():
            if trace and size != SIZES[-1]:
                continue
            decided, counted = await _measure(size, trace)
            where = f"groups of {size}, {name}"
            say(f"{where}: decided in {decided:.1f} us a command, counted in {counted:.2f}")
            figures += [
                (f"{where}: deciding and its reply, us a command", decided),
                (f"{where}: counting, us a command", counted),
                (f"{where}: counting, % of deciding", 100 * counted / decided),
            ]
    return figures


async def _measure(size: int, trace: str) -> tuple[float, float]:
    """Microseconds of a command: deciding, and counting. Those of the best group: others may want the processor."""
    best_decided = best_counted = float("inf")
    for _ in range(ROUNDS):
        handler = decider_of_orders()
        head = Commit(
            log="order@0", nr=1, epoch=1, owner="o", topic_id="t", slices={0: SliceHead()}, derived_nr=1,
            recorded_at=now(),
        )  # fmt: skip
        metrics = OwnerMetrics(Instruments(), "order", order.commands)
        for group in messages_of_orders(size, trace):
            began = time.thread_time_ns()
            decided = await handler.decide_group(group, head)
            assert decided.events
            assert decided.replies
            handler.settle(0)
            between = time.thread_time_ns()
            metrics.decided(decided)
            metrics.committed(decided, 0.004)
            ended = time.thread_time_ns()
            best_decided = min(best_decided, (between - began) / size / 1e3)
            best_counted = min(best_counted, (ended - between) / size / 1e3)
    return best_decided, best_counted


def decider_of_orders() -> GroupHandler:
    """Of one log in memory."""
    schemas, events = codec_of(order)
    commands = Codec([schema for schema in schemas if schema.name in order.commands], order.commands)
    handler = CommandHandler(decider=order, events=events, commands=commands, window=1_000)
    journal = MemoryJournal(MemoryStore())
    return GroupHandler(handler, journal=journal, cache=Cache(1 << 30), log="order@0", slices=1)


def messages_of_orders(size: int, trace: str) -> Sequence[Sequence[Message]]:
    """Groups of commands: orders that are opened and get nine lines each, some hundred at a time."""
    messages, sent = [], time.time()
    for number in range(COMMANDS):
        id, line = f"order {number % (COMMANDS // 10)}", number // (COMMANDS // 10)
        command = "AddLine" if line else "OpenOrder"
        data = msgspec.json.encode({**LINE, "sku": f"8512{line}"}) if line else OPEN
        headers = command_headers(f"c{number}", command, "/bench", reply_to="answers", traceparent=trace)
        # Kafka's time has milliseconds: at 10,000 a second ten commands have the same.
        messages.append(Message(0, number, id.encode(), data, headers, round(sent + number / 10_000, 3)))
    return [messages[at : at + size] for at in range(0, COMMANDS, size)]
