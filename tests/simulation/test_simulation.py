"""Hundreds of schedules hold; the same seed is the same run; and a broken product is found out."""

from __future__ import annotations

import os

import pytest
from rich.console import Console

from streams.ownership.owner import Owner
from tests.side_by_side import PROCESSES
from tests.simulation.__main__ import breakage_table, explain
from tests.simulation.breakages import BREAKAGES, Edit, broken, edited
from tests.simulation.elsewhere import printed
from tests.simulation.runner import hunt, noted_seeds, run, simulate, traced

JOBS = max(1, (os.cpu_count() or 1) // PROCESSES)
"""Processes: all cores, but for those on which other tests run beside this."""
SCHEDULES, IN_FULL = 300, 2_000
"""In `make test`, and with `--full`; `make simulate` runs as many as one likes."""
MOST_SEEDS = 1_000
"""Within which every breakage is found."""


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_a_breakage_fits_the_product(breakage: str) -> None:
    """Said at once, and not after the long search for it."""
    assert edited(BREAKAGES[breakage])


def test_all_invariants_hold(pytestconfig: pytest.Config) -> None:
    """In hundreds of schedules with faults every invariant holds at each step, and everything comes to rest."""
    schedules = IN_FULL if pytestconfig.getoption("full") else SCHEDULES
    failed = [result for result in simulate(range(schedules), JOBS) if result.invariant]
    assert not failed, "\n".join(explain(result.seed, result.invariant, result.text) for result in failed[:5])


def test_every_breakage_is_found() -> None:
    """The product broken on purpose, one way after another, breaks an invariant: with the seed that found it before, or
    else within a few hundred schedules."""
    results = list(hunt(MOST_SEEDS, JOBS, noted=noted_seeds()))
    Console().print(breakage_table(results, MOST_SEEDS))
    assert BREAKAGES.keys() == {found.breakage for found in results}
    assert [] == [found.breakage for found in results if found.seed is None]


def test_a_seed_is_one_run() -> None:
    """The same seed gives the same trace: twice here, with tracing, and in processes that hash strings otherwise."""
    digests = {seed: run(seed).digest for seed in (3, 4, 5)}
    assert digests == {seed: traced(seed)[0].digest for seed in digests}
    program = "from tests.simulation.runner import run\nprint(*(run(seed).digest for seed in (3, 4, 5)))"
    for hash_seed in ("1", "2"):
        assert list(digests.values()) == printed(program, hash_seed).split()


def test_a_trace_tells_what_happened() -> None:
    """A failing run says what broke, and its trace has commits, replies and faults in the order of virtual time."""
    result, lines = traced(0, "reply before the commit")
    assert "no reply before its commit" == result.invariant
    times = [float(line.split()[0]) for line in lines[1:]]
    assert sorted(times) == times
    assert any("FAILED" in line for line in lines)
    assert run(0).invariant == ""


def test_a_breakage_is_undone() -> None:
    """After a breakage the product is as before; one that no longer fits the product's source says so."""
    before = Owner._commit_group.__code__
    with broken("unknown outcome taken for success"):
        assert before is not Owner._commit_group.__code__
    assert before is Owner._commit_group.__code__
    with pytest.raises(ValueError, match="times, not once"):
        edited((Edit(Owner._commit_group, "no such text", ""),))
