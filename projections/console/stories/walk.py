"""The walk through a story: up from where somebody begins to the command that came from outside, and down from there.

No index is kept for it, and nothing is added to what owners write. Up lead the ids of commands, down what the events
have caused; whether and when a command was decided is in the rows of its aggregate, of which those from the time of the
first command on are read, once for each aggregate. Each bound on that cuts the story, which says so.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from aggregates.principal import parts_of
from projections.console.stories.effects import effects_of
from projections.console.stories.rows import Rows, rows_since
from projections.console.stories.story import Effect, Step, Story, StoryEvent, cause_of, type_at
from schemas.codec import Undecodable
from streams.aggregate_type import AggregateType
from streams.concurrency.fairness import yield_if_due
from streams.journal.port import Aggregates, Commit, StoredEvent, Unavailable
from streams.journal.position import Position, position_text, stream_name
from streams.moments import in_utc
from streams.slices import slice_of

MOST_STEPS = 200
MOST_CAUSES = 100
"""Events on the way up."""
WALK_SECONDS = 8.0
APART = timedelta(minutes=1)
"""By how much the clocks of two owners may differ at most for the story to be complete."""


@dataclass(frozen=True, kw_only=True)
class Journals:
    """Where stories are read: contexts and journals by aggregate type.

    slices  by type, how many
    commit  the commit of a number in a slice of a type, or None
    may     whether whoever asks may read a type
    """

    contexts: Mapping[str, AggregateType]
    journals: Mapping[str, Aggregates]
    slices: Callable[[str], int]
    commit: Callable[[str, int, int], Awaitable[Commit | None]]
    may: Callable[[str], bool]


@dataclass(frozen=True)
class Found:
    """A row of the journal, and the type of its aggregate."""

    type: str
    row: StoredEvent

    @property
    def key(self) -> tuple[str, str, str]:
        return self.type, self.row.event.aggregate_id, self.row.event.command_id


@dataclass(frozen=True)
class _Next:
    """A command to look for, and what has caused it, None for one from outside."""

    effect: Effect
    cause: Found | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        return self.effect.type, self.effect.id, self.effect.command_id


class Walk:
    """One walk, for one answer. All may raise `Unavailable`."""

    def __init__(self, world: Journals) -> None:
        self._world = world
        self._rows: dict[tuple[str, str], Rows] = {}
        self._effects: dict[str, tuple[list[Effect], str | None]] = {}
        self._next: deque[_Next] = deque()
        self._seen: set[tuple[str, str, str]] = set()
        self._is_cut = False

    async def event_at(self, position: Position) -> Found | None:
        """The event at a position, None where there is none, or whoever asks may not see it."""
        type = type_at(position)
        if type not in self._world.contexts or not self._world.may(type):
            return None
        if position.slice >= self._world.slices(type):
            return None
        commit = await self._world.commit(type, position.slice, position.nr)
        if commit is None or not 0 <= position.index < len(commit.events):
            return None
        event = commit.events[position.index]
        is_there = event.is_event and self._slice(type, event.aggregate_id) == position.slice
        return Found(type, StoredEvent(event, commit.nr, position.index, commit.recorded_at)) if is_there else None

    async def of_aggregate(self, type: str, id: str, wanted: str) -> list[Found]:
        """The newest rows of an aggregate with this command or correlation id."""
        rows = await rows_since(self._world.journals[type], type, id, None)
        every = [row for of_command in rows.by_command.values() for row in of_command]
        return [Found(type, row) for row in every if wanted in (row.event.command_id, row.event.correlation_id)]

    async def story(self, id: str, begin: Sequence[Found]) -> Story:
        """The story of some rows, at least one."""
        roots = {root.key: root for root in [await self._root(found) for found in begin]}
        first = min(roots.values(), key=lambda root: root.row.recorded_at).row
        self._since = first.recorded_at - APART
        self._correlation = first.event.correlation_id
        for root in roots.values():
            self._add(_Next(Effect(root.type, root.row.event.aggregate_id, "", root.row.event.command_id)))
        steps = await self._steps()
        return Story(
            id=id,
            correlation_id=self._correlation,
            traceparent=first.event.traceparent,
            steps=steps,
            more=self._is_cut,
        )

    async def _root(self, found: Found) -> Found:
        """The row of the command from outside that has caused a row."""
        for _ in range(MOST_CAUSES):
            position = cause_of(found.row.event.command_id)
            cause = await self.event_at(position) if position is not None else None
            if cause is None:
                return found
            effects, unread = await self._caused(cause)
            if found.key not in [_Next(effect).key for effect in effects]:
                self._is_cut = self._is_cut or unread is not None
                return found
            found = cause
        self._is_cut = True
        return found

    async def _steps(self) -> list[Step]:
        steps: list[Step] = []
        ends = asyncio.get_running_loop().time() + WALK_SECONDS
        while self._next:
            if len(steps) == MOST_STEPS or asyncio.get_running_loop().time() > ends:
                self._is_cut = True
                break
            await yield_if_due()
            step = await self._step(self._next.popleft())
            if step is not None:
                steps.append(step)
            if not self._next:
                self._add_other_roots()
        return steps

    def _add(self, wanted: _Next) -> None:
        if wanted.key not in self._seen:
            self._seen.add(wanted.key)
            self._next.append(wanted)

    def _add_other_roots(self) -> None:
        """Commands from outside with the same correlation id, to aggregates that are in the story."""
        if not self._correlation:
            return
        for (type, id), rows in self._rows.items():
            for command_id, of_command in rows.by_command.items():
                is_alike = of_command[0].event.correlation_id == self._correlation
                if is_alike and cause_of(command_id) is None:
                    self._add(_Next(Effect(type, id, "", command_id)))

    async def _step(self, wanted: _Next) -> Step | None:
        """A command as it stands in the journal, and what it has caused is to be looked for; None for the firing of a
        timer that was cancelled or moved."""
        effect, cause = wanted.effect, wanted.cause
        context = self._world.contexts.get(effect.type)
        caused_by = self._position(cause) if cause is not None else None
        if not self._world.may(effect.type):
            name = context.name if context is not None else effect.type
            return Step(type=effect.type, context=name, cause=caused_by, status="hidden")
        rows = await self._rows_of(effect.type, effect.id) if context is not None else Rows({}, 0, False)
        found = rows.by_command.get(effect.command_id, ())
        is_timer = effect.due is not None and not found
        if is_timer and cause is not None and rows.last_event > cause.row.event.sequence:
            return None  # cancelled, or moved
        self._is_cut = self._is_cut or (not found and rows.more)
        return Step(
            type=effect.type,
            context=context.name if context is not None else effect.type,
            id=effect.id,
            command=effect.command or next((row.event.command.split(" ")[0] for row in reversed(found)), ""),
            command_id=effect.command_id,
            cause=caused_by,
            status="accepted" if found else "scheduled" if is_timer else "unseen",
            slice=self._slice(effect.type, effect.id) if context is not None else None,
            time=in_utc(found[0].recorded_at) if found else None,
            due=effect.due,
            principal=parts_of(found[0].event.principal)[0] if found else "",
            events=[await self._event(Found(effect.type, row)) for row in found if row.event.is_event],
        )

    async def _event(self, found: Found) -> StoryEvent:
        """An event of a step; what it has caused is to be looked for."""
        effects, unread = await self._caused(found)
        for effect in effects:
            self._add(_Next(effect, found))
        row = found.row
        return StoryEvent(
            position=self._position(found),
            sequence=row.event.sequence,
            type=row.event.type,
            time=in_utc(row.recorded_at),
            unread=unread,
        )

    async def _caused(self, found: Found) -> tuple[list[Effect], str | None]:
        """What an event has caused; else nothing, and why this worker cannot say it."""
        position = self._position(found)
        if position not in self._effects:
            journal = self._world.journals[found.type]
            try:
                effects = await effects_of(self._world.contexts, journal, found.type, position, found.row.event)
                self._effects[position] = effects, None
            except Unavailable:
                raise
            except Undecodable as error:
                self._effects[position] = [], str(error)
            except Exception as error:  # a process manager's own, over an event from before its code
                self._effects[position] = [], f"what hears it raised {type(error).__name__}"
        return self._effects[position]

    async def _rows_of(self, type: str, id: str) -> Rows:
        if (type, id) not in self._rows:
            self._rows[type, id] = await rows_since(self._world.journals[type], type, id, self._since)
        return self._rows[type, id]

    def _position(self, found: Found) -> str:
        stream = stream_name(found.type, self._slice(found.type, found.row.event.aggregate_id))
        return position_text(stream, found.row.nr, found.row.index)

    def _slice(self, type: str, id: str) -> int:
        return slice_of(id, self._world.slices(type))
