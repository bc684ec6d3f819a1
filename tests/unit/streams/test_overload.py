"""A journal that answers slowly or not at all, and commands that are too much: all is bounded, nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from streams.journal.commit_codec import encode_payload
from streams.journal.port import Commit, Unavailable
from streams.limits import Limits
from tests.unit.ledgers import Make

PAD = "x" * 1_000


async def stands_still(value: Callable[[], int]) -> int:
    """What `value` comes to when nothing can change it any more: every task has had its turn many times."""
    last = -1
    async with asyncio.timeout(10):
        while (now := value()) != last:
            last = now
            await asyncio.sleep(0.05)
    return last


@pytest.mark.parametrize(
    ("limits", "most"),
    [
        pytest.param(Limits(group_commands=20, group_linger=0), 2 * 20, id="by number"),
        pytest.param(
            Limits(group_commands=10_000, group_linger=0, queue_bytes=20_000), 2 * (20_000 // 1_000 + 1), id="by bytes"
        ),
    ],
)
async def test_journal_that_does_not_answer(make: Make, limits: Limits, most: int) -> None:
    """While the journal is down the consumer is held up: one group and one queue are taken, and no message more. When
    it answers again, all that was sent is done, once and in order."""
    it = await make(limits)
    down = True

    async def moody(commit: Commit) -> None:
        if down:
            raise Unavailable("down")

    it.journal.on_append = moody
    for amount in range(300):
        it.write("a", "Post", amount=amount, pad=PAD)
    feeding = asyncio.create_task(it.feed())
    assert 0 < await stands_still(lambda: it.owner.next_offsets[0]) <= most
    assert not feeding.done()
    assert 0 == it.owner.covered[0]
    down = False
    await feeding
    await it.settled()
    assert tuple(range(300)) == await it.posted("a")
    assert 300 == it.owner.covered[0]


async def test_slow_journal(make: Make) -> None:
    """With a journal that takes its time the queue never exceeds its bounds, and everything is done."""
    it = await make(Limits(group_commands=20, group_linger=0, queue_bytes=10_000, group_bytes=50))
    fullest = 0

    async def slow(commit: Commit) -> None:
        nonlocal fullest
        await asyncio.sleep(0.002)
        fullest = max(fullest, it.owner.queue.bytes)

    it.journal.on_append = slow
    for amount in range(200):
        it.write("a", "Post", amount=amount, pad=PAD)
    await it.settled()
    # The end of a group that did not fit into its commit comes back on top of a queue that has been filled meanwhile.
    assert 10_000 <= fullest <= 2 * (10_000 + 1_200)
    assert tuple(range(200)) == await it.posted("a")
    assert 0 == it.owner.queue.bytes


async def test_released_by_suspension(make: Make) -> None:
    """A consumer that is held up is let go when the owner is suspended, and what it brought is not lost."""
    it = await make(Limits(group_commands=5, group_linger=0))

    async def down(commit: Commit) -> None:
        raise Unavailable("down")

    it.journal.on_append = down
    for amount in range(30):
        it.write("a", "Post", amount=amount)
    feeding = asyncio.create_task(it.feed())
    await stands_still(lambda: it.owner.next_offsets[0])
    feeding.cancel()
    await it.crash()
    await it.settled()
    assert tuple(range(30)) == await it.posted("a")


@pytest.mark.parametrize(
    ("limits", "command", "error", "words"),
    [
        ({"command_bytes": 500}, ("Post", {"amount": 1, "pad": PAD}), "TooLarge", "more than 500"),
        ({"events_per_command": 3}, ("Burst", {"count": 4, "size": 1}), "TooManyEvents", "4 events, more than 3"),
        (
            {"event_bytes_per_command": 900},
            ("Burst", {"count": 2, "size": 500}),
            "TooLarge",
            "of events, more than 900",
        ),
    ],
)
async def test_limits_of_one_command(
    make: Make, limits: dict[str, int], command: tuple[str, Any], error: str, words: str
) -> None:
    """A command beyond a limit fails, says which and by how much, is kept, and has no effect; just within it works."""
    it = await make(Limits(group_linger=0, quarantine=True, **limits))
    id = it.write("a", command[0], **command[1])
    it.write("a", "Burst", "within", count=3, size=100)
    await it.settled()
    assert ([error], ["accepted"]) == (it.outbox.to(id), it.outbox.to("within"))
    assert words in it.outbox.letters[0][1].message
    assert 3 == (await it.loaded("a")).sequence


async def test_key_and_headers_count(make: Make) -> None:
    """The size of a command is that of its data, key and headers."""
    it = await make(Limits(group_linger=0, command_bytes=600))
    id = it.write("a" * 300, "Post", "i" * 300, amount=1)
    await it.settled()
    assert ["TooLarge"] == it.outbox.to(id)


async def test_deadline(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command past its deadline fails undecided; a repeat of one that was accepted in time gets its first reply."""
    it = await make(Limits(group_linger=0))
    it.mended = True
    decided: list[None] = []
    it.decided = lambda: decided.append(None)
    it.write("a", "PostBadly", "early", deadline="2999-01-01T00:00:00Z", amount=1)
    it.write("a", "PostBadly", "late", deadline="2011-01-01T00:00:00Z", amount=2)
    await it.settled()
    assert (1, ["DeadlinePassed"]) == (len(decided), it.outbox.to("late"))
    monkeypatch.setattr("streams.deciding.group_handler.now", lambda: datetime(3000, 1, 1, tzinfo=UTC))
    await it.crash()
    it.write("a", "PostBadly", "early", deadline="2999-01-01T00:00:00Z", amount=1)
    await it.settled()
    first, again = (reply for reply in it.outbox.replied if reply["command_id"] == "early")
    assert first == again
    assert (1,) == await it.posted("a")


async def test_group_is_bounded_by_what_it_writes(make: Make) -> None:
    """A commit takes no further command once it holds GROUP_BYTES of events: it exceeds that by one command at most."""
    it = await make(Limits(group_linger=0, group_bytes=2_000))
    for _ in range(10):
        it.write("a", "Burst", count=1, size=900)
    await it.settled()
    sizes = [sum(len(row.data) for row in commit.events) for commit in it.log]
    assert max(sizes) < 3_000
    assert 10 == sum(len(commit.events) for commit in it.log)


async def test_a_commit_is_bounded_whole(make: Make) -> None:
    """What counts is all that is kept, ids and notes too: commands without an event fill a commit as well."""
    it = await make(Limits(group_linger=0.01, group_bytes=5_000))
    sizes: list[int] = []

    async def measure(commit: Commit) -> None:
        sizes.append(len(encode_payload(commit.slices, commit.events)))

    it.journal.on_append = measure
    for number in range(60):
        it.write("a", "Nothing", f"{number:03}" * 150)
    await it.settled()
    assert 10 <= len(sizes) < 30
    assert max(sizes) < 5_000 + 1_000
