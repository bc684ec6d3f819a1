"""The reading of one log's commands, which may begin before its owner takes them.

While a log that goes on from others is taken over its slices stand still. From where they go on is known early, by the
seals of the others; and what the aggregates are that the next commands are for is final by then, since nobody seals a
log before all of it is derived. So both are there when the log is taken over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka.structs import ConsumerRecord

from streams.concurrency.tasks import cancel, end_all
from streams.deciding.messages import message_of
from streams.kafka.command_reader import KafkaCommandReader
from streams.ownership.owner import Owner

WARM_SECONDS = 1.0
"""So long, in seconds, may the aggregates of the first commands keep an owner from taking them: else it loads them."""


class CommandReading:
    """Brings what `reader` reads to `owner`, from `open` to `end`. It is the receiver of the reader."""

    def __init__(self, owner: Owner, reader: KafkaCommandReader) -> None:
        self._owner = owner
        self._reader = reader
        self._from: Mapping[int, int] = {}
        self._task: asyncio.Task[None] | None = None
        self._warming: list[asyncio.Task[None]] = []
        self._is_open = asyncio.Event()

    def begin(self, offsets: Mapping[int, int]) -> None:
        """Read from these offsets on, and have the aggregates loaded of the commands that are there."""
        self._from = offsets
        self._task = asyncio.create_task(self._read(), name=f"reading the commands of {self._owner.log}")

    async def settle(self) -> None:
        """The log is taken over: end the loading, for what a group changes is not to be loaded beside it. What was read
        from elsewhere than where the owner goes on, or loaded while another one had the log, does not count."""
        owner, task = self._owner, self._task
        if task is not None and not (owner.is_first and owner.covered == self._from):
            await self.end()
            owner.forget()
        while not all(task.done() for task in self._warming):
            await asyncio.wait(self._warming, timeout=WARM_SECONDS)
            await end_all(self._warming)

    def open(self) -> None:
        """Have the owner take commands, from now on."""
        self._owner.open(self._reader)
        self._is_open.set()
        if self._task is None:
            self.begin(self._owner.covered)

    async def end(self) -> None:
        """Read no more."""
        task, self._task = self._task, None
        if task is not None:
            await cancel(task)
        await end_all(self._warming)

    async def _read(self) -> None:
        try:
            await self._reader.run(self._from, self)
        except Exception as error:
            self._owner.lose(error)

    # -- the receiver ----------------------------------------------------------------------------------

    async def deliver(self, slice: int, records: Sequence[ConsumerRecord[Any, Any]]) -> None:
        if not self._is_open.is_set():
            self._warming.append(asyncio.create_task(self._owner.warm(map(message_of, records))))
            await self._is_open.wait()
        await self._owner.deliver(slice, map(message_of, records))

    def went_back(self, slice: int) -> None:
        if self._is_open.is_set():
            self._owner.went_back(slice)
