"""`faust -A <app> journal verify TYPE`: compare what is derived from a log with the log, and repair it."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from functools import partial

import click
from aiokafka.errors import KafkaError
from faust.cli import argument, option

from streams.aggregate_type import AggregateType
from streams.cli.audit.orders import REASON, ordered
from streams.cli.journal import journal_of
from streams.cli.progress import Meter
from streams.cli.run import DONE, ERROR, USAGE, CliError, TypesCommand, command
from streams.journal.port import Journal, Log
from streams.kafka.client_factory import ClientFactory
from streams.kafka.published_through import JournalBehind, check_not_behind, last_positions
from streams.kafka.topics import events_topic
from streams.text import one_line, printable
from streams.verification.patience import patiently
from streams.verification.verification import Verification

KAFKA_SECONDS = 10.0


@command(
    argument("action", type=click.Choice(["verify"])),
    argument("type"),
    option("--repair", "mend", is_flag=True, help="Make what is derived again from the log.", show_default=False),
    option("--partition", type=click.IntRange(min=0), metavar="N", help="Of one partition only.", show_default=False),
    REASON,
)
async def journal(self: TypesCommand, action: str, type: str, mend: bool, partition: int | None, reason: str) -> int:
    """Hold the journal of a type against itself: the log, and all that is derived from it.

    \b
    faust -A streams.shop.orders journal verify order
    faust -A streams.shop.orders journal verify order --partition 3 --repair

    Walks every log, compares the rows by aggregate and the snapshots with it, and prints a line for
    each disagreement: where, and what. It only reads, and may run while the workers do; what they write meanwhile
    is left for the next run. With --repair every aggregate that disagrees is derived anew from the log, without a
    snapshot, and all is verified once more. The log itself is never touched. It takes about as much disk as the
    events, in the folder for temporary files. Last the end of each log is held against the events topic.

    Exit code: 0 nothing disagrees, 1 something does (with --repair: still does), 2 wrong use, or the journal does
    not answer.
    """
    aggregates = self.type_named(type)
    count = aggregates.settings.partitions
    if partition is not None and partition >= count:
        raise CliError(USAGE, f"no partition {partition}: PARTITIONS={count}, so they are 0 to {count - 1}")
    try:
        async with journal_of(aggregates) as opened:
            if mend:
                async with ordered(
                    self, "journal verify --repair", reason, {"type": type, "partition": partition}
                ) as order:
                    before = wrong = await verify(opened, aggregates, partition, mend)
                    if wrong:
                        wrong = await verify(opened, aggregates, partition, False)
                    order.code = ERROR if wrong else DONE
                    order.effect = f"{before} disagreements, {wrong} after it"
            else:
                wrong = await verify(opened, aggregates, partition, mend)
            wrong += await compare_with_topic(opened, aggregates, partition)
    except CliError as stop:
        raise CliError(USAGE, str(stop)) from None  # 1 would mean that the journal is damaged
    return ERROR if wrong else DONE


async def compare_with_topic(journal: Log, type: AggregateType, partition: int | None) -> int:
    """Print the streams whose log ends before the last event published from it; the number of them.

    Prints a note where Kafka does not answer.
    """
    settings, name = type.settings, type.decider.type
    topic = events_topic(settings.namespace, name)
    try:
        async with asyncio.timeout(KAFKA_SECONDS):
            published = await last_positions(ClientFactory.of(settings), name, topic, settings.partitions)
    except (KafkaError, OSError) as error:
        click.echo(f"note: {topic} was not looked at: Kafka: {one_line(error)}")
        return 0
    wrong = 0
    for position in sorted(published):
        if partition in (None, position.slice):
            try:
                await patiently(partial(check_not_behind, journal, [position]))
            except JournalBehind as error:
                click.echo(str(error))
                wrong += 1
    return wrong


async def verify(journal: Journal, type: AggregateType, partition: int | None, mend: bool) -> int:
    """Verify and print each finding, with `mend` repair it at once; the number of disagreements, without the notes."""
    began, wrong, notes, repaired = time.monotonic(), 0, 0, None
    meters: dict[str, Meter] = {}
    with ExitStack() as shown:

        def progress(kind: str, done: int, total: int) -> None:
            if kind not in meters:
                shown.close()  # the bar of the stage before
                meters[kind] = shown.enter_context(Meter("verifying", total, kind))
            meters[kind].at(done)

        verification = Verification(
            journal,
            type.decider,
            type.events,
            type.settings.dedupe_window,
            only=partition,
            progress=progress,
        )
        async for finding in verification.run():
            click.echo(f"{'note: ' if finding.note else ''}{printable(f'{finding.where}: {finding.what}')}")
            wrong, notes = wrong + (not finding.note), notes + finding.note
            if mend and finding.repair not in (None, repaired):
                repaired = finding.repair
                click.echo(f"  repaired: {printable(await patiently(repaired))}")
    counts, seconds = verification.counts, time.monotonic() - began
    older = f", {counts.older_snapshots:,} of another version" if counts.older_snapshots else ""
    click.echo(
        f"verified {type.decider.type}: {counts.commits:,} commits, {counts.events:,} events,"
        f" {counts.aggregates:,} aggregates, {counts.snapshots:,} snapshots{older} in {seconds:.1f} s"
        f" ({counts.events / max(seconds, 0.001):,.0f} events/s): {wrong:,} disagreements, {notes:,} notes"
    )
    return wrong
