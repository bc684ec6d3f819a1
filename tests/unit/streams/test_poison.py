"""Commands that make the domain raise: kept with their trace, and passed over."""

from __future__ import annotations

from typing import Any

import pytest

from aggregates.decider import Rejected
from streams.limits import Limits
from tests.unit.ledgers import Make


async def test_raising_is_kept_with_its_trace(make: Make) -> None:
    """A command that raises is decided once, kept with the end of its trace, answered, passed over."""
    it = await make(Limits(group_linger=0.001))
    tried: list[None] = []
    it.decided = lambda: tried.append(None)
    it.write("a", "Post", amount=1)
    id = it.write("a", "PostBadly", amount=2)
    it.write("a", "Post", amount=3)
    await it.settled()
    assert 1 == len(tried)
    [(envelope, failure)] = it.outbox.letters
    assert (1, "DomainError", "Bug: cannot post 2") == (envelope.offset, failure.type, failure.message)
    assert failure.trace.startswith("Traceback")
    assert "in decide\n    raise Bug(" in failure.trace
    assert not failure.quarantines
    assert ["DomainError"] == it.outbox.to(id)
    assert (1, 3) == await it.posted("a")


async def test_trace_is_bounded(make: Make) -> None:
    """Of a long trace the end is kept, of a long message the beginning, in text that JSON can hold."""
    it = await make(Limits(group_linger=0.001))

    def raise_much() -> None:
        raise ValueError("\ud800" + "x" * 20_000)

    it.decided = raise_much
    id = it.write("a", "PostBadly", amount=2)
    await it.settled()
    [(_, failure)] = it.outbox.letters
    assert (8 * 1024, 1024) == (len(failure.trace), len(failure.message))
    assert failure.trace.endswith("xxx\n")
    assert ["DomainError"] == it.outbox.to(id)


@pytest.mark.parametrize("fault", ["no text", "no UTF-8", "not begun"])
async def test_a_rejection_that_no_reply_can_hold(make: Make, fault: str) -> None:
    """It is a bug like another: the command fails, and those of its group are answered."""
    it = await make(Limits(group_linger=0.001))

    def reject() -> None:
        message: Any = {"no text": ValueError("none left"), "no UTF-8": "\ud800", "not begun": ""}[fault]
        error = Rejected("Refused", message)
        if fault == "not begun":
            del error.type
        raise error

    it.decided = reject
    failing, other = it.write("a", "PostBadly", amount=2), it.write("b", "Refuse")
    await it.settled()
    assert (["DomainError"], ["Refused"]) == (it.outbox.to(failing), it.outbox.to(other))


async def test_aggregate_that_cannot_be_loaded(make: Make) -> None:
    """Commands of an aggregate whose events make `evolve` raise fail with the trace; mended, it works. Others flow."""
    it = await make(Limits(group_linger=0.001))
    it.write("a", "Post", amount=1)
    await it.settled()

    def broken() -> None:
        raise KeyError("no such field")

    it.evolving = broken
    await it.crash()
    failing, other = it.write("a", "Post", amount=2), it.write("b", "Refuse")
    await it.settled()
    assert (["DomainError"], ["Refused"]) == (it.outbox.to(failing), it.outbox.to(other))
    assert "in broken" in it.outbox.letters[-1][1].trace
    it.evolving = lambda: None
    it.write("a", "Post", amount=3)
    await it.settled()
    assert (1, 3) == await it.posted("a")
