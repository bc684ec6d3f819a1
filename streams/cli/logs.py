"""`faust -A <app> logs`: which logs a type has, and how many workers can share them: split, merge, spread, cancel."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import click
import msgspec
from faust.cli import argument, option

from streams.aggregate_type import AggregateType
from streams.cli.audit.orders import REASON, Order, ordered
from streams.cli.journal import journal_of
from streams.cli.kafka import kafka, members
from streams.cli.owners import in_short
from streams.cli.run import DONE, ERROR, SECONDS, USAGE, CliError, TypesCommand, command, print_table
from streams.concurrency.retry import retried
from streams.journal.layout import Layout, LayoutError, LogSpan
from streams.journal.port import Journal, Unavailable, log_name
from streams.kafka.client import KafkaClient
from streams.kafka.client_factory import ClientFactory
from streams.ownership.layout_watch import announce

COLUMNS = ("log", "seat", "slices", "state", "begins after", "head", "goes on from", "worker")
LOOK_SECONDS = 0.2
WRITE_AGAIN = (0.2, 0.5, 1.0)
"""Pauses in seconds after a write whose outcome is not known: asked again, it tells."""
_WAIT = (
    ": is a worker of each log up, and /health/ready of those well? What is planned goes on by itself: see `logs list`;"
    " `logs cancel` takes it back"
)

Change = tuple[str, Layout]
"""A line that says what is changed, and the layout behind it."""


@command(
    argument("action", type=click.Choice(["list", "split", "merge", "spread", "cancel"])),
    argument("type"),
    argument("numbers", nargs=-1, type=click.IntRange(min=0), metavar="[NUMBER ..]"),
    option("--yes", is_flag=True, help="Do it; without it is only shown what would be done.", show_default=False),
    option("--wait", type=SECONDS, default=60, metavar="SECONDS", help="How long to wait until it is done."),
    REASON,
)
async def logs(
    self: TypesCommand, action: str, type: str, numbers: tuple[int, ...], yes: bool, wait: float, reason: str
) -> int:
    """See the logs of a type, and have it have more or fewer of them, while everything runs.

    \b
    faust -A streams.shop.orders logs list order
    faust -A streams.shop.orders logs spread order 4 --yes
    faust -A streams.shop.orders logs split order 0 --yes
    faust -A streams.shop.orders logs merge order 2 3 --yes
    faust -A streams.shop.orders logs cancel order --yes

    A log is owned by one worker, which commits for all its slices at once: more workers than logs share nothing, and
    more logs than workers make smaller groups. So after going from one worker to four, `spread TYPE 4`. Spread makes
    that many logs with about as many slices each; split halves one log, merge makes one of several. Keys stay in their
    partitions; producers and consumers notice nothing. The slices concerned stand still for some tenths of a second.

    Cancel takes back what has not begun, as when a log of a merge cannot be sealed: `logs list` shows which, and
    /health/ready of its worker says why. A log that is sealed already goes on under another number.

    Without --yes nothing is changed. What was begun goes on when this command is ended: `logs list` shows how far.

    Exit code: 0 done, or shown; 1 not done in time, or a server does not answer; 2 wrong use, or it cannot be.
    """
    aggregates = self.type_named(type)
    async with journal_of(aggregates) as journal:
        layout = await journal.layout(type)
        if layout is None:
            raise CliError(ERROR, f"{type} has no logs yet: start a worker, or run `faust -A {self.app.module} setup`")
        workers = await seats_by_worker(aggregates, self.app.conf.id)
        if action == "list":
            if numbers:
                raise CliError(USAGE, "list takes no number")
            await _print(journal, type, layout, workers)
            return DONE
        try:
            changes = planned(action, layout, numbers, workers)
        except LayoutError as error:
            raise CliError(USAGE, str(error)) from None
        for line, _ in changes:
            click.echo(line)
        if not changes:
            click.echo(f"{type} has {len(layout.open)} logs already")
        elif not yes:
            click.echo("nothing is changed: add --yes to do it")
        else:
            plan = "; ".join(line for line, _ in changes)
            named = {"type": type, "numbers": list(numbers), "plan": plan}
            async with ordered(self, f"logs {action}", reason, named) as order:
                await _change(journal, aggregates, layout, changes, wait, order)
        return DONE


# -- what is to be changed ---------------------------------------------------------------------------------


def planned(action: str, layout: Layout, numbers: Sequence[int], workers: Mapping[int, str]) -> list[Change]:
    """The changes, one after another. Raises `LayoutError`, and `CliError` for a wrong number of numbers."""
    if action == "cancel" and not numbers:
        return [_cancel(layout)]
    if layout.planned and action != "cancel":
        raise LayoutError("another change is under way: see `logs list`; `logs cancel` takes it back")
    if action == "split" and len(numbers) == 1:
        return [_split(layout, numbers[0], 2, workers)]
    if action == "merge" and len(numbers) > 1:
        return [_merge(layout, numbers)]
    if action == "spread" and len(numbers) == 1:
        return _spread(layout, numbers[0], workers)
    takes = {"split": "the number of one log", "merge": "the numbers of two logs or more", "spread": "how many logs",
             "cancel": "no number"}  # fmt: skip
    raise CliError(USAGE, f"{action} takes {takes[action]}")


def _cancel(layout: Layout) -> Change:
    after = layout.cancel()
    back = ", ".join(f"log {log.number} (slices {in_short(log.slices)})" for log in layout.planned)
    heirs = [f"log {log.number} goes on from {log.parents[0]}, which is sealed" for log in _new(layout, after)]
    return "; ".join([f"take back {back}", *heirs]), after


def _new(before: Layout, after: Layout) -> list[LogSpan]:
    """The logs that have begun from one layout to another."""
    return [log for log in after.open if log not in before.open]


def _is_same(log: LogSpan, planned: LogSpan) -> bool:
    """Whether a log is what has become of one that was planned."""
    return (log.number, log.slices, log.parents) == (planned.number, planned.slices, planned.parents)


def _split(layout: Layout, number: int, parts: int, workers: Mapping[int, str]) -> Change:
    """A log in so many parts: the first on its own seat, the others on free ones of workers that have few."""
    if number not in [log.number for log in layout.open]:
        raise LayoutError(f"there is no open log {number}: see `logs list`")
    log = layout.log(number)
    seats = [log.seat, *_free_seats(layout, parts - 1, workers)]
    slices = [log.slices[part::parts] for part in range(parts)]
    shown = "; ".join(
        f"{in_short(its)} on seat {seat}{_at(workers, seat)}" for its, seat in zip(slices, seats, strict=True)
    )
    return f"split log {number} (slices {in_short(log.slices)}): {shown}", layout.split(
        number, list(zip(seats, slices, strict=True))
    )


def _merge(layout: Layout, numbers: Sequence[int]) -> Change:
    after = layout.merge(numbers, next((log.seat for log in layout.logs if log.number == numbers[0]), 0))
    slices = in_short(after.planned[-1].slices)
    return f"merge logs {', '.join(map(str, after.planned[-1].parents))}: slices {slices}", after


def _spread(layout: Layout, wanted: int, workers: Mapping[int, str]) -> list[Change]:
    if not 1 <= wanted <= layout.slices:
        raise LayoutError(f"a type with {layout.slices} slices has 1 to {layout.slices} logs")
    changes: list[Change] = []
    if wanted > len(layout.open):
        parts = {log.number: 1 for log in layout.open}
        for _ in range(wanted - len(parts)):  # the log whose parts are largest gets one more
            parts[max(parts, key=lambda number: len(layout.log(number).slices) / parts[number])] += 1
        for number, count in parts.items():
            if count > 1:
                changes.append(_split(layout, number, count, workers))
                layout = changes[-1][1]
        return changes
    groups = [[log] for log in layout.open]
    while len(groups) > wanted:  # the two smallest become one
        groups.sort(key=lambda group: sum(len(log.slices) for log in group))
        groups = [groups[0] + groups[1], *groups[2:]]
    for group in groups:
        if len(group) > 1:
            changes.append(_merge(layout, [log.number for log in group]))
            layout = changes[-1][1]
    return changes


def _free_seats(layout: Layout, count: int, workers: Mapping[int, str]) -> list[int]:
    """Seats without a log, each at a worker that has as few logs as any."""
    taken = {log.seat for log in layout.logs if log.sealed is None}
    has = Counter(dict.fromkeys(workers.values(), 0))
    has.update(workers[seat] for seat in taken if seat in workers)
    found: list[int] = []
    for _ in range(count):
        free = [seat for seat in range(layout.slices) if seat not in taken]
        if not free:
            raise LayoutError(f"there is no free seat: a type with {layout.slices} slices has as many logs at most")
        seat = min(free, key=lambda seat: (has[workers[seat]] if seat in workers else len(taken), seat))
        found.append(seat)
        taken.add(seat)
        has.update([workers[seat]] if seat in workers else [])
    return found


def _at(workers: Mapping[int, str], seat: int) -> str:
    return f" at {workers[seat]}" if seat in workers else ""


async def seats_by_worker(type: AggregateType, group: str) -> dict[int, str]:
    """By seat the client that Kafka has placed it at; empty where no worker is up. Raises `CliError`."""
    found = await members(type.settings, group)
    return {seat: member.id for member in found for seat in member.assigned.get(type.logs_topic, ())}


# -- doing it ----------------------------------------------------------------------------------------------


async def _change(
    journal: Journal, type: AggregateType, layout: Layout, changes: Sequence[Change], seconds: float, order: Order
) -> None:
    """Write the changes, tell the workers, and wait until the logs have begun. Raises `CliError`."""
    name = type.decider.type
    # In one write: the first of several would be at work while the others are written.
    wanted = msgspec.structs.replace(changes[-1][1], version=layout.version + 1)
    broker = KafkaClient(ClientFactory.of(type.settings), type.settings.partitions)
    before = written = layout
    try:
        async with asyncio.timeout(seconds), kafka(type.settings):
            await broker.start()
            written = await retried(lambda: journal.change_layout(name, wanted), WRITE_AGAIN, Unavailable)
            if written != wanted:
                raise CliError(ERROR, f"somebody else has changed the logs of {name} meanwhile: see `logs list`")
            await announce(broker, type.logs_topic, written)
            layout = written
            while layout.planned:
                await asyncio.sleep(LOOK_SECONDS)
                layout = await journal.layout(name) or layout
    except TimeoutError:
        waiting = ", ".join(log_name(name, log.number) for log in written.planned)
        raise CliError(ERROR, f"not within {seconds:g} s: {waiting or 'nothing was changed'}{_WAIT}") from None
    finally:
        await broker.stop()
    begun = [log for log in layout.logs for planned in written.planned if _is_same(log, planned)]
    if len(begun) < len(written.planned):
        raise CliError(ERROR, f"somebody has taken back what was planned for {name}: see `logs list`")
    for log in begun or _new(before, written):
        order.did(f"{log_name(name, log.number)} has slices {in_short(log.slices)}, from commit {log.begins_after + 1}")


async def _print(journal: Journal, type: str, layout: Layout, workers: Mapping[int, str]) -> None:
    shown = [log for log in layout.logs if log.sealed is None or layout.planned]
    heads = await asyncio.gather(*(_head(journal, type, log) for log in shown))
    rows: list[list[Any]] = [
        [
            log_name(type, log.number),
            log.seat,
            in_short(log.slices),
            _state(layout, log),
            log.after,
            head,
            ", ".join(log_name(type, parent) for parent in log.parents),
            workers.get(log.seat),
        ]
        for log, head in zip(shown, heads, strict=True)
    ]
    print_table(COLUMNS, rows, ["seat", "begins after", "head"])


async def _head(journal: Journal, type: str, log: LogSpan) -> int | None:
    if log.after is None:
        return None
    head = await journal.head(log_name(type, log.number), log.after)
    return log.after if head is None else head.nr


def _state(layout: Layout, log: LogSpan) -> str:
    if log.after is None:
        return "planned"
    if log.sealed is not None:
        return "sealed"
    return "to be sealed" if layout.is_ending(log.number) else "open"
