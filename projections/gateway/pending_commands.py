"""The commands of this worker without a reply: how many there are of each aggregate type, and which.

A command takes one of the slots of its type from being sent until its reply. A reply may be lost, as when the owner
dies between its commit and the reply: then the slot is free when the log is past the command, as no reply comes any
more.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping

import msgspec

from projections.gateway.command_records import SentCommand, is_reply_to
from projections.publishing.type_logs import TypeLogs
from streams.deciding.messages import Reply
from streams.journal.port import Unavailable

log = logging.getLogger(__name__)

LOOK_SECONDS = 10.0
"""The log is asked this often about commands that are older than this. A reply comes long before the second look."""


class PendingCommands:
    """Each command counts once, from the first record or request with its id until its reply, or for a day."""

    def __init__(self) -> None:
        self._commands: dict[str, tuple[SentCommand, int]] = {}
        self._count: Counter[str] = Counter()

    def __getitem__(self, type: str) -> int:
        return self._count[type]

    def __contains__(self, id: str) -> bool:
        return id in self._commands

    def sent(self, id: str) -> SentCommand | None:
        """The command without a reply that was sent first with this id."""
        return self._commands[id][0] if id in self._commands else None

    def add(self, sent: SentCommand, at: int) -> bool:
        """A command was sent; `at` in milliseconds, and about in order. False when it counts already."""
        id = sent.command_id
        if (known := self._commands.get(id)) is not None:
            if known[0].fingerprint == sent.fingerprint and known[0].place.offset < sent.place.offset:
                self._commands[id] = (msgspec.structs.replace(known[0], place=sent.place), known[1])
            return False
        self._commands[id] = (sent, at)
        self._count[sent.aggregate.type] += 1
        return True

    def answered(self, reply: Reply) -> None:
        """A command has its reply; one to another command with its id frees nothing."""
        sent = self.sent(reply.command_id)
        if sent is not None and is_reply_to(reply, sent.aggregate, sent.command):
            self.remove(sent.command_id)

    def remove(self, id: str) -> None:
        """Count a command no longer: its reply is lost, or it was not sent after all."""
        if (command := self._commands.pop(id, None)) is not None:
            self._count[command[0].aggregate.type] -= 1

    def keep(self, is_kept: Callable[[str], bool]) -> None:
        """Count those commands alone whose ids are kept."""
        for id in [id for id in self._commands if not is_kept(id)]:
            self.remove(id)

    def remove_before(self, at: int) -> None:
        """Count no longer the commands that were sent before a time."""
        while self._commands:
            id, (_, sent_at) = next(iter(self._commands.items()))
            if sent_at >= at:
                return
            self.remove(id)

    def sent_before(self, at: int) -> Iterator[SentCommand]:
        """The commands that were sent before a time, and that Kafka has."""
        for sent, sent_at in self._commands.values():
            if sent_at >= at:
                return
            if sent.place.offset >= 0:
                yield sent


class LostReplies:
    """Frees the slots of commands whose replies are lost, as the `logs` of their types tell."""

    def __init__(self, pending: PendingCommands, logs: Mapping[str, TypeLogs]) -> None:
        self._pending = pending
        self._logs = logs
        self._past: set[tuple[str, int]] = set()
        """Id and offset of the commands that the log was past at the last look."""

    async def look(self, before: int) -> None:
        """Free the slots of commands that were sent before a time (in milliseconds), and that the log is past, at the
        look before this one too."""
        by_slice: defaultdict[tuple[str, int], list[SentCommand]] = defaultdict(list)
        for sent in self._pending.sent_before(before):
            by_slice[sent.aggregate.type, sent.place.partition].append(sent)
        lists = await asyncio.gather(*(self._past_of(*slice, commands) for slice, commands in by_slice.items()))
        past = {(sent.command_id, sent.place.offset) for commands in lists for sent in commands}
        lost = past & self._past
        for id, _ in lost:
            self._pending.remove(id)
        if lost:
            log.warning("%d commands have been processed without a reply coming: they do not count any more", len(lost))
        self._past = past - lost

    async def _past_of(self, type: str, slice: int, commands: Collection[SentCommand]) -> list[SentCommand]:
        if (logs := self._logs.get(type)) is None:
            return []
        try:
            _, head = await logs.of(slice).head()
        except Unavailable:
            return []
        return [sent for sent in commands if sent.place.offset <= head.offset]
