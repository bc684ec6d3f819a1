"""What every projection is doing: its tables, how far each is, what keeps it, and the keys whose events wait.

Each worker tells of its partitions (`worker_status`), and whoever is asked adds them up. The command line reads the
same types.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import partial
from operator import attrgetter
from typing import Literal

import msgspec

from projections.app import ReadSide
from projections.operations.worker_status import (
    ABSENT,
    CURRENT,
    HELD,
    LEFT,
    MOST_KEYS,
    PAUSED,
    DeployedProjection,
    PartState,
    TablePart,
    WaitingKey,
    WorkerStatus,
    status_here,
)
from projections.routing.cutover import kept_from_answering
from projections.stores.declaration import projection_name, version_of
from streams.journal.position import Position, stream_type

TableState = Literal["serving", "complete", "building", "held", "paused", "frozen", "to drop"]
"""Of a table in all partitions."""


class TablePartition(msgspec.Struct, frozen=True, kw_only=True):
    """A table in one partition: commits that are `applied` whole; events that are `done`, of `total`, at which `rate` a
    second, and the seconds left, null where that is not known."""

    state: PartState
    applied: int
    done: int
    total: int
    rate: float
    seconds_left: float | None
    error: str | None


class TableStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A table: what it is in all, and by partition."""

    table: str
    state: TableState
    done: int
    total: int
    rate: float
    seconds_left: float | None
    error: str | None
    quarantined_keys: int
    partitions: dict[str, TablePartition]


class SkippedEvent(msgspec.Struct, frozen=True):
    """An event that a projection leaves out."""

    position: str
    reason: str


class ProjectionStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A projection, the table that answers (`serving`), and all its tables. Version and store are null when no worker
    has code for it any more."""

    name: str
    version: int | None
    source: str
    store: str | None
    serving: str | None
    paused: str | None
    skips: list[SkippedEvent]
    quarantined_keys: int
    quarantined: list[WaitingKey]
    tables: list[TableStatus]

    @property
    def is_well(self) -> bool:
        """Whether there is nothing to be done or waited for."""
        fine = all(table.state in ("serving", "complete", "to drop") and not table.error for table in self.tables)
        return fine and self.quarantined_keys == 0


class Projections(msgspec.Struct, frozen=True):
    """All projections."""

    projections: list[ProjectionStatus]


async def gather(side: ReadSide) -> list[ProjectionStatus]:
    """All projections, as `/projections` shows them. Raises `NotNow`."""
    answers: list[WorkerStatus] = []
    for names in side.doors.together([table.name for group in side.sources.values() for table in group.kept]):
        here = partial(status_here, side, names)
        statuses = await side.doors.each(names[0], f"/projections?of={names[0]}", {}, here)
        answers += [msgspec.convert(status, WorkerStatus) for status in statuses]
    deployed = sorted((code for answer in answers for code in answer.code), key=attrgetter("version"))
    code = {projection.name: projection for projection in deployed}  # the newest version of each
    ends = {stream: end for answer in answers for stream, end in answer.ends.items()}
    parts = [
        msgspec.structs.replace(part, reach=part.reach.published_to(ends.get(part.stream, 0)))
        for answer in answers
        for part in answer.parts
    ]
    names = sorted({*code, *(projection_name(part.table) for part in parts)})
    return [_projection(side, name, code.get(name), parts) for name in names]


def _projection(
    side: ReadSide, name: str, code: DeployedProjection | None, parts: Iterable[TablePart]
) -> ProjectionStatus:
    partitions = [part for part in parts if projection_name(part.table) == name]
    tables: dict[str, list[TablePart]] = {}
    for part in partitions:
        tables.setdefault(part.table, []).append(part)
    serving = side.control.serving(name)
    keys = [key for part in partitions for key in part.keys]
    skips = sorted(side.control.skips(name).items(), key=lambda skip: Position.parse(skip[0]))
    return ProjectionStatus(
        name=name,
        version=code.version if code is not None else None,
        source=code.source if code is not None else stream_type(partitions[0].stream),
        store=code.store if code is not None else None,
        serving=serving,
        paused=side.control.paused(name),
        skips=[SkippedEvent(position, reason) for position, reason in skips],
        quarantined_keys=sum(part.quarantined for part in partitions),
        quarantined=sorted(keys, key=lambda key: Position.parse(key.position))[:MOST_KEYS],
        tables=[
            _table(table, tables[table], serving == table, code is not None, side.doors.all_partitions)
            for table in sorted(tables, key=_age)
        ],
    )


def _age(table: str) -> tuple[int, int]:
    generation = table.rpartition("-")[2].partition(".")[2]
    return version_of(table), int(generation or 0)


def _table(
    table: str, parts: Sequence[TablePart], serves: bool, has_code: bool, partitions: Collection[int]
) -> TableStatus:
    absent: list[PartState] = [ABSENT] * (len(partitions) - len(parts))
    state, new = state_of([*(part.state for part in parts), *absent], serves, has_code), sum(part.new for part in parts)
    errors = dict.fromkeys(f"{part.stream}: {part.error}" for part in parts if part.error)
    if state == "complete" and new:
        errors[kept_from_answering(table, new)] = None
    done, total = sum(part.reach.done for part in parts), sum(part.reach.total for part in parts)
    rate = sum(part.reach.rate for part in parts)
    return TableStatus(
        table=table,
        state=state,
        done=done,
        total=total,
        rate=round(rate, 1),
        seconds_left=_seconds_left(total - done, rate),
        error="; ".join(errors) or None,
        quarantined_keys=sum(part.quarantined for part in parts),
        partitions={str(part.partition): _in_partition(part) for part in sorted(parts, key=attrgetter("partition"))},
    )


def _in_partition(part: TablePart) -> TablePartition:
    return TablePartition(
        state=part.state,
        applied=part.reach.nr,
        done=part.reach.done,
        total=part.reach.total,
        rate=round(part.reach.rate, 1),
        seconds_left=_seconds_left(part.reach.to_go, part.reach.rate),
        error=part.error or None,
    )


def _seconds_left(events: int, rate: float) -> float | None:
    if events <= 0:
        return 0.0
    return round(events / rate, 1) if rate > 0 else None


def state_of(states: Collection[PartState], serves: bool, has_code: bool) -> TableState:
    """What a table is in all, by what it is in each partition."""
    current = [state for state in states if state not in (LEFT, ABSENT)]
    if not current:
        return "frozen" if serves and has_code else "to drop"
    if HELD in current:
        return HELD
    if PAUSED in current:
        return PAUSED
    if serves:
        return "serving" if len(current) == len(states) else "frozen"
    return "complete" if set(states) == {CURRENT} else "building"
