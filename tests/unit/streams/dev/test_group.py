"""Rounds of a consumer group: nobody gets a share before all have joined, and who is silent is out."""

from __future__ import annotations

import asyncio
import time

import pytest

from streams.dev.broker.group import (
    ILLEGAL_GENERATION,
    INCONSISTENT_PROTOCOL,
    REBALANCING,
    UNKNOWN_MEMBER,
    Group,
    Joined,
    Joining,
    Refused,
    State,
)


def says(*protocols: str, session: float = 10.0, rebalance: float = 60.0) -> Joining:
    """What a member says, which knows these protocols."""
    names = protocols or ("range",)
    return Joining("client", "/127.0.0.1", session, rebalance, "consumer", {name: name.encode() for name in names})


async def started(group: Group, *protocols: str) -> tuple[Joined, bytes]:
    """The only member of a group, which shares out."""
    joined = await group.join("", says(*protocols))
    return joined, await group.sync(joined.member, joined.generation, {joined.member: b"all"})


async def turn() -> None:
    """Lets tasks run that can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_alone() -> None:
    """One member leads, is told of itself, and gets what it assigns to itself."""
    group = Group("g")
    joined, assignment = await started(group)
    assert (joined.member, 1, "range", {joined.member: b"range"}) == (
        joined.leader, joined.generation, joined.protocol, joined.members,
    )  # fmt: skip
    assert (b"all", State.STABLE) == (assignment, group.state)
    group.heartbeat(joined.member, 1)


async def test_a_second_member_begins_a_round() -> None:
    """The first one hears of it by its heartbeat; when it has joined again, the leader alone is told of both."""
    group = Group("g")
    first, _ = await started(group)
    coming = asyncio.create_task(group.join("", says()))
    await turn()
    with pytest.raises(Refused) as refused:
        group.heartbeat(first.member, 1)
    assert (REBALANCING, State.PREPARING, False) == (refused.value.code, group.state, coming.done())
    again = await group.join(first.member, says())
    second = await coming
    assert (2, 2, {first.member, second.member}, {}) == (
        again.generation, second.generation, set(again.members), second.members,
    )  # fmt: skip
    follower = asyncio.create_task(group.sync(second.member, 2, {}))
    await turn()
    assert not follower.done()
    assert b"one" == await group.sync(first.member, 2, {first.member: b"one", second.member: b"two"})
    assert b"two" == await follower


async def test_who_does_not_join_again() -> None:
    """It is out when the round has lasted as long as it said it may, and the others go on."""
    group = Group("g")
    first, _ = await started(group)
    coming = asyncio.create_task(group.join("", says()))
    await turn()
    group.expire(time.monotonic() + 5.0)
    assert not coming.done()
    group.expire(time.monotonic() + 61.0)
    assert {(await coming).member} == set(group.members)
    with pytest.raises(Refused) as refused:
        group.heartbeat(first.member, 1)
    assert UNKNOWN_MEMBER == refused.value.code


async def test_who_is_silent() -> None:
    """It is out after its session; who waits for others is not silent; and nobody was while the broker stood still."""
    group = Group("g")
    joined, _ = await started(group)
    group.forgive(20.0)
    group.expire(time.monotonic() + 25.0)
    assert {joined.member} == set(group.members)
    waits = asyncio.create_task(group.join("", says()))
    await turn()
    group.expire(time.monotonic() + 35.0)
    await turn()
    assert {waits.result().member} == set(group.members)


async def test_the_last_one_leaves() -> None:
    """The group is empty then, and not before."""
    group = Group("g")
    joined, _ = await started(group)
    group.leave(joined.member)
    assert (State.EMPTY, {}) == (group.state, group.members)
    with pytest.raises(Refused):
        group.leave(joined.member)


async def test_of_another_generation() -> None:
    """What a member does of a round that is over is refused, its commits too; a stranger commits only where nobody
    is."""
    group = Group("g")
    group.may_commit("", -1)
    joined, _ = await started(group)
    group.may_commit(joined.member, 1)
    for member, generation, code in ((joined.member, 7, ILLEGAL_GENERATION), ("", -1, UNKNOWN_MEMBER)):
        with pytest.raises(Refused) as refused:
            group.may_commit(member, generation)
        assert code == refused.value.code
    with pytest.raises(Refused) as refused:
        await group.sync(joined.member, 7, {})
    assert ILLEGAL_GENERATION == refused.value.code


async def test_an_answer_that_was_lost() -> None:
    """A follower that asks again gets the same round; a leader that joins again wants another one."""
    group = Group("g")
    first, _ = await started(group)
    coming = asyncio.create_task(group.join("", says()))
    await turn()
    await group.join(first.member, says())
    second = await coming
    share = {first.member: b"one", second.member: b"two"}
    follower = asyncio.create_task(group.sync(second.member, 2, {}))
    await turn()
    await group.sync(first.member, 2, share)
    await follower
    assert 2 == (await group.join(second.member, says())).generation
    assert b"two" == await group.sync(second.member, 2, {})
    leader = asyncio.create_task(group.join(first.member, says()))
    await turn()
    assert (State.PREPARING, False) == (group.state, leader.done())
    assert 3 == (await group.join(second.member, says())).generation == (await leader).generation


async def test_a_protocol_for_all() -> None:
    """The one that most like best, of those that all know; who knows none of them is refused."""
    group = Group("g")
    first, _ = await started(group, "sticky", "range")
    with pytest.raises(Refused) as refused:
        await group.join("", says("other"))
    assert INCONSISTENT_PROTOCOL == refused.value.code
    coming = asyncio.create_task(group.join("", says("range")))
    await turn()
    assert "range" == (await group.join(first.member, says("sticky", "range"))).protocol == (await coming).protocol
