"""Which partitions a worker owns, and when an assignment is over."""

from __future__ import annotations

import asyncio
from typing import Any

from streams.journal import Unavailable
from streams.ownership import Ownership
from streams.topic_ids import Described


class Candidate:
    """An owner whose takeover waits for a word, and fails if it is a wrong one."""

    def __init__(self, partition: int, topic_id: str, word: asyncio.Future[bool]) -> None:
        self.partition, self.topic_id, self.healthy, self.next_offset = partition, topic_id, False, 7
        self._word = word

    async def take_over(self) -> None:
        self.healthy = await self._word
        if not self.healthy:
            raise Unavailable("no answer")

    def resume(self) -> None:
        pass

    async def suspend(self, seconds: float) -> None:
        pass

    async def close(self, why: str = "") -> None:
        pass


async def test_an_assignment_ends_with_its_last_takeover() -> None:
    """One that fails does not leave the others to go on behind its back: the next assignment would begin a second
    owner of the same partition, in the same worker and so with the same right to append."""
    words: dict[int, asyncio.Future[bool]] = {p: asyncio.get_running_loop().create_future() for p in (0, 1)}

    async def describe() -> Described:
        return Described("t", 2)

    def new_owner(partition: int, topic_id: str, count: int) -> Any:
        return Candidate(partition, topic_id, words[partition])

    ownership = Ownership(new_owner, describe, lambda: None)
    assigning = asyncio.create_task(ownership.assign({0, 1}))
    words[0].set_result(False)
    done, _ = await asyncio.wait({assigning}, timeout=0.1)
    assert not done
    words[1].set_result(True)
    assert {1: 7} == await assigning
    assert [1] == list(ownership.owners)
    assert not ownership.ready
    await ownership.close()
