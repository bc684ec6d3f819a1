"""Commands that make the domain raise: dead letters, and the quarantine of their aggregate."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from streams.journal import Commit, Unavailable
from streams.limits import Limits
from streams.quarantine import RELEASE
from streams.settings import Settings, SettingsError
from tests.unit.ledgers import Ledgers

ON = Limits(linger=0.001, quarantine=True)
PAST, FUTURE = "2011-01-01T00:00:00Z", "2999-01-01T00:00:00Z"

Make = Callable[[Limits], Any]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """Makes ledgers with the limits given, served by an owner."""
    made: list[Ledgers] = []

    async def ledgers(limits: Limits) -> Ledgers:
        made.append(Ledgers(limits))
        await made[-1].take_over()
        return made[-1]

    yield ledgers
    for ledgers_ in made:
        await ledgers_.close()


@pytest.fixture
async def it(make: Make) -> Ledgers:
    """Ledgers with quarantine."""
    ledgers: Ledgers = await make(ON)
    return ledgers


async def poisoned(it: Ledgers, *waiting: int, ledger: str = "a") -> None:
    """A ledger with 1 in it, in quarantine for `poison`, which posts 2; posts of `waiting` wait."""
    it.write(ledger, "Post", amount=1)
    it.write(ledger, "PostBadly", "poison", amount=2)
    for amount in waiting:
        it.write(ledger, "Post", f"w{amount}", amount=amount)
    await it.settled()


# -- without quarantine --------------------------------------------------------------------------------


async def test_raising_is_tried_again_then_kept_with_its_trace(make: Make) -> None:
    """A command that raises is tried DECIDE_ATTEMPTS times, kept with the end of its trace, answered, passed over."""
    it = await make(Limits(linger=0.001, attempts=3))
    tried: list[None] = []
    it.decided = lambda: tried.append(None)
    it.write("a", "Post", amount=1)
    id = it.write("a", "PostBadly", amount=2)
    it.write("a", "Post", amount=3)
    await it.settled()
    assert 3 == len(tried)
    [(envelope, failure)] = it.outbox.letters
    assert (1, "DomainError", "Bug: cannot post 2") == (envelope.offset, failure.type, failure.message)
    assert failure.trace.startswith("Traceback")
    assert "in decide\n    raise Bug(" in failure.trace.replace("      raise", "    raise")
    assert not failure.quarantines
    assert ["DomainError"] == it.outbox.to(id)
    assert (1, 3) == await it.posted("a")


async def test_trace_is_bounded(make: Make) -> None:
    """Of a long trace the end is kept, of a long message the beginning, in text that JSON can hold."""
    it = await make(Limits(linger=0.001))

    def raise_much() -> None:
        raise ValueError("\ud800" + "x" * 20_000)

    it.decided = raise_much
    id = it.write("a", "PostBadly", amount=2)
    await it.settled()
    [(_, failure)] = it.outbox.letters
    assert (8 * 1024, 1024) == (len(failure.trace), len(failure.message))
    assert failure.trace.endswith("xxx\n")
    assert ["DomainError"] == it.outbox.to(id)


async def test_what_passes_is_no_failure(it: Ledgers) -> None:
    """A command that raises twice and then does not is accepted as if nothing had been."""
    it.mended = True
    tries = iter([True, True, False])

    def moody() -> None:
        if next(tries):
            raise OSError("not now")

    it.decided = moody
    id = it.write("a", "PostBadly", amount=1)
    await it.settled()
    assert (["accepted"], []) == (it.outbox.to(id), it.outbox.letters)


async def test_aggregate_that_cannot_be_loaded(make: Make) -> None:
    """Commands of an aggregate whose events make `evolve` raise fail with the trace; mended, it works. Others flow."""
    it = await make(Limits(linger=0.001))
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


# -- into quarantine -----------------------------------------------------------------------------------


async def test_later_commands_wait_and_others_flow(it: Ledgers) -> None:
    """Behind the command that raised, those of its aggregate wait without a reply; others in the group do not."""
    it.write("b", "Post", "b1", amount=10)
    await poisoned(it, 3, 4)
    it.write("b", "Post", "b2", amount=11)
    await it.settled()
    assert ((1,), (10, 11)) == (await it.posted("a"), await it.posted("b"))
    assert ["w3", "w4"] == await it.waiting("a")
    assert (["DomainError"], [], ["accepted"]) == (it.outbox.to("poison"), it.outbox.to("w3"), it.outbox.to("b2"))
    assert it.outbox.letters[0][1].quarantines
    assert set(range(5)) <= it.acked


async def test_notes_are_no_events(it: Ledgers) -> None:
    """A commit with notes only is not eventful, and notes repeat the aggregate's sequence."""
    await poisoned(it)
    eventful = it.log[-1].eventful_nr
    it.write("a", "Post", "w3", amount=3)
    await it.settled()
    assert [("#parked", 1, False)] == [(row.type, row.sequence, row.is_event) for row in it.log[-1].events]
    assert eventful == it.log[-1].eventful_nr


