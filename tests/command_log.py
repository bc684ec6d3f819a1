"""The slices of a command topic as an owner looks at them."""

from __future__ import annotations

from collections.abc import Mapping

from streams.kafka.command_slices import CommandSlices


class Topic(CommandSlices):
    """Slices without gaps, all of a `length`, longer than anybody has read, unless told; some have `lengths` of their
    own."""

    length = 1_000_000

    def __init__(self, id: str = "t1", slices: int = 8) -> None:
        self.id = id
        self.lengths: dict[int, int] = {}
        self._slices = range(slices)

    async def ends(self) -> Mapping[int, int]:
        return {slice: self.lengths.get(slice, self.length) for slice in self._slices}

    async def topic_id(self) -> str:
        return self.id

    async def check_unpublished(self, type: str, after: int) -> None:
        pass

    async def gap_is_empty(self, slice: int, start: int, end: int) -> bool:
        return False
