"""A command partition as an owner looks at it."""

from __future__ import annotations

from streams.kafka.command_partition import CommandPartition


class Topic(CommandPartition):
    """The command partition as an owner looks at it: without gaps, and longer than anybody has read, unless told."""

    length = 1_000_000

    def __init__(self, id: str = "t1") -> None:
        self.id = id

    async def end(self) -> int:
        return self.length

    async def topic_id(self) -> str:
        return self.id

    async def check_unpublished(self, stream: str) -> None:
        pass

    async def gap_is_empty(self, start: int, end: int) -> bool:
        return False