async def test_first_command_of_an_aggregate(it: Ledgers) -> None:
    """A command that raises before there is any event quarantines its aggregate as well."""
    it.write("new", "PostBadly", "poison", amount=1)
    it.write("new", "Post", "w2", amount=2)
    await it.settled()
    assert ["w2"] == await it.waiting("new")
    it.mended = True
    it.again("poison")
    await it.settled()
    assert (1, 2) == await it.posted("new")


async def test_quarantine_survives_takeover(it: Ledgers) -> None:
    """A new owner, which loads the aggregate from its rows, lets the next command wait behind those that do."""
    await poisoned(it, 3, 4)
    await it.crash()
    it.write("a", "Post", "w5", amount=5)
    await it.settled()
    assert ["w3", "w4", "w5"] == await it.waiting("a")
    it.mended = True
    it.again("poison")
    await it.settled()
    assert (1, 2, 3, 4, 5) == await it.posted("a")


async def test_no_snapshot_in_quarantine(make: Make) -> None:
    """A snapshot does not hold a quarantine: none is taken in it, and the next one after it is usable."""
    it = await make(Limits(linger=0.001, quarantine=True, snapshot_every=2))
    for amount in range(5):
        it.write("a", "Post", amount=amount)
        await it.settled()
    before = await it.journal.snapshot("ledger", "a")
    it.write("a", "PostBadly", "poison", amount=5)
    for amount in range(6, 10):
        it.write("a", "Post", f"w{amount}", amount=amount)
        await it.settled()
    assert before == await it.journal.snapshot("ledger", "a")
    assert 4 == len(await it.waiting("a"))
    it.mended = True
    it.again("poison")
    await it.settled()
    for amount in (10, 11, 12):
        it.write("a", "Post", amount=amount)
        await it.settled()
    assert before is not None
    async with asyncio.timeout(5):
        while (after := await it.journal.snapshot("ledger", "a")) is None or after.sequence <= before.sequence:
            await asyncio.sleep(0.001)
    assert tuple(range(13)) == await it.posted("a")


def test_setting() -> None:
    """QUARANTINE is off unless it says on; anything else is refused by name."""
    found = [Settings.from_environment({"QUARANTINE": text}).quarantine for text in ("", "on", "off")]
    assert ["off", "on", "off"] == found
    with pytest.raises(SettingsError, match="QUARANTINE='yes'"):
        Settings.from_environment({"QUARANTINE": "yes"})


# -- out of quarantine ---------------------------------------------------------------------------------


async def test_retry_goes_first_then_those_that_wait(it: Ledgers) -> None:
    """Mended, the retried command is decided first, then the others in order; each has one reply, and none waits."""
    await poisoned(it, 3, 4)
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
    await poisoned(it, 3)
    it.again("poison")
    await it.settled()
    assert ["DomainError", "DomainError"] == it.outbox.to("poison")
    assert [True, True] == [failure.quarantines for _, failure in it.outbox.letters]
    assert ["w3"] == await it.waiting("a")


