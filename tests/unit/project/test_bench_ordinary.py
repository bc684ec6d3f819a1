"""What the bench says that a command costs under an ordinary load."""

from __future__ import annotations

import pytest

from tests.bench.ordinary import ABOVE, ALL, WORKERS, costs
from tests.bench.usage import Spent


def test_what_idle_processes_take_counts_for_as_long_as_commands_were_sent() -> None:
    """50/s for 20 s, seen for 25: 3 ms a command in the worker, 2 in Cassandra, and 10 and 20 % of a core anyway."""
    idle = {"worker": 0.1, "Cassandra": 0.2}
    each = {"worker": 3_000 + 0.1 * 25 / 1_000 * 1e6, "Cassandra": 2_000 + 0.2 * 25 / 1_000 * 1e6}
    found = costs(Spent(25.0, each, {}), idle, 50, 20.0)
    assert pytest.approx({ALL: 11.0, ABOVE: 5.0, WORKERS: 5.0, "worker": 5.0, "Cassandra": 6.0}) == found
