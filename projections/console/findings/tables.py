"""Rules about the read side: events on their way, tables, and the workers that keep them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from projections.console.findings.finding import Concern, Finding, Order, Remedy, faust, several, some_of
from projections.console.findings.snapshot import Snapshot
from projections.operations.status import ProjectionStatus, TableStatus
from streams.journal.position import stream_type

BEHIND_SECONDS, LONG_SECONDS = 10.0, 60.0
"""The age of the oldest event that is not applied: from then on it is said, and from then on it is urgent."""


def is_not_published(snapshot: Snapshot) -> Iterator[Finding]:
    """Events of the journal that are not on Kafka, by type."""
    waiting: dict[str, list[tuple[str, int, float]]] = {}
    for stream in snapshot.streams:
        if stream.unpublished_events and stream.seconds >= BEHIND_SECONDS:
            found = stream.stream, stream.unpublished_events, stream.seconds
            waiting.setdefault(stream_type(stream.stream), []).append(found)
    for type, streams in waiting.items():
        events, seconds = sum(count for _, count, _ in streams), max(age for *_, age in streams)
        yield Finding(
            id=f"unpublished:{type}",
            severity="act" if seconds >= LONG_SECONDS else "look",
            title=f"{several(events, 'event')} of {type} {'is' if events == 1 else 'are'} not on Kafka yet",
            detail=f"In {some_of([name for name, *_ in streams])}. They are in the journal: nothing is lost.",
            concerns=[Concern("stream", name) for name, *_ in streams[:10]],
            since=snapshot.at - timedelta(seconds=seconds),
            remedy=Remedy(
                text="Look at the brokers, and at the log of the worker that publishes: a record may be too large."
            ),
        )


def is_not_ours(snapshot: Snapshot) -> Iterator[Finding]:
    """A topic or tables that are ahead of the journal: they are of another one."""
    ahead: dict[str, list[str]] = {}
    for stream in snapshot.streams:
        if stream.ahead:
            ahead.setdefault(stream_type(stream.stream), []).append(stream.stream)
    for type, streams in ahead.items():
        yield Finding(
            id=f"ahead:{type}",
            severity="act",
            title=f"Topics and tables of {type} have more than its journal",
            detail=f"In {some_of(streams)}. The journal is not the one that they are from, or was set back.",
            concerns=[Concern("stream", name) for name in streams[:10]],
            remedy=Remedy(text="Look whether JOURNAL_URL is right. Start nothing that writes before that is known."),
        )


def table_is_behind(snapshot: Snapshot) -> Iterator[Finding]:
    """Tables that answer, and show what is older; those that stand still for a reason have a finding of their own."""
    explained = {
        table.table
        for projection in snapshot.projections
        for table in projection.tables
        if table.state in ("paused", "held", "frozen")
    }
    behind: dict[str, list[tuple[str, int, float]]] = {}
    for stream in snapshot.streams:
        for table in stream.projections:
            is_long = table.serving and table.seconds >= BEHIND_SECONDS and table.table not in explained
            if is_long and not stream.unpublished_events:
                behind.setdefault(table.table, []).append((stream.stream, table.events, table.seconds))
    for name, streams in behind.items():
        events, seconds = sum(count for _, count, _ in streams), max(age for *_, age in streams)
        yield Finding(
            id=f"table-behind:{name}",
            severity="act" if seconds >= LONG_SECONDS else "look",
            title=f"{name} answers with what was so {seconds:,.0f} s ago",
            detail=f"{several(events, 'event')} to go in {some_of([stream for stream, *_ in streams])}.",
            concerns=[Concern("table", name)],
            since=snapshot.at - timedelta(seconds=seconds),
            remedy=Remedy(text="It catches up by itself. If not, look at the worker that has these partitions."),
        )


def projection_is_paused(snapshot: Snapshot) -> Iterator[Finding]:
    """Somebody has paused it, and may have forgotten."""
    for projection in snapshot.projections:
        if projection.paused is not None:
            yield Finding(
                id=f"paused:{projection.name}",
                severity="look",
                title=f"{projection.name} is paused, and gets older",
                detail=projection.paused,
                concerns=[Concern("projection", projection.name)],
                remedy=Remedy(
                    text="Let it go on when the reason is gone.",
                    command=faust(snapshot.app, "projections", "resume", projection.name),
                    orders=[
                        Order(
                            label="Resume",
                            about=f"All tables of {projection.name} go on from where they are.",
                            path=f"projections/{projection.name}/resume",
                        )
                    ],
                ),
            )


def table_stands_still(snapshot: Snapshot) -> Iterator[Finding]:
    """Tables that cannot go on, or that no code keeps."""
    for projection in snapshot.projections:
        for table in projection.tables:
            serves = table.table == projection.serving
            if table.state == "held":
                yield Finding(
                    id=f"held:{table.table}",
                    severity="act" if serves else "look",
                    title=f"{table.table} stands still",
                    detail=table.error or "",
                    concerns=[Concern("table", table.table)],
                    remedy=Remedy(text="Mend the store or the server that it names: it goes on by itself."),
                )
            elif table.state == "frozen":
                yield Finding(
                    id=f"frozen:{table.table}",
                    severity="look",
                    title=f"{table.table} answers, and no worker keeps it up to date",
                    detail="Its code is gone, and the new version is not complete yet.",
                    concerns=[Concern("table", table.table)],
                    remedy=Remedy(text="Wait for the new version, or start workers that still have the old code."),
                )
            elif table.error:
                yield _kept_back(table)


def _kept_back(table: TableStatus) -> Finding:
    return Finding(
        id=f"error:{table.table}",
        severity="look",
        title=f"{table.table} is kept back",
        detail=table.error or "",
        concerns=[Concern("table", table.table)],
        remedy=Remedy(text="Mend the projection and start the workers anew, or skip the event."),
    )


def key_waits(snapshot: Snapshot) -> Iterator[Finding]:
    """Keys whose events wait since a projection could not take one, by the table and what it raised."""
    for projection in snapshot.projections:
        if not projection.quarantined_keys or not projection.quarantined:
            continue
        first = projection.quarantined[0]
        yield Finding(
            id=f"key-waits:{projection.name}",
            severity="act",
            title=f"{several(projection.quarantined_keys, 'key')} of {projection.name} cannot be shown",
            detail=f"{first.key} waits at {first.position}: {first.error}",
            concerns=[
                Concern("table", first.table),
                *(Concern("key", key.key) for key in projection.quarantined[:5]),
            ],
            remedy=Remedy(
                text="Mend the projection, start the workers anew, and rebuild the row; or leave the event out.",
                command=faust(snapshot.app, "projections", "rebuild", projection.name, "--key", first.key),
                orders=[_skip(projection)],
            ),
        )


def _skip(projection: ProjectionStatus) -> Order:
    first = projection.quarantined[0]
    return Order(
        label="Skip the event",
        about=f"{projection.name} leaves out the event at {first.position}, for ever; the keys that wait for it are "
        "folded anew.",
        path=f"projections/{projection.name}/skip",
        body={"position": first.position},
        reason=True,
    )


def table_is_built(snapshot: Snapshot) -> Iterator[Finding]:
    """Builds that go on, and tables that nobody needs any more."""
    for projection in snapshot.projections:
        for table in projection.tables:
            if table.state == "building":
                left = "" if table.seconds_left is None else f", about {_length(table.seconds_left)} to go"
                yield Finding(
                    id=f"building:{table.table}",
                    severity="note" if projection.serving else "look",
                    title=f"{table.table} is being built: {_percent(table)} %{left}",
                    detail=f"{projection.serving or 'Nothing'} answers meanwhile.",
                    concerns=[Concern("table", table.table)],
                    remedy=Remedy(text="Nothing: it answers when it is complete."),
                )
            elif table.state == "to drop":
                yield Finding(
                    id=f"to-drop:{table.table}",
                    severity="note",
                    title=f"Nobody needs {table.table} any more",
                    concerns=[Concern("table", table.table)],
                    remedy=Remedy(
                        text="Drop it when you will not go back to it.",
                        command=faust(snapshot.app, "projections", "drop", table.table),
                        orders=[
                            Order(
                                label="Drop",
                                about=f"{table.table} is removed from all workers.",
                                path=f"projections/{projection.name}/drop",
                                body={"table": table.table},
                            )
                        ],
                    ),
                )


def _percent(table: TableStatus) -> int:
    return 100 * table.done // table.total if table.total else 0


def _length(seconds: float) -> str:
    return f"{seconds:,.0f} s" if seconds < 120 else f"{seconds / 60:,.0f} min"


def reader_is_in_trouble(snapshot: Snapshot) -> Iterator[Finding]:
    """Workers of the read side that say that something fails."""
    for worker in snapshot.workers:
        for name, reason in sorted(worker.troubles.items()):
            yield Finding(
                id=f"trouble:{worker.url}:{name}",
                severity="look",
                title=f"A worker of the projections is in trouble: {name}",
                detail=reason,
                concerns=[Concern("worker", worker.url)],
                act_after=LONG_SECONDS,
                remedy=Remedy(text="It tries again by itself. Mend what it names; its log says more."),
            )
        for limit in worker.limits:
            yield Finding(
                id=f"limit:{worker.url}:{limit}",
                severity="note",
                title="A worker of the projections serves less than it might",
                detail=limit,
                concerns=[Concern("worker", worker.url)],
                remedy=Remedy(text="Nothing, if that is meant."),
            )
