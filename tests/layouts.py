"""Layouts that are known without a journal, and logs that are read by them."""

from __future__ import annotations

from dataclasses import dataclass

from projections.publishing.heads import Heads
from projections.publishing.type_logs import TypeLogs
from streams.journal.layout import Layout, first_layout
from streams.journal.port import Log


@dataclass
class Known:
    """Always this one."""

    layout: Layout

    async def look(self) -> Layout:
        return self.layout


def logs_of(journal: Log, type: str, slices: int = 1, logs: int = 1) -> TypeLogs:
    """The logs of a type as readers have them, who do not wait for one another."""
    known = Known(first_layout(slices, logs))
    return TypeLogs(journal, type, known, Heads({type: journal}, {type: known}, apart=0.0))
