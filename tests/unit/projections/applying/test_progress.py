"""How far a table is, in events, from the log and from the topic; and what all of it is called."""

from __future__ import annotations

import pytest

from projections.applying.progress import Progress
from projections.operations.status import state_of
from projections.operations.worker_status import ABSENT, BEHIND, CURRENT, HELD, LEFT, PAUSED


def told(progress: Progress) -> tuple[int, int]:
    return progress.done, progress.total


def test_from_the_topic() -> None:
    """Offsets count: what stood before the processor began is done, too."""
    progress = Progress()
    assert (0, 0) == told(progress)
    progress.topic(40, 100)
    assert (40, 100) == told(progress)
    progress.offset = 130  # more has come since it has looked
    assert (130, 130) == told(progress)


def test_from_the_log_and_then_from_the_topic() -> None:
    """Where the topic does not reach back its offsets still say how many events there were."""
    progress = Progress()
    progress.log(0, 10, 500, 700)
    assert (0, 700) == told(progress)
    assert not progress.reads_topic
    progress.in_log(2, 60)
    assert (60, 700) == told(progress)
    progress.in_log(10, 435)
    assert (495, 700) == told(progress), "some were published twice"
    progress.topic(500, 710)
    assert (500, 710) == told(progress)
    assert progress.reads_topic
    progress.offset = 710
    assert (710, 710) == told(progress)


def test_a_topic_that_was_made_anew() -> None:
    """The log's events are estimated by those of its commits so far; when it is read it is known how many they are."""
    progress = Progress()
    progress.log(0, 10, 0, 200)
    assert (0, 10 + 200) == told(progress)
    progress.in_log(2, 60)
    assert (60, 300 + 200) == told(progress)
    progress.in_log(10, 20)
    progress.topic(0, 210)
    assert (80, 80 + 210) == told(progress)


@pytest.mark.parametrize(("first", "end"), [(1000, 1000), (0, 10)])
def test_begun_before(first: int, end: int) -> None:
    """Commits that an earlier run has read count as done."""
    progress = Progress()
    progress.log(50, 100, first, end)
    progress.in_log(75, 250)
    assert (750, 1000 + end - first) == told(progress)


def test_events_that_are_not_published_yet() -> None:
    """A processor that begins at a topic that is still empty counts what comes there, not what the log had of it."""
    progress = Progress()
    progress.log(0, 1, 0, 0)
    progress.in_log(1, 3)
    progress.topic(0, 3)
    assert (0, 3) == told(progress)


def test_the_rate_counts_what_was_done_since_it_began() -> None:
    """What was there before takes no time."""
    progress = Progress()
    assert 0.0 == progress.rate
    progress.topic(1_000_000, 2_000_000)
    assert 0.0 == progress.rate
    progress.offset += 10
    assert 0 < progress.rate <= 10_000


@pytest.mark.parametrize(
    ("states", "serves", "state"),
    [
        ([CURRENT, CURRENT], True, "serving"),
        ([CURRENT, BEHIND], True, "serving"),
        ([CURRENT, BEHIND], False, "building"),
        ([CURRENT, CURRENT], False, "complete"),
        ([CURRENT, ABSENT], False, "building"),
        ([CURRENT, HELD], False, "held"),
        ([PAUSED, HELD], True, "held"),
        ([PAUSED, PAUSED], True, "paused"),
        ([LEFT, CURRENT], True, "frozen"),
        ([LEFT, LEFT], True, "frozen"),
        ([LEFT, ABSENT], False, "to drop"),
        ([LEFT, CURRENT], False, "building"),
    ],
)
def test_what_a_table_is(states: list[str], serves: bool, state: str) -> None:
    """What it is in each partition says what it is in all."""
    assert state == state_of(states, serves, True)


def test_what_no_code_knows() -> None:
    """The table of a projection that is gone altogether answers nobody, whatever was decided once."""
    assert "to drop" == state_of([LEFT], True, False)
