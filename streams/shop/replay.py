"""`replay`: send a sales file as commands and, with `--wait`, see them through to the tables.

Kafka has acknowledged users and products before the first order is sent. The checkout's reservations therefore stand
behind the restocks they need, in the same partition, and find their stock however slow the product worker is.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click
import faust
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.producer.message_accumulator import BatchBuilder
from faust.cli import AppCommand, argument, option

from streams.cli.kafka import trouble
from streams.cli.progress import Meter
from streams.cli.run import CliError
from streams.kafka import client as kafka_client
from streams.kafka.client_factory import ClientFactory
from streams.kafka.topic_metadata import existing
from streams.settings import Settings, SettingsError
from streams.shop.generated_sales import generate
from streams.shop.replay_checkout import Confirmed, wait_for_checkout
from streams.shop.replay_wait import Door, ReplayError, Sent, wait_for_tables
from streams.shop.sales import Command, Plan, plan
from streams.shop.sales_file import SalesError, read_rows

TYPES = ("user", "product", "order")
BATCH_BYTES = 128 * 1024
UNACKNOWLEDGED = 256
"""The most batches on the way."""

T = TypeVar("T")


@dataclass
class Summary:
    """The outcome of a replay. `shown` is the revenue of the tables by month, `confirmed` the outcome of the orders;
    both are None when nobody waited for them."""

    plan: Plan
    commands: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    shown: dict[str, Decimal] | None = None
    confirmed: Confirmed | None = None

    def __str__(self) -> str:
        plan = self.plan
        counts = [("rows read", plan.rows), ("  kept", plan.kept)]
        counts += [(f"  left out: {reason}", count) for reason, count in plan.left_out.most_common()]
        counts += [("customers", len(plan.customers)), ("products", len(plan.products))]
        counts += [("invoices", len(plan.invoices)), ("lines", plan.lines), ("commands sent", self.commands)]
        width = max(len(name) for name, _ in counts)
        text = [f"{name:<{width}}  {count:>9,}" for name, count in counts]
        rate = self.commands / self.seconds if self.seconds else 0
        waited = f", then {self.waited:,.1f} s until the tables showed all of it" if self.shown is not None else ""
        text += [f"sent in {self.seconds:,.1f} s, {rate:,.0f} a second{waited}", ""]
        text += [f"{'revenue':<9}{'expected':>14}" + (f"{'tables':>14}" if self.shown is not None else "")]
        for month, expected in plan.revenue().items():
            text.append(f"{month:<9}{expected:>14}" + self._compared(month, expected))
        if self.confirmed is not None:
            text += ["", *self.confirmed.lines(plan)]
        return "\n".join(text)

    def _compared(self, month: str, expected: Decimal) -> str:
        if self.shown is None:
            return ""
        shown = self.shown.get(month, Decimal(0))
        mark = "equal" if shown == expected else f"differs by {shown - expected:+f}: has the system other orders?"
        return f"{shown:>14f}  {mark}"


async def replay(
    settings: Settings,
    file: Path,
    *,
    limit: int | None = None,
    since: date | None = None,
    until: date | None = None,
    wait: bool = False,
    confirmed: bool = False,
    timeout: float = 900,
    url: str = "http://127.0.0.1:6066",
) -> Summary:
    """Send a file's invoices as commands; with `wait`, until the tables at `url` show them, at most `timeout` seconds;
    with `confirmed`, until the checkout has brought each order to its end, too.

    Raises `SalesError` for a file that cannot be used, `ReplayError` for servers that do not answer or are not set up.
    """
    summary = Summary(plan(read_rows(file), limit, since, until))
    if not (wait or confirmed):
        await _send(settings, summary)
        return summary
    async with Door(url, settings) as door:
        await door.get("/lag")  # better to learn now that nobody is in
        began = time.monotonic()
        sent = await _send(settings, summary)
        started = time.monotonic()
        await wait_for_tables(door, sent, timeout)
        summary.waited = time.monotonic() - started
        if confirmed:
            summary.confirmed = await wait_for_checkout(door, summary.plan, began, timeout)
        summary.shown = await door.revenue()
    return summary


async def _send(settings: Settings, summary: Summary) -> Sent:
    try:
        topics = {type: f"{settings.namespace}{type}-commands" for type in TYPES}
        partitions = await _partitions(settings, topics)
        producer = ClientFactory.of(settings).producer(
            acks="all",
            enable_idempotence=True,
            linger_ms=5,
            max_batch_size=BATCH_BYTES,
            client_id="replay",
        )
        async with producer:
            started = time.monotonic()
            with Meter("sending", summary.plan.commands, "commands") as meter:
                sender = Sender(producer, topics, partitions, meter)
                await sender.send(summary.plan.preparations())
                await sender.send(summary.plan.orders())
            summary.commands, summary.seconds = summary.plan.commands, time.monotonic() - started
            return sender.sent
    except (KafkaError, OSError) as error:
        raise ReplayError(trouble(settings, error)) from error


async def _partitions(settings: Settings, topics: dict[str, str]) -> dict[str, int]:
    """The number of partitions of each type's command topic; asks in a way that creates no topic."""
    async with ClientFactory.of(settings).administering() as admin:
        found = {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics()}
        await existing(admin._client, [topic for topic in topics.values() if topic not in found])
    if absent := [topic for topic in topics.values() if not found.get(topic)]:
        raise ReplayError(f"Kafka has no topic {', '.join(absent)}: start the workers first (make start)")
    return {type: found[topic] for type, topic in topics.items()}


