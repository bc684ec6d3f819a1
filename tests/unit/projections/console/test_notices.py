"""What workers have said once becomes a finding: what it is, since when, who has said it, and what to do."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from projections.console.findings.finding import Finding
from projections.console.findings.notices import MEANINGS
from projections.console.findings.snapshot import ReadWorker, Snapshot, TailWorker
from streams.notices import Notice
from tests.unit.projections.console.test_findings import AT, ORDERS, WELL, WORKER, judged

replace = msgspec.structs.replace
LOST = Notice(
    kind="commands-lost",
    about="order@1",
    text="order@1: Kafka has lost commands",
    first=AT - timedelta(minutes=50),
    last=AT - timedelta(minutes=20),
    times=1,
)


def said(*notices: Notice) -> Snapshot:
    """A worker of orders has said so."""
    return replace(WELL, contexts=[replace(ORDERS, workers=[replace(WORKER, notices=notices)])])


def found(snapshot: Snapshot) -> list[Finding]:
    return list(judged(snapshot).findings)


@pytest.mark.parametrize("kind", MEANINGS)
def test_each_kind(kind: str) -> None:
    """A sentence, since when it is so, of whom, who says so, and the one thing to do."""
    meaning = MEANINGS[kind]
    [finding] = found(said(replace(LOST, kind=kind, times=meaning.times)))
    severity = "act" if meaning.act_after else meaning.severity  # it is so for 50 minutes
    assert (f"said:{kind}", severity, LOST.first) == (finding.id, finding.severity, finding.since)
    assert f"{meaning.title}: order@1" == finding.title
    assert [("subject", "order@1"), ("worker", "http://w1:6062")] == [(it.kind, it.name) for it in finding.concerns]
    assert meaning.text == finding.remedy.text
    assert finding.detail.startswith(LOST.text)


def test_several_workers_say_the_same() -> None:
    """It is one finding, with the newest line, and with all that it is about."""
    other = replace(LOST, about="order@0", text="order@0: newer", last=AT, times=4)
    here = ReadWorker("http://r1:6066", notices=[other])
    [finding] = found(replace(said(LOST), workers=[here]))
    assert "Kafka has lost commands that it had acknowledged: order@1, order@0" == finding.title
    assert "order@0: newer (said 5 times)" == finding.detail
    assert {"http://w1:6062", "http://r1:6066"} == {it.name for it in finding.concerns if it.kind == "worker"}


def test_a_tail_apart_says_something() -> None:
    """It is heard as any other worker is."""
    tail = TailWorker(url="http://t1:6067", notices=[replace(LOST, kind="events-lost")])
    [finding] = found(replace(WELL, tails=[tail, TailWorker(url="http://t2:6067", fault="no answer")]))
    assert ("said:events-lost", ["http://t1:6067"]) == (
        finding.id,
        [it.name for it in finding.concerns if it.kind == "worker"],
    )


def test_what_has_happened_is_forgotten_and_what_lasts_is_not() -> None:
    """What nobody can undo is said for an hour; a host that is down is said until it is up."""
    old = replace(LOST, first=AT - timedelta(hours=9), last=AT - timedelta(hours=2))
    assert [] == found(said(old))
    assert ["said:host-down"] == [finding.id for finding in found(said(replace(old, kind="host-down")))]


def test_a_worker_that_was_slow_once_is_no_matter() -> None:
    """An owner that was fenced is fine; one log or several that lose theirs again and again are looked at."""
    once = replace(LOST, kind="fenced")
    assert [] == found(said(once))
    assert [] != found(said(once, replace(once, about="order@2", times=2)))


def test_a_kind_of_a_newer_version() -> None:
    """It is shown, though this worker does not know what it means."""
    [finding] = found(said(replace(LOST, kind="something-new")))
    assert ("said:something-new", LOST.text) == (finding.id, finding.detail)
