"""What one worker has of every projection: its tables in the partitions that are here, and what its code keeps."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping, Sequence
from typing import Final, Literal

import msgspec

from projections.app import ReadSide
from projections.applying.partition_processor import PartitionProcessor, PartitionTable
from projections.operations.reach import TableReach, at_rest, published_here, reach_of
from projections.routing.cutover import newly_waiting
from projections.stores.declaration import Table, projection_name
from projections.stores.rows import Quarantined
from streams.journal.port import Unavailable
from streams.journal.position import Position

MOST_KEYS = 100
"""Keys in quarantine that are shown."""

PartState = Literal["current", "behind", "paused", "held", "left", "absent"]
"""Of a table in one partition; `left`: no code there keeps it up to date, `absent`: nor is it there."""
CURRENT: Final = "current"
BEHIND: Final = "behind"
PAUSED: Final = "paused"
HELD: Final = "held"
LEFT: Final = "left"
ABSENT: Final = "absent"


class WaitingKey(msgspec.Struct, frozen=True):
    """A key in quarantine: its events wait since the first of them could not be applied."""

    table: str
    key: str
    position: str
    error: str
    events: int


class TablePart(msgspec.Struct, frozen=True):
    """A table in one partition."""

    table: str
    partition: int
    stream: str
    state: PartState
    reach: TableReach
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
    """The answer of one worker. `ends` has by stream the offset behind its last event on the topic."""

    code: Sequence[DeployedProjection]
    parts: Sequence[TablePart]
    ends: Mapping[str, int]


async def status_here(side: ReadSide, names: Collection[str]) -> WorkerStatus:
    """The tables of these projections in the partitions that this worker has."""
    parts: list[TablePart] = []
    code: list[DeployedProjection] = []
    for source in side.sources.values():
        declared = [table for table in source.kept if table.name in names]
        code += [DeployedProjection(own.name, own.projection.version, source.type, own.store) for own in declared]
        for partition in list(source.partitions.values()) if declared else ():
            for table in list(partition.tables.values()):
                if (name := table.projection.name) in names:
                    parts.append(await _kept_up(partition, table, side.control.serving(name)))
            parts += await _left(side, partition, declared)
    published = await published_here(side)
    return WorkerStatus(code, parts, {stream: reach.end for stream, reach in published.items()})


async def _kept_up(partition: PartitionProcessor, table: PartitionTable, serving: str | None) -> TablePart:
    name, error, new = table.table, partition.held(table.table), 0
    try:
        new = await newly_waiting(partition, name, serving)
    except Unavailable as down:
        error = str(down)
    state: PartState = PAUSED if table.paused else CURRENT if partition.is_current(name) else BEHIND
    return TablePart(
        table=name,
        partition=partition.number,
        stream=partition.stream,
        state=HELD if error else state,
        reach=reach_of(partition, table),
        error=error,
        quarantined=len(table.quarantined),
        new=new,
        keys=_first(name, table.quarantined),
    )


async def _left(side: ReadSide, partition: PartitionProcessor, declared: Sequence[Table]) -> list[TablePart]:
    """The tables that are here, and that this code does not keep up to date."""
    parts: list[TablePart] = []
    for rows in {side.rows_of(table): None for table in declared}:
        with contextlib.suppress(Unavailable):  # those that are kept say so
            for table, place in (await rows.places(partition.number)).items():
                if table not in partition.tables:
                    serves = side.control.serving(projection_name(table)) == table
                    waiting = await rows.quarantined(partition.number, table) if serves else {}
                    parts.append(
                        TablePart(
                            table=table,
                            partition=partition.number,
                            stream=partition.stream,
                            state=LEFT,
                            reach=at_rest(place),
                            quarantined=len(waiting),
                            keys=_first(table, waiting),
                        )
                    )
    return parts


def _first(table: str, waiting: Mapping[str, Quarantined]) -> list[WaitingKey]:
    keys = [WaitingKey(table, key, held.position, held.error, held.events) for key, held in waiting.items()]
    return sorted(keys, key=lambda key: Position.parse(key.position))[:MOST_KEYS]