async def test_retry_of_another_waits(it: Ledgers) -> None:
    """A retried command that is not the poison command waits like any other, and so does a plain repeat of that one."""
    await poisoned(it, 3)
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
    await poisoned(it)
    it.mended = True
    it.again("poison")
    it.again("poison")
    await it.settled()
    assert ["DomainError", "accepted", "accepted"] == it.outbox.to("poison")
    assert (1, 2) == await it.posted("a")


async def test_release_goes_on_without_it(it: Ledgers) -> None:
    """A release gives up the poison command: those that wait go on. Repeated, it has the same reply and no effect."""
    await poisoned(it, 3, 4)
    it.write("a", RELEASE, "go")
    await it.settled()
    assert (1, 3, 4) == await it.posted("a")
    assert [["accepted"], ["accepted"]] == [it.outbox.to("go"), it.outbox.to("w4")]
    await poisoned(it, 5, ledger="a")
    it.write("a", RELEASE, "go")
    await it.settled()
    replies = [reply for reply in it.outbox.replied if reply["command_id"] == "go"]
    assert 2 == len(replies)
    assert replies[0] == replies[1]
    assert ["w5"] == await it.waiting("a")


async def test_release_names_the_command(it: Ledgers) -> None:
    """A release that names another command than the one of the quarantine is rejected, and says which it is."""
    await poisoned(it, 3)
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
    await poisoned(it, 3)
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
    await poisoned(it)
    it.write("a", "PostBadly", "second", amount=4)
    it.write("a", RELEASE, "go")
    await it.settled()
    quarantine = (await it.loaded("a")).quarantine
    assert quarantine is not None
    assert ("second", 0, "") == (quarantine.poison, len(quarantine.waiting), quarantine.released_by)


async def test_switched_off_with_some_in_quarantine(it: Ledgers) -> None:
    """QUARANTINE=off makes no new one, but those that there are hold until they are released, and then for good."""
    await poisoned(it, 3)
    it.write("a", "PostBadly", "second", amount=4)
    it.write("a", "Post", "w5", amount=5)
    await it.settled()
    it.limits = Limits(linger=0.001)
    await it.crash()
    it.write("a", "Post", "w6", amount=6)
    it.write("a", RELEASE, "go")
    await it.settled()
    assert (1, 3, 5, 6) == await it.posted("a")
    assert ["DomainError"] == it.outbox.to("second")
    assert [] == await it.waiting("a")


# -- duplicates, deadlines, bounds ---------------------------------------------------------------------


async def test_same_id_while_waiting(it: Ledgers) -> None:
    """A command that comes again while it waits has one effect, and both get the first reply."""
    await poisoned(it, 3)
    it.write("a", "Post", "w3", amount=3)
    it.mended = True
    it.again("poison")
    await it.settled()
    assert (1, 2, 3) == await it.posted("a")
    replies = [reply for reply in it.outbox.replied if reply["command_id"] == "w3"]
    assert 2 == len(replies)
    assert replies[0] == replies[1]
    await it.crash()
    it.write("a", "Post", "w3", amount=3)
    await it.settled()
    assert replies[0] == it.outbox.replied[-1]


async def test_accepted_before_is_answered_at_once(it: Ledgers) -> None:
    """A repeat of what was accepted before the quarantine gets its first reply and does not wait."""
    await poisoned(it)
    it.write("a", "Post", "c0", amount=1)
    await it.settled()
    assert ["accepted", "accepted"] == it.outbox.to("c0")
    assert [] == await it.waiting("a")


