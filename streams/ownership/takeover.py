"""How a log changes hands: an empty commit with the next epoch, which fences the former owner."""

from __future__ import annotations

import logging

from msgspec.structs import replace

from streams.journal.port import NOTHING_CONSUMED, Commit, Fenced, Log, Unavailable
from streams.kafka.command_partition import CommandPartition
from streams.moments import now

log = logging.getLogger(__name__)


async def take_over(
    journal: Log, commands: CommandPartition, stream: str, topic_id: str, owner: str
) -> tuple[Commit | None, Commit]:
    """Make `owner` the owner of a stream. Returns the former head, and the commit that begins the new epoch.

    Reads the head, appends at the next number, and starts again when another owner was faster. Raises `Unavailable`.
    """
    while True:
        old, end = await journal.head(stream), await commands.end()
        if old is not None and (old.topic_id != topic_id or end <= old.offset):
            await check_topic(commands, stream, topic_id)
        if old is None:
            await commands.check_unpublished(stream)
        commit = first_commit(old, stream, topic_id, end, owner)
        try:
            await journal.append(commit)
            return old, commit
        except Fenced:
            continue


async def check_topic(commands: CommandPartition, stream: str, topic_id: str) -> None:
    """Raise `Unavailable` when the command topic has another id: it has been made again since.

    Topic ids have no order, but an id that is asked for after a read of the log, or of the topic, is not an older one.
    """
    actual = await commands.topic_id()
    if actual != topic_id:
        raise Unavailable(f"{stream}: the command topic has been made again: {actual}, not {topic_id}")


def first_commit(old: Commit | None, stream: str, topic_id: str, end: int, owner: str) -> Commit:
    """The commit that begins an epoch, where the command topic `topic_id` ends at offset `end`."""
    if old is None:
        return Commit(
            stream=stream,
            nr=1,
            epoch=1,
            owner=owner,
            topic_id=topic_id,
            offset=NOTHING_CONSUMED,
            derived_nr=0,
            eventful_nr=0,
            recorded_at=now(),
        )
    offset = old.offset
    if old.topic_id != topic_id:
        if offset != NOTHING_CONSUMED:
            log.warning(
                "%s: the command topic was deleted and made again since offset %d: starting at its beginning",
                stream,
                offset,
            )
        offset = NOTHING_CONSUMED
    elif offset >= end:
        # What is left of the topic is done; new commands get offsets that were given out before.
        log.error(
            "%s: Kafka has lost commands that it had acknowledged: the journal covers offset %d, the topic ends before "
            "%d: going on from there. Whoever got no reply sends again; look at the brokers",
            stream,
            offset,
            end,
        )
        offset = end - 1
    return replace(
        old,
        nr=old.nr + 1,
        epoch=old.epoch + 1,
        owner=owner,
        topic_id=topic_id,
        offset=offset,
        recorded_at=now(),
        events=(),
    )
