"""Who waits for a reply, and for how long."""

from __future__ import annotations

from pathlib import Path

import pytest

from projections.command_log import CommandLog
from projections.replies import Replies, TooMany
from streams.broker import Broker


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


async def test_worker_ends(replies: Replies) -> None:
    """Who waits is let go without a reply, and so is who comes afterwards."""
    with replies.waiting_for("a") as early:
        replies.let_go()
        with replies.waiting_for("b") as late:
            assert (None, None) == (early.result(), late.result())
