"""All claims, one after another."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from streams.cli.progress import Meter
from tests.bench.flat.crowd import measure_crowd
from tests.bench.flat.loading import measure_loading
from tests.bench.flat.logs import Writer
from tests.bench.flat.site import Site, site
from tests.bench.flat.tailing import measure_tailing
from tests.bench.flat.takeovers import measure_takeovers
from tests.bench.report import RESULTS

CLAIMS = ("loading", "logs", "crowd")


@dataclass(frozen=True)
class Sizes:
    """How far things grow: events of an aggregate, commits of a log, aggregates of a type."""

    events: int = 100_000
    commits: int = 1_000_000
    aggregates: int = 1_000_000


FULL, QUICK = Sizes(), Sizes(10_000, 100_000, 100_000)


async def measure_flat(
    sizes: Sizes = FULL, claims: Collection[str] = CLAIMS, folder: Path = RESULTS
) -> list[tuple[str, float]]:
    """The figures of these claims, each with its plots in `folder`: `<date>-flat-<claim>.png`."""
    found: list[tuple[str, float]] = []

    def file(claim: str) -> Path:
        return folder / f"{datetime.now(UTC):%Y-%m-%d}-flat-{claim}.png"

    if "loading" in claims:
        async with site() as here:
            found += await measure_loading(here, [10, *_tens(100, sizes.events)], file("loading"))
    if "logs" in claims:
        async with site() as here:
            found += await _measure_logs(here, _tens(1_000, sizes.commits), file("takeover"), file("tail"))
    if "crowd" in claims:
        found += await measure_crowd(sizes.aggregates, file("memory"), file("latency"))
    return found


async def _measure_logs(here: Site, lengths: list[int], takeover: Path, tail: Path) -> list[tuple[str, float]]:
    topic = here.context.commands_topic
    topic_id = (await here.broker.describe([topic]))[topic].id
    writer = Writer(here, topic_id)
    await writer.open()
    with Meter("logs: writing them", sum(lengths), "commits") as meter:
        for number, length in enumerate(lengths):
            await writer.write(number, length, meter)
    return [
        *await measure_takeovers(here, lengths, topic_id, takeover),
        *await measure_tailing(here, writer, lengths, tail),
    ]


def _tens(least: int, most: int) -> list[int]:
    found = [least]
    while found[-1] * 10 <= most:
        found.append(found[-1] * 10)
    return found
