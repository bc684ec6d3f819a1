"""Orders as a journal holds them, written there without their owners, and published by the product's own tailer."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from aggregates.shop.order import Event, Line, LineAdded, OrderOpened, OrderPlaced, order
from projections.publishing.publication import Publication
from projections.publishing.tail_assignment import Tailers
from streams.aggregate_type import AggregateType
from streams.journal.commit_hint import encode_hint
from streams.journal.layout import LogSpan, first_layout
from streams.journal.port import Commit, RecordedEvent, SliceHead, log_name
from streams.journal.position import stream_name
from streams.journal.slice_log import LayoutReader
from streams.kafka import topics
from streams.kafka.client import KafkaClient
from streams.kafka.client_factory import ClientFactory
from streams.settings import Settings
from streams.slices import slice_of

EVENTS_A_COMMIT = 100
LINES = 4
"""Different lines of an order; more pieces of them merge, so that its row stays small however many events it has."""
SKUS = 1_000
ORDERS_A_USER = 10
COUNTRIES = ("United Kingdom", "France", "Germany", "EIRE", "Spain")
DAYS = 30
FIRST_DAY = datetime(2010, 12, 1, 12, tzinfo=UTC)
PUBLISH_SECONDS = 300.0


class Tailed(NamedTuple):
    """How fast the tailer was: events a second, and microseconds of processor time for each."""

    rate: float
    cpu: float


def _opened(number: int) -> OrderOpened:
    country = COUNTRIES[number % len(COUNTRIES)]
    return OrderOpened(f"u{number // ORDERS_A_USER}", "sale", country, FIRST_DAY + timedelta(days=number % DAYS))


def _line(number: int, step: int) -> LineAdded:
    sku = 10_000 + (number * LINES + step % LINES) % SKUS
    return LineAdded(f"{sku}A", "WHITE HANGING HEART T-LIGHT HOLDER", 6, Decimal("2.5500"))


def _placed(number: int, steps: int) -> OrderPlaced:
    pieces: dict[str, int] = defaultdict(int)
    for step in range(steps):
        pieces[_line(number, step).sku] += _line(number, step).quantity
    price, description = _line(number, 0).unit_price, _line(number, 0).description
    lines = tuple(Line(sku, description, count, price) for sku, count in pieces.items())
    opened, total = _opened(number), price * sum(pieces.values())
    return OrderPlaced(opened.user_id, opened.kind, opened.country, opened.opened_at, lines, total)


def order_id(number: int) -> str:
    """The id of an order."""
    return f"o{number}"


def one_by_one(orders: int, events: int) -> Iterator[tuple[int, Event]]:
    """About `events` events of so many orders, which take turns: opened, lines added, and placed when there are more
    than two of each. The order is said by its number."""
    each = max(2, events // orders)
    lines = each - 1 if each == 2 else each - 2
    for number in range(orders):
        yield number, _opened(number)
    for step in range(lines):
        for number in range(orders):
            yield number, _line(number, step)
    for number in range(orders if each > 2 else 0):
        yield number, _placed(number, lines)


class Written:
    """The logs of orders of one namespace, whose only writer this is. With `derives` what is derived of them is
    written, too, so that orders can be looked at and loaded."""

    def __init__(self, settings: Settings, derives: bool = False) -> None:
        self.settings = settings
        self._derives = derives
        self.context = AggregateType("orders", order, settings, "shop")
        self.topic = topics.events_topic(settings.namespace, "order")
        self.count = 0
        self._layout = first_layout(settings.partitions, settings.logs)
        self._heads: dict[int, Commit] = {}
        """By log the newest commit."""
        self._ends: dict[int, int] = {}
        """By slice its newest commit."""
        self._sequences: defaultdict[str, int] = defaultdict(int)
        self._journal = self.context.journal()
        self._broker = KafkaClient(ClientFactory.of(settings), settings.partitions)

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Written]:
        """Make topics and tables, and connect."""
        wanted = topics.type_topics(self.settings.namespace, "order", self.settings.partitions)
        await topics.ensure_topics(ClientFactory.of(self.settings), wanted)
        await self._journal.create()
        await self._journal.open()
        await self._journal.change_layout("order", self._layout)
        await self._journal.save_schemas(self.context.events.schemas)
        await self._broker.start()
        try:
            yield self
        finally:
            await self._broker.stop()
            await self._journal.close()

    def partition(self, number: int) -> int:
        """Where an order is."""
        return slice_of(order_id(number), self.settings.partitions)

    @property
    def ends(self) -> dict[str, int]:
        """The newest commit of each stream that has one."""
        return {stream_name("order", slice): nr for slice, nr in self._ends.items()}

    async def append(self, events: Iterable[tuple[int, Event]], size: int = EVENTS_A_COMMIT) -> dict[str, list[int]]:
        """Write events in commits of up to `size`; returns the orders in each by position (`<stream>:<commit>`)."""
        by_log: defaultdict[int, list[tuple[int, Event]]] = defaultdict(list)
        for number, event in events:
            by_log[self._layout.of(self.partition(number)).number].append((number, event))
        written = await asyncio.gather(*(self._append(log, of_it, size) for log, of_it in by_log.items()))
        return {position: numbers for commits in written for position, numbers in commits.items()}

    async def _append(self, log: int, events: Sequence[tuple[int, Event]], size: int) -> dict[str, list[int]]:
        commits: defaultdict[str, list[int]] = defaultdict(list)
        for start in range(0, len(events), size):
            part = events[start : start + size]
            commit = self._next(self._layout.log(log), part)
            await self._journal.append(commit)
            if self._derives:
                await self._journal.derive([commit])
            self._heads[log] = commit
            self.count += len(part)
            for number, _ in part:
                slice = self.partition(number)
                commits[f"{stream_name('order', slice)}:{commit.nr}"].append(number)
                self._ends[slice] = commit.nr
        return commits

    def _next(self, span: LogSpan, events: Sequence[tuple[int, Event]]) -> Commit:
        """The next commit of a log, with events as if each had had a command."""
        last = self._heads.get(span.number)
        nr, slices = (last.nr if last is not None else 0) + 1, dict(last.slices if last is not None else {})
        for number, _ in events:
            slice = self.partition(number)
            slices[slice] = SliceHead(slices.get(slice, SliceHead()).offset + 1, nr)
        whole = {slice: slices.get(slice, SliceHead()) for slice in span.slices}
        recorded = tuple(self._recorded(number, event) for number, event in events)
        derived = nr - 1 if self._derives else 0
        log = log_name("order", span.number)
        return Commit(log, nr, 1, "bench", "bench", whole, derived, datetime.now(UTC), recorded)

    def _recorded(self, number: int, event: Event) -> RecordedEvent:
        id = order_id(number)
        sequence = self._sequences[id] = self._sequences[id] + 1
        data = self.context.events.encode(event)
        return RecordedEvent(id, sequence, type(event).__name__, data, f"{id}/{sequence}", f"{id}/{sequence}")

    def hint(self) -> None:
        """Tell the tailers, as owners do, that there is something new."""
        for log, head in self._heads.items():
            self._broker.hint(self.context.commits_topic, self._layout.log(log).seat, encode_hint(head))

    async def publish(self) -> Tailed:
        """Publish all of it here, with the product's own tailer, from the first event on."""
        layout = LayoutReader(self._journal, "order")
        await layout.look()
        publication = Publication(
            type="order", topic=self.topic, source=f"/{self.settings.namespace}orders", journal=self._journal,
            layout=layout, broker=self._broker, codec=self.context.events,
        )  # fmt: skip
        tailers = Tailers(publication)
        began, cpu = time.perf_counter(), time.process_time()
        tailers.assign(set(range(self.settings.partitions)))
        try:
            async with asyncio.timeout(PUBLISH_SECONDS):
                while not self._is_out(tailers):
                    await asyncio.sleep(0.005)
        finally:
            await tailers.close()
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        return Tailed(self.count / seconds, cpu / self.count * 1e6)

    def _is_out(self, tailers: Tailers) -> bool:
        return all(tailers.tails[self._layout.log(log).seat].published >= head.nr for log, head in self._heads.items())
