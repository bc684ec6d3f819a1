"""Projections folded in memory: each partition of the events has its rows, as its worker would keep them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

import msgspec

from projections.projection import Projection, PublishedEvent, Row
from projections.stores.rows import decode_row, encode_row
from sourced.testing import published as published
from sourced.testing.rows import row_after
from streams.kafka.client import partition_of


class Folded:
    """The rows of some projections of one aggregate type, by partition."""

    def __init__(self, *projections: Projection, partitions: int = 8) -> None:
        self._projections = projections
        self.rows: dict[str, list[dict[str, Row]]] = {
            projection.name: [{} for _ in range(partitions)] for projection in projections
        }

    def apply(self, event: PublishedEvent) -> None:
        """An event, which is newer than those before it."""
        for projection in self._projections:
            partitions = self.rows[projection.name]
            rows = partitions[partition_of(event.aggregate_id.encode(), len(partitions))]
            for key in projection.keys(event):
                row = row_after(projection, rows.get(key), key, event)
                if row is not None:
                    rows[key] = row
                else:
                    rows.pop(key, None)

    def kept(self) -> Kept:
        """The rows as a store gives them back."""
        return Kept(
            {
                name: [[(key, encode_row(rows[key])) for key in sorted(rows)] for rows in partitions]
                for name, partitions in self.rows.items()
            }
        )


class Kept:
    """Rows by projection and partition, in the order of their keys."""

    def __init__(self, tables: dict[str, list[list[tuple[str, bytes]]]]) -> None:
        self._tables = tables

    def ask(self, question: Any, workers: int = 3) -> Any:
        """The answer of so many workers that have the partitions among them."""
        partitions = self._tables[question.table]
        parts = [
            question.here(decode_row(row) for rows in partitions[worker::workers] for row in _between(rows, question))
            for worker in range(workers)
        ]
        return _as_json(question.answer(_as_json(parts)))


def _between(rows: Sequence[tuple[str, bytes]], question: Any) -> list[bytes]:
    first, end = question.keys
    start = bisect_left(rows, first, key=lambda row: row[0])
    stop = len(rows) if end is None else bisect_left(rows, end, key=lambda row: row[0])
    return [row for _, row in rows[start:stop]]


def _as_json(value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))
