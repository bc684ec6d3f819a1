"""Rules about commands that were not decided as they should have been: dead letters, quarantine, timers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from projections.console.findings.finding import Concern, Finding, Remedy, faust, several
from projections.console.findings.snapshot import Snapshot

LATE_SECONDS = 10.0
"""A timer is fired within a second of its time."""


def command_has_failed(snapshot: Snapshot) -> Iterator[Finding]:
    """Dead letters, by command and failure."""
    for group in snapshot.letters:
        name = group.command or "unreadable"
        yield Finding(
            id=f"dead-letters:{group.type}:{name}:{group.failure}",
            severity="look",
            title=f"{several(group.count, f'{name} command')} of {group.type} failed: {group.failure}",
            detail=group.message,
            concerns=[Concern("type", group.type)],
            since=group.first,
            remedy=Remedy(
                text="See what it was, mend it, and retry; or drop it.",
                command=faust(snapshot.app_of(group.type), "dead-letters", "show", group.type, group.example),
            ),
        )


def aggregate_is_quarantined(snapshot: Snapshot) -> Iterator[Finding]:
    """Aggregates whose commands wait."""
    for aggregate in snapshot.quarantined:
        app = snapshot.app_of(aggregate.type)
        retried = "dead-letters", "retry", aggregate.type, aggregate.letter
        released = "quarantine", "release", aggregate.type, aggregate.id
        yield Finding(
            id=f"quarantine:{aggregate.type}:{aggregate.id}",
            severity="act",
            title=f"{aggregate.type} {aggregate.id} is in quarantine: {several(aggregate.waiting, 'command')} wait",
            detail=aggregate.reason,
            concerns=[Concern("aggregate", f"{aggregate.type} {aggregate.id}")],
            since=aggregate.since,
            remedy=Remedy(
                text="Mend the bug, restart the workers, and retry the command that raised: the others follow it.",
                command=faust(app, *(retried if aggregate.letter else released)),
            ),
        )


def timer_is_late(snapshot: Snapshot) -> Iterator[Finding]:
    """Timers that are due and not fired."""
    due = min((worker.first_due for worker in snapshot.workers if worker.first_due), default=None)
    if due is None:
        return
    at = datetime.fromisoformat(due)
    late = (snapshot.at - at).total_seconds()
    if late >= LATE_SECONDS:
        yield Finding(
            id="timers-late",
            severity="look",
            title=f"Timers are late: the first was due {late:,.0f} s ago",
            detail="What they are to send waits, and nothing is lost.",
            concerns=[Concern("context", "timers")],
            since=at,
            act_after=60.0,
            remedy=Remedy(
                text="Look whether a worker of the timers is up, and whether tables keep up.",
                command=faust(snapshot.app_of("timer"), "worker"),
            ),
        )
