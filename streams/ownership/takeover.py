"""How a log changes hands: an empty commit with the next epoch, which fences the former owner. And how it ends: by a
seal, a commit behind which nobody appends; the logs that go on from it begin with what the seals say of their slices.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from streams.concurrency.tasks import all_of
from streams.journal.layout import LogSpan
from streams.journal.port import NOTHING_CONSUMED, Commit, Fenced, Log, SliceHead, Unavailable, log_type
from streams.journal.slice_log import seals_before
from streams.kafka.command_slices import CommandSlices
from streams.moments import now
from streams.notices import say_error, warn

log = logging.getLogger(__name__)


class LogSealed(Exception):
    """The log has ended, with commit `nr`."""

    def __init__(self, name: str, nr: int) -> None:
        super().__init__(f"{name} is sealed by commit {nr}: others go on from it")
        self.nr = nr


async def take_over(
    journal: Log,
    commands: CommandSlices,
    name: str,
    span: LogSpan,
    topic_id: str,
    owner: str,
    parents: Sequence[LogSpan] = (),
    inherits: Callable[[Mapping[int, SliceHead]], None] = lambda slices: None,
) -> tuple[Commit | None, Commit]:
    """Make `owner` the owner of the log `name`, which goes on from its `parents`. Returns the former head, and the
    commit that begins the new epoch.

    Reads the head, appends at the next number, and starts again when another owner was faster. `inherits` is told from
    where the log goes on if nobody has had it before. Raises `Unavailable`, and `LogSealed`.
    """
    seals = await seals_before(journal, log_type(name), span, parents)
    inherited = _inherited(seals, span, topic_id)
    if parents:
        inherits(inherited)
    while True:
        old = await journal.head(name, span.begins_after)
        if old is not None and old.is_seal:
            raise LogSealed(name, old.nr)
        looks: list[Coroutine[Any, Any, Any]] = [commands.ends()]
        if old is None:
            looks.append(commands.check_unpublished(log_type(name), span.begins_after))
        ends, *_ = await all_of(looks)
        covered = old.slices if old is not None else inherited
        if (old is not None and old.topic_id != topic_id) or _lost(covered, ends):
            await check_topic(commands, name, topic_id)
        commit = first_commit(old, name, span, topic_id, ends, owner, inherited)
        try:
            await journal.append(commit)
            return old, commit
        except Fenced:
            continue


def _inherited(seals: Sequence[Commit], span: LogSpan, topic_id: str) -> dict[int, SliceHead]:
    """How far the slices of a log are that it has from others, by their seals."""
    slices: dict[int, SliceHead] = {}
    for seal in seals:
        moved = {slice: head for slice, head in seal.slices.items() if slice in span.slices}
        slices |= moved if seal.topic_id == topic_id else _from_the_beginning(seal.log, moved)
    return slices


async def check_topic(commands: CommandSlices, name: str, topic_id: str) -> None:
    """Raise `Unavailable` when the command topic has another id: it has been made again since.

    Topic ids have no order, but an id that is asked for after a read of the log, or of the topic, is not an older one.
    """
    actual = await commands.topic_id()
    if actual != topic_id:
        raise Unavailable(f"{name}: the command topic has been made again: {actual}, not {topic_id}")


def first_commit(
    old: Commit | None,
    name: str,
    span: LogSpan,
    topic_id: str,
    ends: Mapping[int, int],
    owner: str,
    inherited: Mapping[int, SliceHead],
) -> Commit:
    """The commit that begins an epoch, behind the head `old`, where the slices of the command topic `topic_id` end at
    the offsets `ends`. Without a head the log begins, with what it has `inherited` of its slices."""
    if old is None:
        after = span.begins_after
        old = Commit(
            log=name,
            nr=after,
            epoch=0,
            owner=owner,
            topic_id=topic_id,
            slices={slice: inherited.get(slice, SliceHead()) for slice in span.slices},
            derived_nr=after,
            recorded_at=now(),
        )
    slices = {slice: old.slices.get(slice, SliceHead()) for slice in span.slices}
    if old.topic_id != topic_id:
        slices = _from_the_beginning(name, slices)
    elif lost := _lost(old.slices, ends):
        slices |= _without_lost(name, lost, ends)
    return replace(
        old,
        nr=old.nr + 1,
        epoch=old.epoch + 1,
        owner=owner,
        topic_id=topic_id,
        slices=slices,
        recorded_at=now(),
        events=(),
    )


def _lost(covered: Mapping[int, SliceHead], ends: Mapping[int, int]) -> dict[int, SliceHead]:
    """The slices that end before an offset which is covered."""
    return {slice: head for slice, head in covered.items() if slice in ends and ends[slice] <= head.offset}


def _from_the_beginning(name: str, slices: Mapping[int, SliceHead]) -> dict[int, SliceHead]:
    since = {slice: head.offset for slice, head in slices.items() if head.offset != NOTHING_CONSUMED}
    if since:
        text = "%s: the command topic was deleted and made again since %s: starting at its beginning"
        warn(log, "topic-made-again", name, text, name, _places(since))
    return {slice: replace(head, offset=NOTHING_CONSUMED) for slice, head in slices.items()}


def _without_lost(name: str, lost: Mapping[int, SliceHead], ends: Mapping[int, int]) -> dict[int, SliceHead]:
    # What is left of these slices is done; new commands get offsets that were given out before.
    say_error(
        log,
        "commands-lost",
        name,
        "%s: Kafka has lost commands that it had acknowledged: the journal covers %s, the topic ends before %s: going "
        "on from there. Whoever got no reply sends again; look at the brokers",
        name,
        _places({slice: head.offset for slice, head in lost.items()}),
        _places({slice: ends[slice] for slice in lost}),
    )
    return {slice: replace(head, offset=ends[slice] - 1) for slice, head in lost.items()}


def _places(offsets: Mapping[int, int]) -> str:
    return ", ".join(f"offset {offset} of partition {slice}" for slice, offset in sorted(offsets.items()))
