"""All types, process managers and projections of a wiring in one process: in memory, in virtual time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from aggregates.decider import Decider
from aggregates.principal import Principal
from aggregates.process_manager import ProcessManager, Send
from projections.projection import Projection, PublishedEvent
from projections.stores.declaration import Table
from sourced.testing.channels import Happened
from sourced.testing.rows import FoldedRows
from sourced.testing.wiring import Kind, Wiring
from sourced.testing.world import World
from streams.aggregate_type import AggregateType
from streams.deciding.messages import Reply
from streams.moments import in_utc

C = TypeVar("C")
E = TypeVar("E")
S = TypeVar("S")

MOST_STEPS = 100_000
"""After so many without coming to rest it is a circle."""


class System:
    """A system at rest: what is sent is decided, heard and followed to its end before `send` returns.

    System(order, product, checkout, projections=[orders])
    System(*contexts.values(), projections=tables)   with the `AggregateType`s and `Table`s of an app

    `schemas` is the folder of the schemas, as for `command_app`: then events are written and read by them, as workers
    do. Without, they go through JSON by their classes. The time is 2026-01-01T12:00Z, and passes by `advance` alone.
    """

    def __init__(
        self,
        *kinds: Kind | AggregateType,
        projections: Iterable[Projection | Table] = (),
        schemas: str | Path | None = None,
    ) -> None:
        self._wiring = Wiring(kinds, projections, schemas)
        self._start()

    def _start(self) -> None:
        self.world = World(self._wiring)
        """What the simulator takes steps in."""
        self._sent = 0
        self._folded = {name: FoldedRows(projection) for name, projection in self._wiring.projections.items()}
        self._read = 0

    def fresh(self) -> System:
        """Another system with the same wiring, in which nothing has happened."""
        other = System.__new__(System)
        other._wiring = self._wiring
        other._start()
        return other

    # -- what people do --------------------------------------------------------------------------------

    def send(
        self,
        kind: Decider[C, E, S] | ProcessManager[C, E, S],
        id: str,
        command: C,
        *,
        by: Principal | None = None,
        command_id: str = "",
        expecting: int | str = "",
    ) -> Reply:
        """Send a command to an aggregate, and let all follow that follows. Returns its reply: `status`, `events`,
        `error`. `by` has sent it, None: nobody who is known. `expecting` is the sequence that is expected.

        Raises `AssertionError` where a command fails, this one or one that follows, and what the domain raises.
        """
        command_id = self.put(kind, id, command, by=by, command_id=command_id, expecting=expecting)
        self.settle()
        return self.world.replies[command_id]

    def put(
        self,
        kind: Decider[C, E, S] | ProcessManager[C, E, S],
        id: str,
        command: C,
        *,
        by: Principal | None = None,
        command_id: str = "",
        expecting: int | str = "",
    ) -> str:
        """Send a command that nobody decides yet; returns its id. `settle` goes on."""
        self._sent += 1
        command_id = command_id or f"command-{self._sent}"
        type_, name = self._wiring.of(kind).type, type(command).__name__
        data = msgspec.json.encode(command)
        self.world.put(type_, id, name, data, command_id, by, expecting=str(expecting))
        return command_id

    def settle(self) -> None:
        """Let all happen that is under way, in the order in which it came."""
        for _ in range(MOST_STEPS):
            ready = self.world.ready()
            if not ready:
                return
            self.world.run(ready[0])
        raise AssertionError(f"after {MOST_STEPS:,} steps it has not come to rest: {ready[0].name} is next")

    def advance(
        self, by: timedelta | None = None, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0
    ) -> None:
        """Let time pass: each timer that is due in it fires at its time, and all follows that follows."""
        until = self.now + (by or timedelta(0)) + timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        self.settle()
        while (due := self.world.next_due) is not None and due <= until:
            self.world.now = due
            self.settle()
        self.world.now = until

    @property
    def now(self) -> datetime:
        """What time it is, in UTC."""
        return self.world.now

    # -- what there is ---------------------------------------------------------------------------------

    def state(self, kind: Decider[C, E, S] | ProcessManager[C, E, S], id: str) -> S:
        """The state of an aggregate; the initial one where nothing has happened to it."""
        state: S = self.world.aggregate((self._wiring.of(kind).type, id)).state
        return state

    def events(self, kind: Decider[C, E, S] | ProcessManager[C, E, S], id: str) -> list[E]:
        """The events of an aggregate, the oldest first."""
        happened = self.world.events.get((self._wiring.of(kind).type, id), ())
        return [part for it in happened for part in it.parts]

    def ids(self, kind: Kind) -> list[str]:
        """The aggregates of a type that have events, in the order of their first ones."""
        type = self._wiring.of(kind).type
        return list(dict.fromkeys(it.id for it in self.world.journal if it.type == type))

    def rows(self, projection: Projection) -> Mapping[str, Any]:
        """The rows of a projection by key, with all events: dicts, or of the type that it declares."""
        if projection.name not in self._folded:
            raise KeyError(f"there is no projection {projection.name} here: there are {', '.join(self._folded)}")
        self._fold()
        return self._folded[projection.name].rows

    def row(self, projection: Projection, key: str) -> Any:
        """One row of a projection; None where there is none."""
        return self.rows(projection).get(key)

    @property
    def timers(self) -> Mapping[str, datetime]:
        """The pending timers by id, and when they are due."""
        return {id: timer.due[0] for id, timer in self.world.timers.items() if timer.due is not None}

    @property
    def outside(self) -> Sequence[Send]:
        """The commands that went to types that are not here."""
        return list(self.world.outside.values())

    def _fold(self) -> None:
        for happened in self.world.journal[self._read :]:
            for folded in self._folded.values():
                if folded.projection.source == happened.type:
                    for event in _published(happened):
                        folded.apply(event)
        self._read = len(self.world.journal)


def _published(happened: Happened) -> list[PublishedEvent]:
    row = happened.row
    place = happened.id, row.sequence, in_utc(happened.time), happened.stream, happened.nr, happened.index
    return [PublishedEvent(part, type(part).__name__, *place, row.correlation_id) for part in happened.parts]
