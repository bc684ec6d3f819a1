"""The rows of a join, in memory.

A local projection has parts of a row in several partitions, which come in no order. So its events are put into
partitions in several ways, and the rows are to be the same each time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

from aggregates.differences import require_same
from projections.projection import PublishedEvent, Row
from projections.stores.declaration import Indexes
from projections.stores.rows import encode_row
from projections.stores.sql_columns import SqlColumns
from projections.views.join import Join, Side
from sourced.testing.rows import FoldedRows, in_sequence

Halves = dict[str, list[Row]]
"""By key of the join the rows of a side."""

Way = Callable[[Sequence[PublishedEvent]], Sequence[Sequence[PublishedEvent]]]
"""Puts events into partitions."""


def joined_rows(join: Join, events: Sequence[tuple[str, str, object]]) -> dict[str, Any]:
    """The rows by key after events as (aggregate type, aggregate id, event). Raises `AssertionError` where they follow
    from more than the events of each aggregate and their order."""
    known = [side.projection.source for side in join.sides]
    for type, _, event in events:
        if type not in known:
            raise AssertionError(f"{event!r} is of {type}, and {join.name} joins {' and '.join(known)}")
    found = [_rows(join, events, way) for way in (_in_one, _by_aggregate, lambda given: _by_aggregate(given)[::-1])]
    for other in found[1:]:
        require_same(found[0], other, f"{join.name}, which depends on how its events are spread over partitions:")
    return found[0]


def _rows(join: Join, events: Sequence[tuple[str, str, object]], way: Way) -> dict[str, Any]:
    left, right = (_halves(side, events, way) for side in join.sides)
    answers = {key: join.answer(key, left.get(key, []), right.get(key, [])) for key in {**left, **right}}
    return {key: row for key, row in answers.items() if row is not None}


def _halves(side: Side, events: Sequence[tuple[str, str, object]], way: Way) -> Halves:
    projection = side.projection
    own = list(in_sequence((id, event) for type, id, event in events if type == projection.source))
    halves: Halves = {}
    for partition in way(own) if projection.local else [own]:
        folded = FoldedRows(projection)
        for event in partition:
            folded.apply(event)
        for key, row in sorted(folded.stored.items()):
            value = _value(side, row) if side.by else key
            if value is not None:
                halves.setdefault(value, []).append(row)
    return halves


def _value(side: Side, row: Row) -> str | None:
    """Under which key a row is joined, as its store would say."""
    how = side.table.how
    if isinstance(how, Indexes):
        return how.values[side.by](row)
    assert isinstance(how, SqlColumns)
    with closing(sqlite3.connect(":memory:")) as store:
        [value] = store.execute(
            f"SELECT {how.columns[side.by]} FROM (SELECT ? AS row)", [encode_row(row).decode()]
        ).fetchone()
    if value is not None and not isinstance(value, str):
        raise AssertionError(f"{side.table.name}: {side.by} is {value!r}, and the key of a join is a text")
    return value


def _in_one(events: Sequence[PublishedEvent]) -> Sequence[Sequence[PublishedEvent]]:
    return [events]


def _by_aggregate(events: Sequence[PublishedEvent]) -> Sequence[Sequence[PublishedEvent]]:
    ids = dict.fromkeys(event.aggregate_id for event in events)
    return [[event for event in events if event.aggregate_id == id] for id in ids]
