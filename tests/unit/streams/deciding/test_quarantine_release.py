"""Out of quarantine: retry, release, in order, over several commits, and over a crash."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from streams.deciding.orders import RELEASE
from streams.journal.port import Commit, Unavailable
from streams.limits import Limits
from tests.unit.ledgers import Ledgers, Make

ON = Limits(group_linger=0.001, quarantine=True)


@pytest.fixture
async def it(make: Make) -> Ledgers:
    """Ledgers with quarantine."""
    return await make(ON)


async def test_retry_goes_first_then_those_that_wait(it: Ledgers) -> None:
    """Mended, the retried command is decided first, then the others in order; each has one reply, and none waits."""
    await it.poisoned(3, 4)
    it.write("a", "Refuse", "no")
    it.write("a", "Nothing", "nothing")
    it.mended = True
    it.again("poison")
    it.write("a", "Post", amount=5)
    await it.settled()
    assert (1, 2, 3, 4, 5) == await it.posted("a")
    assert ["DomainError", "accepted"] == it.outbox.to("poison")
    assert ["accepted"] == it.outbox.to("w3") == it.outbox.to("w4") == it.outbox.to("nothing")
    assert ["Refused"] == it.outbox.to("no")
    assert [] == await it.waiting("a")
    rows = await it.journal.events("ledger", "a")
    assert [1, 2, 3, 4, 5] == [row.event.sequence for row in rows if row.event.is_event]


async def test_retry_before_it_is_mended(it: Ledgers) -> None:
    """A retry that raises again is one more dead letter, and nothing else changes."""
    await it.poisoned(3)
    it.again("poison")
    await it.settled()
    assert ["DomainError", "DomainError"] == it.outbox.to("poison")
    assert [True, True] == [failure.quarantines for _, failure in it.outbox.letters]
    assert ["w3"] == await it.waiting("a")


async def test_retry_of_another_waits(it: Ledgers) -> None:
    """A retried command that is not the poison command waits like any other, and so does a plain repeat of that one."""
    await it.poisoned(3)
    it.write("a", "Post", "other", retry=True, amount=4)
    it.write("a", "PostBadly", "poison", amount=2)
    await it.settled()
    assert ["w3", "other", "poison"] == await it.waiting("a")
    it.mended = True
    it.again("poison")
    await it.settled()
    assert (1, 2, 3, 4) == await it.posted("a")
    assert ["DomainError", "accepted", "accepted"] == it.outbox.to("poison")


async def test_retry_without_quarantine(it: Ledgers) -> None:
    """A retry when there is no quarantine (any more) is decided like any command."""
    await it.poisoned()
    it.mended = True
    it.again("poison")
    it.again("poison")
    await it.settled()
    assert ["DomainError", "accepted", "accepted"] == it.outbox.to("poison")
    assert (1, 2) == await it.posted("a")


async def test_release_goes_on_without_it(it: Ledgers) -> None:
    """A release gives up the poison command: those that wait go on. Repeated, it has the same reply and no effect."""
    await it.poisoned(3, 4)
    it.write("a", RELEASE, "go")
    await it.settled()
    assert (1, 3, 4) == await it.posted("a")
    assert [["accepted"], ["accepted"]] == [it.outbox.to("go"), it.outbox.to("w4")]
    await it.poisoned(5, ledger="a")
    it.write("a", RELEASE, "go")
    await it.settled()
    replies = [reply for reply in it.outbox.replied if reply["command_id"] == "go"]
    assert 2 == len(replies)
    assert replies[0] == replies[1]
    assert ["w5"] == await it.waiting("a")


async def test_release_names_the_command(it: Ledgers) -> None:
    """A release that names another command than the one of the quarantine is rejected, and says which it is."""
    await it.poisoned(3)
    it.write("a", RELEASE, "wrong", command_id="c0")
    await it.settled()
    assert ["NotQuarantined"] == it.outbox.to("wrong")
    assert "poison" in it.outbox.replied[-1]["error"]["message"]
    it.write("a", RELEASE, "right", command_id="poison")
    await it.settled()
    assert ["accepted"] == it.outbox.to("right")
    assert (1, 3) == await it.posted("a")


@pytest.mark.parametrize(
    ("type", "data", "error"),
    [
        (RELEASE, {}, "NotQuarantined"),
        (RELEASE, {"command_id": 7}, "Unreadable"),
        ("#explode", {}, "UnknownCommand"),
        ("#parked", {}, "UnknownCommand"),
    ],
)
async def test_other_control_commands(it: Ledgers, type: str, data: Any, error: str) -> None:
    """A control command that makes no sense is answered, and changes nothing."""
    id = it.write("a", type, **data)
    it.write("a", "Post", amount=1)
    await it.settled()
    assert [error] == it.outbox.to(id)
    assert (1,) == await it.posted("a")


async def test_raises_again_in_the_middle(it: Ledgers) -> None:
    """One that waited and raises quarantines the aggregate again: those before it are done, those behind it wait on."""
    await it.poisoned(3)
    it.write("a", "PostBadly", "second", amount=4)
    it.write("a", "Post", "w5", amount=5)
    it.write("a", RELEASE, "go")
    await it.settled()
    assert (1, 3) == await it.posted("a")
    assert ["w5"] == await it.waiting("a")
    assert (["accepted"], ["DomainError"]) == (it.outbox.to("go"), it.outbox.to("second"))
    await it.crash()
    it.mended = True
    it.again("second")
    await it.settled()
    assert (1, 3, 4, 5) == await it.posted("a")


async def test_last_one_raises_again(it: Ledgers) -> None:
    """One that waited alone and raises is in quarantine with nobody behind it."""
    await it.poisoned()
    it.write("a", "PostBadly", "second", amount=4)
    it.write("a", RELEASE, "go")
    await it.settled()
    quarantine = (await it.loaded("a")).quarantine
    assert quarantine is not None
    assert ("second", 0, "") == (quarantine.poison, len(quarantine.waiting), quarantine.released_by)


async def test_switched_off_with_some_in_quarantine(it: Ledgers) -> None:
    """QUARANTINE=off makes no new one, but those that there are hold until they are released, and then for good."""
    await it.poisoned(3)
    it.write("a", "PostBadly", "second", amount=4)
    it.write("a", "Post", "w5", amount=5)
    await it.settled()
    it.limits = Limits(group_linger=0.001)
    await it.crash()
    it.write("a", "Post", "w6", amount=6)
    it.write("a", RELEASE, "go")
    await it.settled()
    assert (1, 3, 5, 6) == await it.posted("a")
    assert ["DomainError"] == it.outbox.to("second")
    assert [] == await it.waiting("a")


async def test_release_over_several_commits(make: Make) -> None:
    """What does not fit into one commit goes on in the next; only the last one covers the message that asked for it."""
    it = await make(Limits(group_commands=4, group_linger=0.001, quarantine=True))
    await it.poisoned(*range(3, 13))
    first = len(it.log)
    it.mended = True
    it.again("poison")
    await it.settled()
    commits = it.log[first:]
    assert len(commits) >= 3
    *before, last = [commit.slices[0].offset for commit in commits]
    assert [len(it.topic) - 2] * len(before) == before
    assert len(it.topic) - 1 == last
    assert tuple(range(1, 13)) == await it.posted("a")
    assert ["DomainError", "accepted"] == it.outbox.to("poison")
    assert "poison" == it.outbox.replied[-1]["command_id"]
    assert [["accepted"]] * 10 == [it.outbox.to(f"w{amount}") for amount in range(3, 13)]


@pytest.mark.parametrize("how", ["retry", "refused retry", "release"])
@pytest.mark.parametrize("commits", [0, 1, 2])
async def test_crash_in_a_release(make: Make, how: str, commits: int) -> None:
    """After a crash in the middle of a release the next owner goes on where the journal is: nothing twice, nothing left
    out, and whoever asked for it gets the answer of the first decision."""
    it = await make(Limits(group_commands=3, group_linger=0.001, quarantine=True))
    await it.poisoned(*range(3, 10))
    first = len(it.log)
    stuck = asyncio.Event()

    async def stops(commit: Commit) -> None:
        if commit.nr > first + commits:
            stuck.set()
            raise Unavailable("down")

    it.journal.on_append = stops
    it.mended = True
    asked = "go" if how == "release" else "poison"
    if how == "refused retry":
        it.become("poison", "Refuse")
    it.write("a", RELEASE, "go") if how == "release" else it.again("poison")
    await it.feed()
    await stuck.wait()
    assert first + commits == len(it.log)
    assert not it.outbox.to(asked)[1 if asked == "poison" else 0 :]
    await it.crash()
    await it.settled()
    amounts = (1, *(() if how != "retry" else (2,)), *range(3, 10))
    assert amounts == await it.posted("a")
    answer = {"retry": "accepted", "refused retry": "Refused", "release": "accepted"}[how]
    assert answer == it.outbox.to(asked)[-1]
    assert 1 == len(it.outbox.to(asked)) - (asked == "poison")
    assert [] == await it.waiting("a")


async def test_release_whose_message_is_gone(make: Make) -> None:
    """A release that was interrupted, and whose topic was made anew, goes on with the aggregate's next command."""
    it = await make(Limits(group_commands=3, group_linger=0.001, quarantine=True))
    await it.poisoned(*range(3, 10))
    stuck, first = asyncio.Event(), len(it.log)

    async def stops(commit: Commit) -> None:
        if commit.nr > first + 1:
            stuck.set()
            raise Unavailable("down")

    it.journal.on_append = stops
    it.write("a", RELEASE, "go")
    await it.feed()
    await stuck.wait()
    it.topic, it.topic_id = [], "t2"
    await it.crash()
    it.write("a", "Post", "new", amount=10)
    await it.settled()
    assert (1, *range(3, 11)) == await it.posted("a")
    assert (["accepted"], []) == (it.outbox.to("new"), it.outbox.to("go"))


async def test_last_step_answers_whoever_asked(make: Make) -> None:
    """The commit in which one that waited quarantines the aggregate again ends the release, however full it is."""
    it = await make(Limits(group_commands=3, group_linger=0.001, quarantine=True))
    await it.poisoned(3)
    it.write("a", "PostBadly", "second", amount=4)
    await it.settled()
    it.become("poison", "Refuse")
    it.again("poison")
    await it.settled()
    assert ["DomainError", "Refused"] == it.outbox.to("poison")
    assert (["DomainError"], []) == (it.outbox.to("second"), await it.waiting("a"))
    quarantine = (await it.loaded("a")).quarantine
    assert quarantine is not None
    assert "second" == quarantine.poison