partition_of = lru_cache(4096)(kafka_client.partition_of)
"""As `streams.kafka.client` has it; each order comes again and again."""


def message(command: Command) -> tuple[bytes, bytes, list[tuple[str, bytes]]]:
    """Key, value and headers: the CloudEvents Kafka binding in binary mode."""
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", command.id.encode()),
        ("ce_type", command.type.encode()),
        ("ce_source", b"/replay"),
        ("content-type", b"application/json"),
    ]
    return command.key.encode(), json.dumps(command.data, ensure_ascii=False).encode(), headers


@dataclass
class Sender:
    """Fills batches by partition itself: several times faster than one future per message, and the order is kept."""

    producer: AIOKafkaProducer
    topics: dict[str, str]
    partitions: dict[str, int]
    meter: Meter
    sent: Sent = field(default_factory=dict)
    _open: dict[tuple[str, int], BatchBuilder] = field(default_factory=dict)
    _pending: set[asyncio.Task[None]] = field(default_factory=set)

    async def send(self, commands: Iterable[Command]) -> None:
        """Send, and return when Kafka has acknowledged all of it. Raises `KafkaError`."""
        for command in commands:
            key, value, headers = message(command)
            place = command.aggregate, partition_of(key, self.partitions[command.aggregate])
            batch = self._open.get(place)
            if batch is None:
                batch = self._open[place] = self.producer.create_batch()
            if batch.append(timestamp=None, key=key, value=value, headers=headers) is None:
                await self._dispatch(place)
                batch = self._open[place] = self.producer.create_batch()
                batch.append(timestamp=None, key=key, value=value, headers=headers)
        for place in list(self._open):
            await self._dispatch(place)
        await asyncio.gather(*self._pending)
        self._pending.clear()

    async def _dispatch(self, place: tuple[str, int]) -> None:
        batch = self._open.pop(place)
        type, partition = place
        acknowledged = await self.producer.send_batch(batch, self.topics[type], partition=partition)
        task = asyncio.create_task(self._settle(place, batch.record_count(), acknowledged))
        task.add_done_callback(lambda task: task.cancelled() or task.exception())  # when one fails, the others may too
        self._pending.add(task)
        await asyncio.sleep(0)
        if len(self._pending) >= UNACKNOWLEDGED:
            await asyncio.wait(self._pending, return_when=asyncio.FIRST_COMPLETED)
        for task in [task for task in self._pending if task.done()]:
            self._pending.remove(task)
            task.result()

    async def _settle(self, place: tuple[str, int], count: int, acknowledged: Awaitable[Any]) -> None:
        stream, offset = f"{place[0]}-{place[1]}", (await acknowledged).offset
        first, last = self.sent.get(stream, (offset, -1))
        # A broker that got a batch twice, because its first answer was lost, gives no offset but -1.
        self.sent[stream] = (first, (offset - 1 if offset >= 0 else last) + count)
        self.meter.advance(count)


