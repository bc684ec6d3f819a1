"""The plugin of pytest: the fixture `schedules`, and its options."""

from __future__ import annotations

import pytest

from sourced.testing.schedules import COUNT, Schedules


def pytest_addoption(parser: pytest.Parser) -> None:
    """How many schedules, and which one again."""
    group = parser.getgroup("sourced", "the testing kit of sourced-streams")
    group.addoption("--schedules", type=int, default=COUNT, metavar="N", help=f"schedules of a test ({COUNT:,})")
    group.addoption("--schedule-seed", type=int, default=None, metavar="SEED", help="only the schedule of this seed")


@pytest.fixture
def schedules(request: pytest.FixtureRequest) -> Schedules:
    """Runs systems under schedules by chance; see `sourced.testing.Schedules`."""

    def again(seed: int) -> str:
        return f"pytest '{request.node.nodeid}' --schedule-seed {seed}"

    return Schedules(request.config.getoption("--schedules"), request.config.getoption("--schedule-seed"), again)
