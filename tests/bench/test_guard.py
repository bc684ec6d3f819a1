"""Whether a worker has become slow, in half a minute, on a machine of any speed and with other work to do.

A rate says nothing by itself there. So Faust's bare intake of the same messages runs in turn with our rounds, and the
best of each are compared. Two guards, since each sees what the other does not:

* *cost*, the worker's processor time of a command to that of the intake for a message: the better one, as it hardly
  moves with what else runs (0.79 to 0.85 at a load of 3 to 6, with rounds of 45 to 57 us). It does not see a worker
  that waits.
* *rate*, commands a second until all is written to messages a second: 1.0 to 1.1 here. It sees waiting too, for
  instance commits that do not overlap with other work.

With commits of 8 commands (`GROUP_COMMANDS=8`) cost was 1.76 and rate 0.43. Single steps of a few microseconds (a
second encoding of each event, a task for each command: 0.86 to 0.92) are within the noise of any guard: `make bench`
and a profile show them.
"""

from __future__ import annotations

import pytest

from tests.bench.guard import measure_beside

pytestmark = pytest.mark.alone

MOST_COST = 1.2
LEAST_RATE = 0.6

ADVICE = (
    "The write side has become slow. Run `make bench ARGS=commands` before and after the change to see how much; "
    "`py-spy record --gil --pid <worker>` shows where the time goes, docs/performance.md where it went before."
)


async def test_a_worker_is_about_as_fast_as_bare_intake() -> None:
    """From Kafka to the durable journal, derived rows and replies, a command costs a worker little more than a message
    costs one that only counts them, and takes little longer."""
    found = await measure_beside()
    assert found.cost <= MOST_COST, f"{found}\ncost may be {MOST_COST}. {ADVICE}"
    assert found.rate >= LEAST_RATE, f"{found}\nrate must be {LEAST_RATE}. {ADVICE}"
