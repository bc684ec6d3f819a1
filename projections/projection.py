"""A projection as a value: which events make which rows. It knows nothing of storage."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

Row = dict[str, Any]


class PublishedEvent(msgspec.Struct, frozen=True, gc=False):
    """An event as consumers see it: `event` is an object of the newest version of its class, `type` that class's name.

    One that was stored before its class was split comes as several, all with its sequence and its position.
    `correlation_id` is that of the command which caused it.
    """

    event: Any
    type: str
    aggregate_id: str
    sequence: int
    time: str
    stream: str
    nr: int
    index: int
    correlation_id: str = ""

    @property
    def position(self) -> str:
        """Its place in the journal, `<stream>:<commit number>:<index>`."""
        return f"{self.stream}:{self.nr}:{self.index}"


def _by_aggregate(event: PublishedEvent) -> Iterable[str]:
    return (event.aggregate_id,)


@dataclass(frozen=True)
class Projection:
    """Rows folded from the events of one aggregate type.

    `keys(event)` names the rows an event touches, by default the one of its aggregate. `evolve(row, key,
    event)` returns the row after the event, None to have none (any more). It must not change the row it is given.
    `local` rows may be touched by any events of their partition, and by only some of an aggregate's. Where their keys
    are not those of aggregates they are partial: each partition of the events keeps its own, and a query adds them up,
    so that what runs over many aggregates is as exact as what runs over one.
    """

    name: str
    version: int
    source: str
    evolve: Callable[[Row | None, str, PublishedEvent], Row | None]
    keys: Callable[[PublishedEvent], Iterable[str]] = _by_aggregate
    local: bool = False