_replay = replay


def register(app: faust.App, settings: Settings | None = None) -> None:
    """Add the commands `replay` and `generate-sales` to an app; without `settings` they are the environment's."""
    day = click.DateTime(["%Y-%m-%d"])

    @app.command(
        argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path)),
        option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N invoices."),
        option("--since", type=day, metavar="DATE", help="Only invoices of this day and later, like 2010-12-01."),
        option("--until", type=day, metavar="DATE", help="Only invoices of this day and earlier."),
        option("--wait", is_flag=True, help="Return when the tables show all of it, and compare the revenue."),
        option("--confirmed", is_flag=True, help="Wait for the checkout of each order, too, and compare the stock."),
        option("--timeout", type=click.FloatRange(min=0), default=900, metavar="SECONDS", help="The longest --wait."),
        option("--url", default="http://127.0.0.1:6066", help="The projections' door, for --wait."),
    )
    async def replay(
        self: AppCommand, since: datetime | None, until: datetime | None, file: Path, **options: Any
    ) -> None:
        """Send the sales of FILE as commands.

        FILE is the UCI "Online Retail" CSV, plain or .gz, with the columns InvoiceNo, StockCode, Description, Quantity,
        InvoiceDate, UnitPrice, CustomerID and Country. Each customer is registered and each stock code defined and
        restocked once, then each invoice is opened, filled and placed. An InvoiceNo starting with C is a credit.

        Rows without CustomerID, with a UnitPrice not above 0, or with a quantity whose sign does not fit are left out
        and counted. Sending a file again changes nothing: the command ids are the same.

        No such file at hand? See generate-sales.
        """
        if since and until and since > until:
            _stop(2, "--since is after --until: nothing lies between")
        first, last = since and since.date(), until and until.date()

        async def send() -> Summary:
            return await _replay(settings or Settings.from_environment(), file, since=first, until=last, **options)

        print(await _guarded(send()))

    @app.command(
        argument("file", type=click.Path(dir_okay=False, path_type=Path)),
        option("--days", type=click.IntRange(1, 1500), default=30, help="How many days of sales."),
        option(
            "--seed", type=click.IntRange(0, 10_000), default=1, help="Another seed, other sales and invoice numbers."
        ),
        option("--start", type=day, default="2010-12-01", metavar="DATE", help="The first day."),
    )
    async def generate_sales(self: AppCommand, file: Path, days: int, seed: int, start: datetime) -> None:
        """Write invented sales to FILE, to be sent with replay.

        The form is that of the UCI "Online Retail" CSV, with its oddities; gzip when FILE ends in .gz. The same options
        give the same file, byte by byte.
        """

        async def write() -> int:
            return generate(file, days, seed, start.date())

        print(f"{await _guarded(write()):,} rows, {days} days from {start:%Y-%m-%d}: {file}")


async def _guarded(work: Awaitable[T]) -> T:
    """The result of `work`, or one line and an exit code: 2 for a mistake in the call, 1 for the rest."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # its errors reach the user as one sentence instead
    try:
        return await work
    except (SalesError, SettingsError, CliError) as error:
        _stop(2, str(error))
    except ReplayError as error:
        _stop(1, str(error))


def _stop(code: int, text: str) -> NoReturn:
    click.echo(f"Error: {text}", err=True)
    raise SystemExit(code)
