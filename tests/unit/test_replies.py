"""Who waits for a reply, and for how long."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from projections.command_log import CommandLog, Target
from projections.hops import NotNow
from projections.replies import Replies, TooMany
from streams.broker import Broker
from streams.messages import AggregateRef, Error, Reply, encode_reply

ORDER = Target("order", "7")


@pytest.fixture
def replies(tmp_path: Path) -> Replies:
    """Nothing is read; two may wait."""
    return Replies([], "gateway-replies", 4, Broker([], 4), CommandLog(lambda: tmp_path / "commands.sqlite"), 2)


async def test_as_many_as_may_wait(replies: Replies) -> None:
    """One more is refused, until another one waits no longer; for one command several may wait."""
    with replies.waiting_for("a"):
        with replies.waiting_for("a"), pytest.raises(TooMany, match="2 requests"), replies.waiting_for("b"):
            pass
        with replies.waiting_for("b") as reply:
            assert not reply.done()


async def test_who_asks_does_not_take_the_place_of_who_sends(replies: Replies) -> None:
    """As many as may ask what became of commands, and then commands are taken all the same; and the other way round."""
    with replies.waiting_for("a"), replies.waiting_for("a"):
        with replies.waiting_for("b", ORDER), replies.waiting_for("c", ORDER):
            for target in (None, ORDER):
                with pytest.raises(TooMany), replies.waiting_for("d", target):
                    pass
        with replies.waiting_for("b", ORDER):
            pass


async def test_a_reply_of_another_aggregate(replies: Replies) -> None:
    """Who has sent a command to one aggregate does not get the reply to another command with its id; who only asks
    does."""
    with replies.waiting_for("a", ORDER) as sent, replies.waiting_for("a") as asks:
        replies._take(record("a", "8"))
        assert (False, True) == (sent.done(), asks.done())
        replies._take(record("a", "7"))
        assert "7" == sent.result().aggregate.id  # type: ignore[union-attr]


async def test_a_refusal_of_another_command(replies: Replies) -> None:
    """That an id was used before is told to who waits, and is not what became of the first command with that id."""
    replies._commands.open("topic-1")
    with replies.waiting_for("a", ORDER) as reply:
        replies._take(record("a", "7"))
        replies._take(record("a", "7", "IdUsedBefore"))
        assert "accepted" == reply.result().status  # type: ignore[union-attr]
    with replies.waiting_for("a", ORDER) as reply:
        replies._take(record("a", "7", "IdUsedBefore"))
        assert "failed" == reply.result().status  # type: ignore[union-attr]
    known = replies.find("a")
    assert known is not None
    assert "accepted" == known.reply.status  # type: ignore[union-attr]


def record(id: str, order: str, error: str = "") -> Any:
    """A reply as it comes."""
    status: Any = "failed" if error else "accepted"
    told = Reply(id, status, AggregateRef("order", order, 1), error=Error(error, "..") if error else None)
    return SimpleNamespace(value=encode_reply(told), timestamp=1, topic="gateway-replies", partition=0, offset=0)


async def test_who_looks_for_a_command_when_the_worker_ends(replies: Replies) -> None:
    """He is told so at once."""
    replies._commands.open("topic-1")
    broker: Any = SimpleNamespace(end_offset=end_offset)
    replies._broker = broker
    finding = asyncio.create_task(replies.find_for_sure("a"))
    await asyncio.sleep(0.01)
    assert not finding.done()
    await replies.let_go()
    async with asyncio.timeout(5):
        with pytest.raises(NotNow, match="ends"):
            await finding


async def end_offset(topic: str, partition: int) -> int:
    """More than is read."""
    return 5


async def test_worker_ends(replies: Replies) -> None:
    """Who waits is let go without a reply, and so is who comes afterwards."""
    with replies.waiting_for("a") as early:
        await replies.let_go()
        with replies.waiting_for("b") as late:
            assert (None, None) == (early.result(), late.result())
