"""However often a log is replayed, in whatever batches and order: rows, listings and places are those of the log."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from projections.stores.listings import Span
from projections.stores.rows import Changes, Checkpoint, StoredRow, shown
from tests.contract.read_models import BY_STATUS, BY_USER, KINDS, ReadModels, gone, row, two_workers, url_of

EXAMPLES = 60
KEYS = "abcd"
STATUSES = ("open", "placed", "")
USERS = ("u", "v")

Step = tuple[str, int]
"""An event: whose it is, and what it does. 0 to 5 put the row somewhere, 6 removes it."""

LOGS = st.lists(st.tuples(st.sampled_from(KEYS), st.integers(0, 6)), min_size=1, max_size=14)
CUTS = st.lists(st.integers(1, 5), min_size=1, max_size=14)


def evolved(key: str, step: int, nr: int) -> StoredRow:
    """The row after event `nr`; the rows of "a" are listed by user as well, and are never removed."""
    lasting = {"user": "u", "day": "2011"} if key == "a" else {}
    if step == 6 and not lasting:
        return gone(nr)
    status = STATUSES[step % 3]
    return row(nr, id=key, **({"status": status, "at": f"{step // 3}"} if status else {}), **lasting)


def batches(log: Sequence[Step], cuts: Sequence[int]) -> list[Changes]:
    """The log in batches of these sizes, over and over: what each has made of the rows."""
    found, at = [], 0
    for size in cuts * len(log):
        if at >= len(log):
            break
        steps = enumerate(log[at : at + size], at + 1)
        at = min(at + size, len(log))
        found.append(Changes(Checkpoint(at, 0, at, at), {key: evolved(key, step, nr) for nr, (key, step) in steps}))
    return found


@pytest.fixture(params=KINDS)
def opened(request: pytest.FixtureRequest) -> AbstractAsyncContextManager[ReadModels]:
    """Two workers on a read model of each kind."""
    return two_workers(url_of(request.param, request), lambda table: (BY_STATUS, BY_USER))


@pytest.fixture
def models(opened: AbstractAsyncContextManager[ReadModels]) -> Iterator[tuple[asyncio.Runner, ReadModels]]:
    """The same, with the loop that they are on."""
    with asyncio.Runner() as runner:
        found = runner.run(opened.__aenter__())
        yield runner, found
        runner.run(opened.__aexit__(None, None, None))


def test_any_replay_comes_to_the_same(models: tuple[asyncio.Runner, ReadModels]) -> None:
    """Two workers have cut the log differently; what they save arrives in any order, some of it twice, and all that
    one of them has arrives. Then every row is the one that its last event has left, and listed there only."""
    runner, rows = models

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(log=LOGS, cuts=CUTS, others=CUTS, data=st.data())
    def replay(log: list[Step], cuts: list[int], others: list[int], data: st.DataObject) -> None:
        own, late = batches(log, cuts), batches(log, others)
        again = data.draw(st.lists(st.sampled_from(own), max_size=3))
        saves = data.draw(st.permutations([*own, *again, *late[: data.draw(st.integers(0, len(late)))]]))
        loads = data.draw(st.lists(st.integers(0, len(saves)), min_size=len(saves), max_size=len(saves)))
        runner.run(check(rows, log, saves, loads))

    replay()


async def check(rows: ReadModels, log: Sequence[Step], saves: Sequence[Changes], loads: Sequence[int]) -> None:
    """Save all of it by two workers in turn, and compare with the log. Each has loaded what it replaces just now, or
    some saves before."""
    table = uuid.uuid4().hex
    seen: list[Mapping[str, StoredRow]] = []
    for n, (change, ago) in enumerate(zip(saves, loads, strict=True)):
        seen.append(await rows.one.load(3, table, KEYS))
        before = seen[-ago] if 0 < ago <= len(seen) else seen[-1]
        await (rows.one, rows.two)[n % 2].save(3, {table: replace(change, before=before)})
    expected = {key: evolved(key, step, nr) for nr, (key, step) in enumerate(log, 1)}
    assert expected == await rows.one.load(3, table, KEYS)
    assert Checkpoint(len(log), 0, len(log), len(log)) == (await rows.one.places(3))[table]
    for listing, groups in ((BY_STATUS, STATUSES), (BY_USER, USERS)):
        for group in groups:
            spots = {key: listing.of(it.row) for key, it in expected.items() if it.row is not None}
            order = sorted((spot[1], key) for key, spot in spots.items() if spot and spot[0] == group)
            for descending in (False, True):
                page = await rows.two.listed(table, listing.name, group, span=Span(descending=descending))
                in_order = order[::-1] if descending else order
                assert [shown(expected[key]) for _, key in in_order] == list(page.rows)
