"""Takeovers as they are seen, look by look."""

from __future__ import annotations

from datetime import datetime, timedelta

from projections.console.findings.snapshot import CommandWorker
from projections.console.takeovers import MOST, Takeovers
from streams.moments import now
from streams.web.owners import LogStatus

ONE, OTHER = "host:17:aa", "host:18:bb"


def owned(owner: str, epoch: int, at: datetime, former: str = "", log: str = "order@0") -> LogStatus:
    before = at - timedelta(seconds=4) if former else None
    return LogStatus(
        log=log, seat=0, slices=(0,), owner=owner, epoch=epoch, since=at, takeover_ms=250.0, former=former,
        former_at=before,
    )  # fmt: skip


def test_a_log_changes_hands() -> None:
    """From a worker that was seen by where it listened, from another by its process; the former worker is gone."""
    seen, at = Takeovers(), now()
    first = CommandWorker(url="http://one", owned=[owned(ONE, 1, at)])
    assert [("http://one", "", None)] == [
        (takeover.by, takeover.former, takeover.idle_seconds) for takeover in seen.of([first], ["order@0"])
    ]
    second = CommandWorker(url="http://other", owned=[owned(OTHER, 2, at, ONE)])
    third = CommandWorker(url="http://third", owned=[owned("x", 7, at - timedelta(minutes=1), "host:9:zz", "user@0")])
    found = seen.of([second, third], ["order@0", "user@0"])
    assert [
        ("order@0", 1, "http://one", ""),
        ("order@0", 2, "http://other", "http://one"),
        ("user@0", 7, "http://third", "host:9"),
    ] == sorted((it.log, it.epoch, it.by, it.former) for it in found)
    assert {0.25} == {takeover.seconds for takeover in found}
    assert [4.0, 4.0] == [takeover.idle_seconds for takeover in found if takeover.former]
    assert ["user@0"] == [takeover.log for takeover in seen.of([], ["user@0"])]


def test_of_an_hour_alone() -> None:
    """What is older is forgotten, and there are never more than so many."""
    seen, at = Takeovers(), now()
    old = CommandWorker(url="http://one", owned=[owned(ONE, 1, at - timedelta(hours=2))])
    assert [] == seen.of([old], ["order@0"])
    many = [owned(ONE, epoch, at) for epoch in range(1, MOST + 10)]
    assert MOST == len(seen.of([CommandWorker(url="http://one", owned=many)], ["order@0"]))


def test_one_that_is_not_taken_over() -> None:
    """Is none."""
    status = LogStatus(log="order@0", seat=0, slices=(0,), waits="the journal does not answer")
    assert [] == Takeovers().of([CommandWorker(url="http://one", owned=[status])], ["order@0"])
