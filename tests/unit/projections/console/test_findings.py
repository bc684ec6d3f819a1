"""The rules of the verdict: each says what it is, whom it concerns and what to do, and nothing while all is well."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from projections.console.findings.finding import Finding
from projections.console.findings.snapshot import (
    CommandWorker,
    Context,
    LetterGroup,
    QuarantinedAggregate,
    ReadWorker,
    Snapshot,
)
from projections.console.findings.verdict import FirstSeen, Verdict, verdict_of
from projections.operations.status import ProjectionStatus, TableStatus
from projections.operations.worker_status import WaitingKey
from streams.processes.router import InputPosition
from streams.web.lag import StreamLag, TableLag
from streams.web.owners import LogStatus

AT = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
LOG = LogStatus(log="order@0", seat=0, slices=(0, 1), owner="w1", serving=True)
WORKER = CommandWorker(url="http://w1:6062", app="a.orders", owned=[LOG])
ORDERS = Context(name="orders", types=["order"], logs=["order@0"], workers=[WORKER], app="a.orders")
TABLE = TableStatus(
    table="orders-1",
    state="serving",
    done=10,
    total=10,
    rate=0.0,
    seconds_left=0.0,
    error=None,
    quarantined_keys=0,
    partitions={},
)
PROJECTION = ProjectionStatus(
    name="orders",
    version=1,
    source="order",
    store="rocksdb",
    serving="orders-1",
    paused=None,
    skips=[],
    quarantined_keys=0,
    quarantined=[],
    tables=[TABLE],
)
REACH = TableLag("orders-1", True, 5, 0, 0, 0.0)
STREAM = StreamLag(
    stream="order-0",
    committed_offset=5,
    epoch=1,
    owner="w1",
    head=5,
    eventful=5,
    published=5,
    applied=5,
    lag=0,
    ahead=0,
    events=0,
    seconds=0.0,
    unpublished_events=0,
    projections=[REACH],
)
WELL = Snapshot(
    at=AT,
    app="a.read",
    contexts=[ORDERS],
    streams=[STREAM],
    projections=[PROJECTION],
    workers=[ReadWorker("http://r1:6066", first_due="2026-11-29T12:05:00+00:00")],
)
replace = msgspec.structs.replace


def judged(snapshot: Snapshot, seen: FirstSeen | None = None) -> Verdict:
    """The verdict of somebody who has not looked before."""
    return verdict_of(snapshot, seen or FirstSeen())


def only(snapshot: Snapshot) -> Finding:
    """The one finding of a snapshot."""
    [finding] = judged(snapshot).findings
    return finding


def with_log(**fields: Any) -> Snapshot:
    worker = replace(WORKER, owned=[replace(LOG, **fields)])
    return replace(WELL, contexts=[replace(ORDERS, workers=[worker])])


def with_worker(**fields: Any) -> Snapshot:
    return replace(WELL, contexts=[replace(ORDERS, workers=[replace(WORKER, **fields)])])


def with_stream(**fields: Any) -> Snapshot:
    return replace(WELL, streams=[replace(STREAM, **fields)])


def with_table(serving: str | None = "orders-1", **fields: Any) -> Snapshot:
    return replace(WELL, projections=[replace(PROJECTION, serving=serving, tables=[replace(TABLE, **fields)])])


def test_all_is_well() -> None:
    """Nothing is found where nothing is wrong, and all was looked at."""
    verdict = judged(WELL)
    assert ("well", []) == (verdict.verdict, verdict.findings)
    parts = {"owners", "inputs", "lag", "tables", "dead letters", "quarantine", "timers", "notices"}
    assert parts == {check.name for check in verdict.checks}
    assert [] == [check for check in verdict.checks if check.fault or check.findings]


HELD = InputPosition("order-events", 3, 812, 4, "UnknownSchema: LineAdded:7")
FAR = replace(HELD, held=None, behind=20_000)
WAITS = WaitingKey("orders-1", "o'1", "order-0:125:0", "KeyError: 'lines'", 3)
OLD = replace(REACH, events=7, commits=3, seconds=41.0)
LETTERS = LetterGroup(
    type="order",
    command="AddLine",
    failure="DomainError",
    count=3,
    first=AT - timedelta(hours=1),
    last=AT,
    example="3:17",
    message="KeyError: 'sku'",
)
QUARANTINED = QuarantinedAggregate(
    type="order", id="o 1; rm -rf", since=AT - timedelta(minutes=5), waiting=12, reason="KeyError", letter=""
)

CASES: list[tuple[Snapshot, str, str, str]] = [
    (replace(WELL, contexts=[replace(ORDERS, workers=[])]), "no-worker:orders", "act", "Nobody decides"),
    (with_worker(fault="no answer"), "worker-silent:orders:http://w1:6062", "look", "does not say how it is"),
    (with_worker(troubles="Cassandra"), "worker-trouble:orders:http://w1:6062", "look", "is not ready"),
    (with_log(serving=False, waits="Cassandra"), "log-unserved:order@0", "look", "no owner serves"),
    (with_worker(owned=[]), "log-unserved:order@0", "look", "no owner serves"),
    (with_log(held={17: "LineAdded:7"}), "slice-held:order-17", "act", "order-17 wait"),
    (with_log(queued=50_000), "queue-long:order@0", "look", "50,000 commands wait"),
    (with_worker(inputs=[HELD]), "input-held:orders:order-events-3", "act", "hears nothing"),
    (
        with_worker(inputs=[replace(HELD, held=None, behind=20_000)]),
        "input-behind:orders:order-events-3",
        "look",
        "20,000",
    ),
    (with_stream(unpublished_events=1, seconds=20.0), "unpublished:order", "look", "1 event of order is not"),
    (with_stream(unpublished_events=9, seconds=90.0), "unpublished:order", "act", "9 events of order are not"),
    (with_stream(ahead=3), "ahead:order", "act", "more than its journal"),
    (with_stream(projections=[OLD]), "table-behind:orders-1", "look", "41 s ago"),
    (with_stream(projections=[replace(OLD, seconds=61.0)]), "table-behind:orders-1", "act", "61 s ago"),
    (replace(WELL, projections=[replace(PROJECTION, paused="disk")]), "paused:orders", "look", "is paused"),
    (with_table(state="held", error="disk"), "held:orders-1", "act", "stands still"),
    (with_table(state="frozen"), "frozen:orders-1", "look", "no worker keeps"),
    (with_table(error="2 keys wait"), "error:orders-1", "look", "is kept back"),
    (with_table(None, state="building"), "building:orders-1", "look", "is being built"),
    (with_table("orders-2", state="building"), "building:orders-1", "note", "100 %"),
    (with_table("orders-2", state="to drop"), "to-drop:orders-1", "note", "Nobody needs"),
    (
        replace(WELL, projections=[replace(PROJECTION, quarantined_keys=1, quarantined=[WAITS])]),
        "key-waits:orders",
        "act",
        "1 key of orders",
    ),
    (replace(WELL, workers=[ReadWorker("u", {"Kafka": "down"})]), "trouble:u:Kafka", "look", "is in trouble: Kafka"),
    (replace(WELL, workers=[ReadWorker("u", limits=["few"])]), "limit:u:few", "note", "less than it might"),
    (replace(WELL, letters=[LETTERS]), "dead-letters:order:AddLine:DomainError", "look", "3 AddLine commands of order"),
    (replace(WELL, quarantined=[QUARANTINED]), "quarantine:order:o 1; rm -rf", "act", "12 commands wait"),
    (
        replace(WELL, workers=[ReadWorker("u", first_due="2026-11-29T11:59:20+00:00")]),
        "timers-late",
        "look",
        "40 s ago",
    ),
    (replace(WELL, faults={"lag": "not every partition has a worker yet"}), "not-looked:lag", "look", "Nobody can say"),
]


@pytest.mark.parametrize(("snapshot", "id", "severity", "said"), CASES, ids=[case[1] for case in CASES])
def test_rule(snapshot: Snapshot, id: str, severity: str, said: str) -> None:
    """What is wrong is found once, with a sentence, whom it concerns, since when, and what to do."""
    finding = only(snapshot)
    assert (id, severity) == (finding.id, finding.severity)
    assert said in finding.title
    assert finding.remedy.text
    assert finding.concerns
    assert finding.since is not None


@pytest.mark.parametrize(
    "snapshot",
    [
        with_stream(projections=[replace(OLD, seconds=2.0)]),
        with_stream(unpublished_events=3, seconds=0.5),
        with_stream(projections=[replace(OLD, serving=False)]),
        replace(with_table(state="paused"), streams=[replace(STREAM, projections=[OLD])]),
    ],
)
def test_what_is_no_matter(snapshot: Snapshot) -> None:
    """What is on its way, a table that does not answer yet, and what another finding explains, are left out."""
    assert [] == judged(snapshot).findings


def test_the_worst_comes_first() -> None:
    """The verdict is that of the most urgent finding, and notes alone are well."""
    both = replace(with_table("orders-2", state="to drop"), contexts=[replace(ORDERS, workers=[])])
    assert ["no-worker:orders", "to-drop:orders-1"] == [finding.id for finding in judged(both).findings]
    assert "act" == judged(both).verdict
    assert "well" == judged(with_table("orders-2", state="to drop")).verdict


def test_what_lasts_becomes_urgent() -> None:
    """A takeover is looked at, and one that is not over after a while is urgent; when it was gone, it begins anew."""
    seen, gone = FirstSeen(), with_log(serving=False)
    found = [
        judged(replace(snapshot, at=AT + timedelta(seconds=seconds)), seen).findings
        for seconds, snapshot in ((0, gone), (14, gone), (16, gone), (17, WELL), (18, gone))
    ]
    assert [["look"], ["look"], ["act"], [], ["look"]] == [[it.severity for it in findings] for findings in found]
    assert AT == found[2][0].since


def test_ids_are_quoted_for_the_shell() -> None:
    """Who copies a command runs this command, and nothing that a stranger has put into an id."""
    quarantined = only(replace(WELL, quarantined=[QUARANTINED])).remedy.command
    assert ["faust", "-A", "a.orders", "quarantine", "release", "order", "o 1; rm -rf"] == shlex.split(quarantined)
    hostile = only(replace(WELL, quarantined=[replace(QUARANTINED, id="o\x1b[2J")])).remedy
    assert "" == hostile.command


def test_many_findings_are_bounded() -> None:
    """A page shows no thousands; that there are more is said."""
    many = [replace(QUARANTINED, id=str(number)) for number in range(300)]
    verdict = judged(replace(WELL, quarantined=many))
    assert (200, 100) == (len(verdict.findings), verdict.more)