async def test_deadlines(it: Ledgers) -> None:
    """A deadline that has passed is refused at once; one that passes while it waits, when it is decided."""
    await poisoned(it)
    it.write("a", "Post", "late", deadline=PAST, amount=3)
    it.write("a", "Post", "in time", deadline=FUTURE, amount=4)
    await it.settled()
    assert (["DeadlinePassed"], []) == (it.outbox.to("late"), it.outbox.to("in time"))
    quarantine = (await it.loaded("a")).quarantine
    assert quarantine is not None
    kept = quarantine.waiting[0].message
    assert FUTURE.encode() == dict(kept.headers)["ce_deadline"]
    it.write("a", RELEASE, "go")
    await it.settled()
    assert (1, 4) == await it.posted("a")


async def test_deadline_passes_while_it_waits(it: Ledgers, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command whose deadline passed while it waited fails, and is kept with its own bytes and place."""
    await poisoned(it)
    it.write("a", "Post", "soon", deadline=FUTURE, amount=3)
    it.write("a", "Post", amount=4)
    await it.settled()
    monkeypatch.setattr("streams.owner.now", lambda: datetime(3000, 1, 1, tzinfo=UTC))
    it.mended = True
    it.again("poison")
    await it.settled()
    assert ["DeadlinePassed"] == it.outbox.to("soon")
    message, sent = it.outbox.letters[-1][0].message, it.topic[2]
    assert message is not None
    assert (2, sent.key, sent.value) == (message.offset, message.key, message.value)
    assert list(sent.headers) == list(message.headers)
    assert (1, 2, 4) == await it.posted("a")


@pytest.mark.parametrize("limits", [{"waiting": 3}, {"waiting_bytes": 400}])
async def test_no_more_can_wait(make: Make, limits: dict[str, int]) -> None:
    """Beyond the bounds a command fails, is kept, and is told what to do; retried later it works."""
    it = await make(Limits(linger=0.001, quarantine=True, **limits))
    await poisoned(it, 3, 4, 5, 6, 7)
    waiting = await it.waiting("a")
    assert ["w3", "w4", "w5"][: len(waiting)] == waiting
    assert 0 < len(waiting) < 5
    assert ["Quarantined"] == it.outbox.to("w7")
    assert "retry or drop" in it.outbox.replied[-1]["error"]["message"]
    assert not it.outbox.letters[-1][1].quarantines
    it.mended = True
    for id in ("poison", "w7"):
        it.again(id)
    await it.settled()
    assert ["Quarantined", "accepted"] == it.outbox.to("w7")


# -- releases over several commits ---------------------------------------------------------------------


async def test_release_over_several_commits(make: Make) -> None:
    """What does not fit into one commit goes on in the next; only the last one covers the message that asked for it."""
    it = await make(Limits(commands=4, linger=0.001, quarantine=True))
    await poisoned(it, *range(3, 13))
    first = len(it.log)
    it.mended = True
    it.again("poison")
    await it.settled()
    commits = it.log[first:]
    assert len(commits) >= 3
    assert [len(it.topic) - 2] * (len(commits) - 1) == [commit.offset for commit in commits[:-1]]
    assert len(it.topic) - 1 == commits[-1].offset
    assert tuple(range(1, 13)) == await it.posted("a")
    assert ["DomainError", "accepted"] == it.outbox.to("poison")
    assert "poison" == it.outbox.replied[-1]["command_id"]
    assert [["accepted"]] * 10 == [it.outbox.to(f"w{amount}") for amount in range(3, 13)]


@pytest.mark.parametrize("how", ["retry", "refused retry", "release"])
@pytest.mark.parametrize("commits", [0, 1, 2])
async def test_crash_in_a_release(make: Make, how: str, commits: int) -> None:
    """After a crash in the middle of a release the next owner goes on where the journal is: nothing twice, nothing left
    out, and whoever asked for it gets the answer of the first decision."""
    it = await make(Limits(commands=3, linger=0.001, quarantine=True))
    await poisoned(it, *range(3, 10))
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
    it = await make(Limits(commands=3, linger=0.001, quarantine=True))
    await poisoned(it, *range(3, 10))
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
    it = await make(Limits(commands=3, linger=0.001, quarantine=True))
    await poisoned(it, 3)
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
