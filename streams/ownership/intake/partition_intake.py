"""The way of one slice's commands into the queue of its owner: in the order of their offsets, none left out."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from itertools import islice

from streams.deciding.messages import Message
from streams.journal.port import Unavailable
from streams.kafka.command_slices import CommandSlices
from streams.notices import say_error
from streams.ownership.intake.command_queue import CommandQueue

log = logging.getLogger(__name__)

MESSAGES_A_TURN = 100
"""The most that one slice queues while others wait."""


class CommandsMissing(Unavailable):
    """Commands were lost, on the way from Kafka or by Kafka: the log is to be taken over anew."""


class PartitionIntake:
    """Takes the messages of one partition, the slice, from `next_offset` on. An owner has one for each slice of its
    log; `name` is that of the log."""

    def __init__(self, name: str, slice: int, source: CommandSlices, queue: CommandQueue) -> None:
        self.next_offset = 0
        """The offset of the command that is due."""
        self._name = name
        self._slice = slice
        self._source = source
        self._queue = queue
        self._went_back = False
        self._is_held = False
        self._holds = 0

    @property
    def _permit(self) -> tuple[object, int] | None:
        """Another one each time that messages are taken again; None while none are."""
        opening = self._queue.opening
        return None if opening is None or self._is_held else (opening, self._holds)

    def open(self, offset: int) -> None:
        """Take messages from this offset on, when the queue is open."""
        self.next_offset, self._is_held = offset, False

    def hold(self, offset: int) -> None:
        """Take none until `open` is called: those from this offset on, which is due then, come again."""
        self.next_offset, self._is_held = offset, True
        self._holds += 1
        self._queue.forget(self._slice)

    async def deliver(self, messages: Iterable[Message]) -> None:
        """Queue messages that one fetch has read; waits while the queue is full. Raises `CommandsMissing`.

        Messages seen before are left out. Between the messages of one fetch Kafka itself has nothing (transaction
        markers, retention); only before the first one messages may have been lost on the way. The messages that are
        left when the queue is closed, or the slice held, are left out: whoever opens it again has the consumer go back.
        """
        permit = self._permit
        if permit is None:
            return
        rest, is_first = iter(messages), True
        while turn := list(islice(rest, MESSAGES_A_TURN)):
            if is_first and turn[0].offset > self.next_offset:
                await self._check_gap(turn[0].offset)
            is_first = False
            async with self._queue.turn:
                for message in turn:
                    if self._queue.is_full:
                        await self._queue.room()
                    if self._permit != permit:
                        return
                    if message.offset >= self.next_offset:
                        self.next_offset = message.offset + 1
                        self._queue.put(message)

    async def _check_gap(self, offset: int) -> None:
        permit, due = self._permit, self.next_offset
        is_empty = await self._source.gap_is_empty(self._slice, due, offset)
        if not is_empty and self._permit == permit:
            came = f"offset {offset} of partition {self._slice} came where {due} was due"
            raise CommandsMissing(f"{came}: reading again from there")

    def went_back(self) -> None:
        """The consumer has started over by itself, as it does when Kafka no longer has the offset that is due."""
        self._went_back = True
        self._queue.wake()

    async def check_end(self) -> None:
        """After the consumer `went_back`: raise `CommandsMissing` where the partition ends before the offset due."""
        if not self._went_back:
            return
        due = self.next_offset
        try:
            end = (await self._source.ends()).get(self._slice)
        except Unavailable:
            end = None
        if end is None:
            return  # the next group looks again, or the consumer, which says once a second that it went back
        self._went_back = False
        if not self._queue.is_open:
            return
        if end < due:
            ends = f"partition {self._slice} of the command topic ends before offset {end}"
            raise CommandsMissing(f"{ends}, and {due} was due: Kafka has lost commands")
        say_error(
            log,
            "commands-lost",
            self._name,
            "%s: Kafka had lost commands of partition %d before offset %d, and new ones have taken their places: those "
            "are skipped. Whoever got no reply sends again; look at the brokers",
            self._name,
            self._slice,
            due,
        )
