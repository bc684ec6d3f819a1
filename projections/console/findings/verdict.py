"""The verdict: all rules over a snapshot, and in one word whether all is well."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Literal

import msgspec

from projections.console.findings import commands, notices, owners, tables
from projections.console.findings.finding import Concern, Finding, Remedy, Severity
from projections.console.findings.snapshot import Snapshot

Word = Literal["well", "look", "act"]
Rule = Callable[[Snapshot], Iterator[Finding]]

CHECKS: Mapping[str, Sequence[Rule]] = {
    "owners": [
        owners.nobody_decides,
        owners.worker_is_silent,
        owners.log_is_not_served,
        owners.slice_is_held,
        owners.queue_is_long,
    ],
    "inputs": [owners.nobody_hears],
    "lag": [tables.is_not_published, tables.is_not_ours, tables.table_is_behind],
    "tables": [
        tables.projection_is_paused,
        tables.table_stands_still,
        tables.key_waits,
        tables.table_is_built,
        tables.reader_is_in_trouble,
    ],
    "dead letters": [commands.command_has_failed],
    "quarantine": [commands.aggregate_is_quarantined],
    "timers": [commands.timer_is_late],
    "notices": [notices.somebody_should_know],
}
"""The rules, by what they look at."""
URGENT: Mapping[Severity, int] = {"act": 0, "look": 1, "note": 2}
MOST_FINDINGS = 200
MOST_SEEN = 1_000
"""Findings whose first sight is remembered."""


class Check(msgspec.Struct, frozen=True):
    """What was looked at: how many findings there are of it, and why there was no looking; empty when there was."""

    name: str
    findings: int
    fault: str = ""


class Verdict(msgspec.Struct, frozen=True):
    """The answer of `/findings`: `well` when there is nothing but notes; the findings, the most urgent first, and how
    many `more` there are; and what was looked at."""

    verdict: Word
    at: datetime
    findings: Sequence[Finding]
    more: int
    checks: Sequence[Check]


class FirstSeen:
    """When findings were first seen, of as many as are there at once. A finding that is gone is forgotten."""

    def __init__(self) -> None:
        self._since: dict[str, datetime] = {}

    def dated(self, findings: Sequence[Finding], at: datetime) -> list[Finding]:
        """The findings, each with when it began, and urgent where that is long enough ago."""
        self._since = {
            finding.id: self._since.get(finding.id) or finding.since or at for finding in findings[:MOST_SEEN]
        }
        return [_dated(finding, finding.since or self._since.get(finding.id, at), at) for finding in findings]


def _dated(finding: Finding, since: datetime, at: datetime) -> Finding:
    after = finding.act_after
    is_urgent = after is not None and (at - since).total_seconds() >= after
    return msgspec.structs.replace(finding, since=since, severity="act" if is_urgent else finding.severity)


def verdict_of(snapshot: Snapshot, seen: FirstSeen) -> Verdict:
    """What is to be said of a snapshot."""
    by_check = {name: [finding for rule in rules for finding in rule(snapshot)] for name, rules in CHECKS.items()}
    found = [*_not_looked_at(snapshot), *(finding for findings in by_check.values() for finding in findings)]
    dated = seen.dated(found, snapshot.at)
    dated.sort(key=lambda finding: (URGENT[finding.severity], finding.since))
    worst = dated[0].severity if dated else "note"
    return Verdict(
        verdict="well" if worst == "note" else worst,
        at=snapshot.at,
        findings=dated[:MOST_FINDINGS],
        more=max(len(dated) - MOST_FINDINGS, 0),
        checks=[Check(name, len(findings), snapshot.faults.get(name, "")) for name, findings in by_check.items()],
    )


def _not_looked_at(snapshot: Snapshot) -> Iterator[Finding]:
    """What could not be looked at: nobody knows whether that is well."""
    for name, fault in snapshot.faults.items():
        yield Finding(
            id=f"not-looked:{name}",
            severity="look",
            title=f"Nobody can say how it is with the {name}",
            detail=fault,
            concerns=[Concern("worker", "this one")],
            act_after=30.0 if name in ("lag", "tables") else None,
            remedy=Remedy(text="It is tried again by itself. Mend what it names, or give this worker the right."),
        )
