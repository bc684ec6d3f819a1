"""Who watches the logs: what must hold of each commit that is appended, and of each layout that is written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from streams.journal.layout import Layout, LogSpan
from streams.journal.port import NOTHING_CONSUMED, Commit, SliceHead, log_name
from streams.slices import slice_of
from tests.simulation.account import TYPE

if TYPE_CHECKING:
    from tests.simulation.world import World

_NOTHING = SliceHead()


class LogChecks:
    """Holds each commit against the one before it in its log, and the first one against the seals of its parents."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._seen: defaultdict[str, list[Commit]] = defaultdict(list)
        self._incarnations: defaultdict[int, list[str]] = defaultdict(list)
        """The ids of the command topic that commits of a slice cover."""

    def appended(self, wanted: Commit, log: Sequence[Commit]) -> None:
        """After an attempt to append, the log is as before or has one commit more, which follows from the last."""
        fail, seen = self._world.checks.fail, self._seen[wanted.log]
        place = wanted.nr - log[0].nr if log else 0
        if 0 <= place < len(seen) and log[place] is not seen[place]:
            fail("a commit never changes", f"{wanted.log} nr {wanted.nr}")
        if len(log) == len(seen):
            return
        last, commit = (seen[-1] if seen else None), log[-1]
        seen.append(commit)
        ids = [event.command_id for event in commit.events]
        offsets = " ".join(f"{slice}:{head.offset}" for slice, head in commit.slices.items())
        kind = "seal" if commit.is_seal else "commit"
        self._world.note(kind, f"{commit.log}:{commit.nr}", commit.owner, f"to offsets {offsets}", *ids)
        span = next(it for it in self._world.layout.logs if log_name(TYPE, it.number) == commit.log)
        if text := self._begins_wrongly(span):
            fail("a log begins behind the seals of those before", f"{_place(commit)}: {text}")
            return
        if commit.nr != span.begins_after + len(log) or len(log) != len(seen):
            fail("numbers are dense", f"{commit.log} nr {commit.nr} is at place {len(log)} of {span}")
        before = last.slices if last is not None else self._inherited(span)
        if last is not None and last.is_seal:
            fail("nothing is behind a seal", f"{_place(last)} is followed by {_place(commit)}")
        if not (self._follows(last, commit) if last is not None else self._begins(span, commit)):
            fail("epochs and offsets rise", f"{_place(last)} is followed by {_place(commit)}")
        if text := self._heads_are_wrong(span, before, commit):
            fail("each slice has its own head", f"{_place(commit)}: {text}")
        if commit.is_seal and (text := self._is_left(seen)):
            fail("all is derived before a seal", f"{_place(commit)}: {text}")
        self._covers_once(commit)

    def _covers_once(self, commit: Commit) -> None:
        for slice in commit.slices:
            incarnations = self._incarnations[slice]
            if commit.topic_id not in incarnations:
                incarnations.append(commit.topic_id)
            elif commit.topic_id != incarnations[-1]:
                text = f"{_place(commit)} goes back to an older topic"
                self._world.checks.fail("each offset of a topic is covered once", text)

    # -- the beginning of a log ----------------------------------------------------------------------------

    def _seals(self, span: LogSpan) -> list[Commit]:
        """The last commits of its parents, as far as they are seals."""
        logs = [self._world.store.log[log_name(TYPE, number)] for number in span.parents]
        return [log[-1] for log in logs if log and log[-1].is_seal]

    def _begins_wrongly(self, span: LogSpan) -> str:
        """Only behind the seals of all parents, and behind the highest of their numbers."""
        seals = self._seals(span)
        if len(seals) < len(span.parents):
            return f"{len(seals)} of the logs {span.parents} are sealed"
        due = max((seal.nr for seal in seals), default=0)
        return "" if span.after == due else f"it begins after {span.after}, and not after {due}"

    def _inherited(self, span: LogSpan) -> Mapping[int, SliceHead]:
        found = {slice: head for seal in self._seals(span) for slice, head in seal.slices.items()}
        return {slice: found.get(slice, _NOTHING) for slice in span.slices}

    def _begins(self, span: LogSpan, commit: Commit) -> bool:
        """With the offsets of the seals; where the topic was made again since, with none."""
        topics = {slice: seal.topic_id for seal in self._seals(span) for slice in seal.slices}
        due = {
            slice: head.offset if topics.get(slice) == commit.topic_id else NOTHING_CONSUMED
            for slice, head in self._inherited(span).items()
        }
        offsets = {slice: head.offset for slice, head in commit.slices.items()}
        return (1, due, 0, False) == (commit.epoch, offsets, len(commit.events), commit.is_seal)

    # -- one commit behind another -------------------------------------------------------------------------

    @staticmethod
    def _follows(last: Commit, commit: Commit) -> bool:
        offsets = {slice: head.offset for slice, head in commit.slices.items()}
        before = {slice: head.offset for slice, head in last.slices.items()}
        if commit.epoch == last.epoch:
            rise = before.keys() == offsets.keys() and all(offsets[slice] >= before[slice] for slice in before)
            same = (commit.topic_id, commit.owner) == (last.topic_id, last.owner)
            ends = commit.is_seal and offsets == before and not commit.events
            return rise and same and (ends or (offsets != before and not commit.is_seal))
        begins = offsets == (before if commit.topic_id == last.topic_id else dict.fromkeys(offsets, NOTHING_CONSUMED))
        return commit.epoch == last.epoch + 1 and begins and not commit.events and not commit.is_seal

    def _heads_are_wrong(self, span: LogSpan, before: Mapping[int, SliceHead], commit: Commit) -> str:
        """Each commit has all slices of its log, no other, and says of each where its newest event is."""
        slices = self._world.shape.partitions
        if sorted(commit.slices) != sorted(span.slices):
            return f"it has the slices {sorted(commit.slices)}, and its log {sorted(span.slices)}"
        rows = {slice_of(event.aggregate_id, slices) for event in commit.events}
        if not rows <= commit.slices.keys():
            return f"it holds events of the slices {sorted(rows)}"
        eventful = {slice_of(event.aggregate_id, slices) for event in commit.events if event.is_event}
        for slice, head in commit.slices.items():
            due = commit.nr if slice in eventful else before[slice].eventful_nr
            if head.eventful_nr != due:
                return f"it says of slice {slice} that commit {head.eventful_nr} has its newest event, and not {due}"
        return ""

    def _is_left(self, log: Sequence[Commit]) -> str:
        """What is not derived of a log."""
        for commit in log:
            for index, event in enumerate(commit.events):
                rows = self._world.store.events.get((TYPE, event.aggregate_id), {})
                if (event.sequence, commit.nr, index) not in rows:
                    return f"{commit.log}:{commit.nr}:{index} is not derived"
        return ""

    # -- layouts -------------------------------------------------------------------------------------------

    def changed(self, before: Layout, after: Layout) -> None:
        """After an attempt to write a layout, it is as before, or the next version: nothing that was said is taken
        back, but what is planned."""
        if after is before:
            return
        self._world.note("layout", after.version, *(_shown(log) for log in after.logs if log.sealed is None))
        if text := self._is_no_next(before, after):
            self._world.checks.fail("layouts go on from one another", f"version {before.version}: {text}")

    def _is_no_next(self, before: Layout, after: Layout) -> str:
        left = {log.number: log for log in after.logs}
        lost = [log for log in before.logs if log.number not in left and log.after is not None]
        if after.version != before.version + 1 or lost:
            return f"is followed by version {after.version} without {lost}"
        for old, new in ((log, left[log.number]) for log in before.logs if log.number in left):
            kept = replace(
                new,
                after=new.after if old.after is None else old.after,
                sealed=new.sealed if old.sealed is None else old.sealed,
            )
            if kept != new or replace(new, after=old.after, sealed=old.sealed) != old:
                return f"{old} is followed by {new}"
            log = self._world.store.log[log_name(TYPE, new.number)]
            if new.sealed is not None and not (log and log[-1].is_seal and log[-1].nr == new.sealed):
                return f"{new} is not sealed there"
            if new.after is not None and (text := self._begins_wrongly(new)):
                return f"{new}: {text}"
        return ""


def _shown(log: LogSpan) -> str:
    return f"{log.number}@{log.seat}:{log.slices} after {log.after} of {log.parents}"


def _place(commit: Commit | None) -> str:
    if commit is None:
        return "nothing"
    offsets = ", ".join(f"{head.offset} of {slice}" for slice, head in commit.slices.items())
    return (
        f"{commit.log}:{commit.nr} (epoch {commit.epoch} of {commit.owner}, {commit.topic_id} to offsets {offsets}, "
        f"{len(commit.events)} events)"
    )
