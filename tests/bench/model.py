"""What a command costs, against the model: its own share, and a share of what a commit costs.

    processor time of a command = own + commit / commands in the commit

An open load, and workers whose commits hold at most so many commands each. `own` and `commit` are fitted to what all of
them took (least squares of the relative errors); beside each figure stands what the model says of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from tests.bench.cassandra import cassandra
from tests.bench.load import Load
from tests.bench.report import Figure, Row
from tests.bench.space import orders_worker
from tests.bench.usage import Usage, servers
from tests.bench.worker import Worker, say

GROUPS = {1: 4_000, 4: 12_000, 16: 30_000, 64: 60_000, 500: 100_000}
"""The most commands of a commit, and how many are sent to a worker that is set so."""
MODEL = "the model"


async def measure_model(orders: int) -> list[Row | Figure]:
    """Microseconds of a command by process, over the sizes of groups."""
    taken: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for most, count in GROUPS.items():
        async with orders_worker(orders, GROUP_COMMANDS=str(most)) as (_, load, running), cassandra() as store:
            await load.round(count // 4)
            await store.rests()
            before, usage = await _commits(load, running), Usage({**servers(), "worker": [running.pid]})
            await load.round(count)
            size = count / (await _commits(load, running) - before)
            await store.rests()
            for name, us in usage.spent(count).each.items():
                taken[name].append((size, us))
            say(f"{size:.0f} commands in a commit: {taken['worker'][-1][1]:,.0f} us in the worker")
    return [row for name, points in taken.items() for row in _against_model(name, points)]


def _against_model(name: str, points: Sequence[tuple[float, float]]) -> list[Row | Figure]:
    own, commit = fit(points)
    return [
        (f"CPU of the {name}: own share of a command, us", own),
        (f"CPU of the {name}: a commit, us", commit),
        *(
            Row(f"CPU of the {name}, us a command, {size:.1f} in a commit", [us], MODEL, [own + commit / size], True)
            for size, us in points
        ),
    ]


def fit(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """`own` and `commit` for sizes of groups and times: least squares of `(own + commit / size) / time - 1`."""
    terms = [(1 / us, 1 / size / us) for size, us in points]
    aa, ab, bb = sum(a * a for a, _ in terms), sum(a * b for a, b in terms), sum(b * b for _, b in terms)
    a, b = sum(a for a, _ in terms), sum(b for _, b in terms)
    determinant = aa * bb - ab * ab
    return (a * bb - b * ab) / determinant, (b * aa - a * ab) / determinant


async def _commits(load: Load, running: Worker) -> int:
    """How many commits there are in all logs of a worker."""
    return sum(owner["head"] for owner in await load.owners(running))
