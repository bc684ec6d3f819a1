"""`faust -A <app> owners`: which worker owns which log, and how far each is."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import click
from faust.cli import option

from streams.cli.http import Door, ask, read
from streams.cli.kafka import members
from streams.cli.run import DONE, ERROR, USAGE, CliError, TypesCommand, command, print_table
from streams.journal.port import log_type
from streams.journal.position import stream_name
from streams.moments import in_utc
from streams.settings import Settings
from streams.web.owners import LogStatus, OwnersAnswer

COLUMNS = ("log", "seat", "slices", "serving", "owner", "epoch", "head", "indexed", "eventful", "next_offsets",
           "queued", "queued_bytes", "aggregates", "weight", "takeover_ms", "since")  # fmt: skip
NUMBERS = [name for name in COLUMNS if name not in ("log", "slices", "serving", "owner", "next_offsets", "since")]
OFFSETS_SHOWN = 4


@command(
    option("--url", "urls", multiple=True, metavar="URL", help="A worker; may be repeated.", show_default=False),
)
async def owners(self: TypesCommand, urls: tuple[str, ...]) -> int:
    """Print which worker owns which log, and how far each is.

    \b
    faust -A streams.shop.orders owners
    faust -A streams.shop.orders owners --url http://10.0.0.7:6062 --url http://10.0.0.8:6062

    Without --url, Kafka is asked where the members of the consumer group are. Slices are the partitions of commands
    that a log has: 0-30/2 is every second one. Head is the newest commit, indexed the newest up to which all is
    derived, eventful the newest with an event; next offsets are the commands that are due, by slice, of those that have
    had some; queued are those that wait for a commit; aggregates and weight are what the cache holds; since when, and
    how long the takeover took. Of a log that is not served, or a slice of it, a line says for what it waits.

    Exit code: 0 when every log is served, with --url every one that these workers have, and no slice of it waits; 1
    when not; 2 wrong use, or somebody does not answer.
    """
    answers = await asyncio.gather(
        *(get_owners(Door(url, self.settings)) for url in urls or await workers(self.settings, self.app.conf.id))
    )
    shown = [log for answer in answers for log in answer.owners]
    if not urls:
        placed = {log.log for log in shown}
        shown += {log.log: log for answer in answers for log in answer.logs if log.log not in placed}.values()
    shown.sort(key=lambda log: (log_type(log.log), log.slices))
    print_table(COLUMNS, [row(log) for log in shown], NUMBERS)
    for log in shown:
        if log.waits:
            click.echo(f"{log.log} waits: {log.waits}")
        for slice, reason in log.held.items():
            click.echo(f"{stream_name(log_type(log.log), slice)} waits: {reason}")
    return DONE if all(log.serving and not log.held for log in shown) else ERROR


def row(status: LogStatus) -> list[Any]:
    """A line of the table."""
    shown = {name: getattr(status, name) for name in COLUMNS}
    shown["slices"] = in_short(status.slices)
    shown["next_offsets"] = offsets_in_short(status.next_offsets)
    shown["serving"] = "yes" if status.serving else "no"
    shown["since"] = status.since and in_utc(status.since, "seconds")
    return list(shown.values())


def in_short(slices: Sequence[int]) -> str:
    """Numbers that rise: `0,3,4`; three or more with the same distance as `0-30/2`, or `0-7` where that is 1."""
    steps = {after - before for before, after in pairwise(slices)}
    if len(slices) < 3 or len(steps) > 1:
        return ",".join(map(str, slices))
    [step] = steps
    return f"{slices[0]}-{slices[-1]}" + (f"/{step}" if step > 1 else "")


def offsets_in_short(offsets: Mapping[int, int]) -> str:
    """The first ones that are not 0, by slice, and how many more there are: `0:17 2:4 +6`."""
    begun = [f"{slice}:{offset}" for slice, offset in sorted(offsets.items()) if offset]
    more = len(begun) - OFFSETS_SHOWN
    return " ".join([*begun[:OFFSETS_SHOWN], *([f"+{more}"] if more > 0 else [])])


async def get_owners(door: Door | str) -> OwnersAnswer:
    """The answer of a worker. Raises `CliError` with USAGE, since 1 means that a log is not served."""
    answer = await ask(door, "/owners", "is this worker up, and is it one of a command app?")
    return read(answer, OwnersAnswer, "the /owners of a worker of a command app")


async def workers(settings: Settings, group: str) -> list[str]:
    """The URLs of the workers in a consumer group, which each gave when it joined. Raises `CliError` with USAGE."""
    try:
        urls = sorted(str(member.address) for member in await members(settings, group) if member.address)
    except CliError as stop:
        raise CliError(USAGE, str(stop)) from None
    if not urls:
        raise CliError(
            USAGE, f"the consumer group {group} has no members: no worker is up, or a rebalance is under way"
        )
    return urls
