"""What every projection is doing: its tables, how far each is, what keeps it, and the keys whose events wait.

Each worker tells of its partitions (`TablePart`), and whoever is asked adds them up.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from projections.app import ReadSide
from projections.applying.partition import PartitionProcessor, PartitionTable
from projections.operations.answers import HowFar, PartState, ProjectionStatus, TableState, TableStatus, WaitingKey
from projections.routing.cutover import kept_from_answering, newly_waiting
from projections.stores.declaration import Table, projection_name, version_of
from projections.stores.rows import Checkpoint, Quarantined, StoreDown, read_position

MOST_KEYS = 100
"""Keys in quarantine that are shown."""

CURRENT: Final = "current"
BEHIND: Final = "behind"
PAUSED: Final = "paused"
HELD: Final = "held"
LEFT: Final = "left"
ABSENT: Final = "absent"


class TablePart(msgspec.Struct, frozen=True):
    """A table in one partition. `end` is the offset of the topic up to which `total` counts."""

    table: str
    partition: int
    stream: str
    state: PartState
    applied: int
    done: int
    total: int
    end: int
    rate: float = 0.0
    error: str = ""
    quarantined: int = 0
    new: int = 0
    keys: Sequence[WaitingKey] = ()


class DeployedProjection(msgspec.Struct, frozen=True):
    """A projection as the code of a worker has it."""

    name: str
    version: int
    source: str
    store: str


class WorkerStatus(msgspec.Struct, frozen=True):
    """What one worker says. `ends` has by stream the end of its events on the topic."""

    code: Sequence[DeployedProjection]
    parts: Sequence[TablePart]
    ends: Mapping[str, int]


# -- one worker -------------------------------------------------------------------------------------------------


async def tell(side: ReadSide, names: Collection[str]) -> WorkerStatus:
    """Of these projections, in the partitions that are here."""
    parts: list[TablePart] = []
    code: list[DeployedProjection] = []
    for source in side.sources.values():
        its = [kept for kept in source.kept if kept.name in names]
        code += [DeployedProjection(it.name, it.projection.version, source.type, it.store) for it in its]
        if not its:
            continue
        for partition in list(source.partitions.values()):
            for table in list(partition.tables.values()):
                if table.projection.name in names:
                    serving = side.control.serving(table.projection.name)
                    parts.append(await _kept(partition, table, serving))
            parts += await _left(side, partition, its)
    ends = {tail.stream: tail.end for tailers in side.tailers.values() for tail in tailers.tails.values()}
    return WorkerStatus(code, parts, ends)


async def _kept(partition: PartitionProcessor, table: PartitionTable, serving: str | None) -> TablePart:
    name, progress, error = table.table, partition.progress(table.table), partition.held(table.table)
    done = total = end = table.place.offset
    rate = 0.0
    state: PartState = PAUSED if table.paused else BEHIND
    if progress is not None:
        current = partition.is_current(name)
        # Before it has begun it knows nothing yet, and one of several tables is the furthest behind: it begins there.
        done, total, end = max(progress.done, done), progress.total, max(progress.end, progress.offset)
        rate = 0.0 if current else progress.rate
        state = HELD if error else CURRENT if current else BEHIND
    try:
        new = await newly_waiting(partition, name, serving)
    except StoreDown as down:
        new, state, error = 0, HELD, str(down)
    waiting = table.quarantined
    return TablePart(
        name, partition.number, partition.stream, state, table.place.complete, done, total, end, rate, error,
        len(waiting), new, _first(name, waiting),
    )  # fmt: skip


async def _left(side: ReadSide, partition: PartitionProcessor, kept: Sequence[Table]) -> list[TablePart]:
    """The tables that are here, and that this code does not keep up to date."""
    found: list[TablePart] = []
    for rows in {side.rows_of(it): None for it in kept}:
        with contextlib.suppress(StoreDown):  # those that are kept say so
            for table, place in (await rows.places(partition.number)).items():
                if table not in partition.tables:
                    serves = side.control.serving(projection_name(table)) == table
                    waiting = await rows.quarantined(partition.number, table) if serves else {}
                    found.append(_left_part(partition, table, place, waiting))
    return found


def _left_part(
    partition: PartitionProcessor, table: str, place: Checkpoint, waiting: Mapping[str, Quarantined]
) -> TablePart:
    offset = place.offset
    return TablePart(
        table, partition.number, partition.stream, LEFT, place.complete, offset, offset, offset,
        quarantined=len(waiting), keys=_first(table, waiting),
    )  # fmt: skip


def _first(table: str, waiting: Mapping[str, Quarantined]) -> list[WaitingKey]:
    keys = [WaitingKey(table, key, its.position, its.error, its.events) for key, its in waiting.items()]
    return sorted(keys, key=lambda it: read_position(it.position))[:MOST_KEYS]


# -- all of them ------------------------------------------------------------------------------------------------


async def gather(side: ReadSide) -> list[ProjectionStatus]:
    """All projections, as `/projections` shows them. Raises `NotNow`."""
    answers: list[WorkerStatus] = []
    for names in side.doors.together([kept.name for source in side.sources.values() for kept in source.kept]):

        async def here(names: Collection[str] = names) -> WorkerStatus:
            return await tell(side, names)

        found = await side.doors.each(names[0], f"/projections?of={names[0]}", {}, here)
        answers += [msgspec.convert(it, WorkerStatus) for it in found]
    code: dict[str, DeployedProjection] = {}
    for its in (its for answer in answers for its in answer.code):
        if its.name not in code or its.version > code[its.name].version:
            code[its.name] = its
    ends = {stream: end for answer in answers for stream, end in answer.ends.items()}
    parts = [_with_end(part, ends.get(part.stream, 0)) for answer in answers for part in answer.parts]
    names = sorted({*code, *(projection_name(part.table) for part in parts)})
    return [_projection(side, name, code.get(name), parts) for name in names]


def _with_end(part: TablePart, end: int) -> TablePart:
    """Count what has been published since somebody has looked."""
    return msgspec.structs.replace(part, total=part.total + max(end - part.end, 0))


def _projection(
    side: ReadSide, name: str, code: DeployedProjection | None, parts: Iterable[TablePart]
) -> ProjectionStatus:
    tables: dict[str, list[TablePart]] = {}
    for part in parts:
        if projection_name(part.table) == name:
            tables.setdefault(part.table, []).append(part)
    serving = side.control.serving(name)
    keys = [key for its in tables.values() for part in its for key in part.keys]
    partitions = [part for its in tables.values() for part in its]
    return {
        "name": name,
        "version": code.version if code is not None else None,
        "source": code.source if code is not None else partitions[0].stream.rpartition("-")[0],
        "store": code.store if code is not None else None,
        "serving": serving,
        "paused": side.control.paused(name),
        "skips": [
            {"position": position, "reason": reason}
            for position, reason in sorted(side.control.skips(name).items(), key=lambda it: _in_order(it[0]))
        ],
        "quarantined_keys": sum(part.quarantined for part in partitions),
        "quarantined": sorted(keys, key=lambda it: _in_order(it.position))[:MOST_KEYS],
        "tables": [
            _table(table, its, serving == table, code is not None, side.doors.all_partitions)
            for table, its in sorted(tables.items(), key=lambda it: _age(it[0]))
        ],
    }


def _in_order(position: str) -> tuple[str, int, int]:
    return (position.rpartition(":")[0].rpartition(":")[0], *read_position(position))


def _age(table: str) -> tuple[int, int]:
    generation = table.rpartition("-")[2].partition(".")[2]
    return version_of(table), int(generation or 0)


def _table(
    table: str, parts: Sequence[TablePart], serves: bool, has_code: bool, partitions: Collection[int]
) -> TableStatus:
    absent: list[PartState] = [ABSENT] * (len(partitions) - len(parts))
    state, new = state_of([*(part.state for part in parts), *absent], serves, has_code), sum(part.new for part in parts)
    done, total, rate = (sum(getattr(part, name) for part in parts) for name in ("done", "total", "rate"))
    errors = dict.fromkeys(f"{part.stream}: {part.error}" for part in parts if part.error)
    if state == "complete" and new:
        errors[kept_from_answering(table, new)] = None
    return {
        "table": table,
        "state": state,
        **_how_far(done, total, rate),
        "error": "; ".join(errors) or None,
        "quarantined_keys": sum(part.quarantined for part in parts),
        "partitions": {
            str(part.partition): {
                "state": part.state,
                "applied": part.applied,
                **_how_far(part.done, part.total, part.rate),
                "error": part.error or None,
            }
            for part in sorted(parts, key=lambda it: it.partition)
        },
    }


def _how_far(done: int, total: int, rate: float) -> HowFar:
    left = max(total - done, 0)
    seconds = 0.0 if not left else round(left / rate, 1) if rate > 0 else None
    return {"done": done, "total": max(total, done), "rate": round(rate, 1), "seconds_left": seconds}


def state_of(states: Collection[PartState], serves: bool, has_code: bool) -> TableState:
    """What a table is in all, by what it is in each partition."""
    kept = [state for state in states if state not in (LEFT, ABSENT)]
    if not kept:
        return "frozen" if serves and has_code else "to drop"
    if HELD in kept:
        return HELD
    if PAUSED in kept:
        return PAUSED
    if serves:
        return "serving" if len(kept) == len(states) else "frozen"
    return "complete" if set(states) == {CURRENT} else "building"
