"""Into quarantine: what waits behind a command that made the domain raise, what does not, and how many can."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from streams.deciding.orders import RELEASE
from streams.limits import Limits
from streams.settings import Settings, SettingsError
from tests.unit.ledgers import Ledgers, Make

ON = Limits(group_linger=0.001, quarantine=True)


@pytest.fixture
async def it(make: Make) -> Ledgers:
    """Ledgers with quarantine."""
    return await make(ON)


PAST, FUTURE = "2011-01-01T00:00:00Z", "2999-01-01T00:00:00Z"


async def test_later_commands_wait_and_others_flow(it: Ledgers) -> None:
    """Behind the command that raised, those of its aggregate wait without a reply; others in the group do not."""
    it.write("b", "Post", "b1", amount=10)
    await it.poisoned(3, 4)
    it.write("b", "Post", "b2", amount=11)
    await it.settled()
    assert ((1,), (10, 11)) == (await it.posted("a"), await it.posted("b"))
    assert ["w3", "w4"] == await it.waiting("a")
    assert (["DomainError"], [], ["accepted"]) == (it.outbox.to("poison"), it.outbox.to("w3"), it.outbox.to("b2"))
    assert it.outbox.letters[0][1].quarantines
    assert 5 <= it.owner.covered[0]


async def test_notes_are_no_events(it: Ledgers) -> None:
    """A commit with notes only is not eventful, and notes repeat the aggregate's sequence."""
    await it.poisoned()
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
    await it.poisoned(3, 4)
    await it.crash()
    it.write("a", "Post", "w5", amount=5)
    await it.settled()
    assert ["w3", "w4", "w5"] == await it.waiting("a")
    it.mended = True
    it.again("poison")
    await it.settled()
    assert (1, 2, 3, 4, 5) == await it.posted("a")


async def test_quarantine_that_is_not_derived_yet(it: Ledgers) -> None:
    """While its notes are only in the log, an aggregate in quarantine stays in memory, however full that is."""
    it.cache = 1
    await it.crash()
    it.journal.derives = False
    it.write("a", "PostBadly", "poison", amount=2)
    await it.covered()
    for ledger in "bcde":
        it.write(ledger, "Nothing")
        await it.covered()
    it.write("a", "Post", "w3", amount=3)
    await it.covered()
    it.journal.derives = True
    await it.settled()
    assert ["w3"] == await it.waiting("a")


async def test_no_snapshot_in_quarantine(make: Make) -> None:
    """A snapshot does not hold a quarantine: none is taken in it, and the next one after it is usable."""
    it = await make(Limits(group_linger=0.001, quarantine=True, snapshot_every=2))
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
    assert [False, True, False] == found
    with pytest.raises(SettingsError, match="QUARANTINE='yes'"):
        Settings.from_environment({"QUARANTINE": "yes"})


async def test_same_id_while_waiting(it: Ledgers) -> None:
    """A command that comes again while it waits has one effect, and both get the first reply."""
    await it.poisoned(3)
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
    await it.poisoned()
    it.write("a", "Post", "c0", amount=1)
    await it.settled()
    assert ["accepted", "accepted"] == it.outbox.to("c0")
    assert [] == await it.waiting("a")


async def test_deadlines(it: Ledgers) -> None:
    """A deadline that has passed is refused at once; one that passes while it waits, when it is decided."""
    await it.poisoned()
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
    await it.poisoned()
    it.write("a", "Post", "soon", deadline=FUTURE, amount=3)
    it.write("a", "Post", amount=4)
    await it.settled()
    monkeypatch.setattr("streams.deciding.group_handler.now", lambda: datetime(3000, 1, 1, tzinfo=UTC))
    it.mended = True
    it.again("poison")
    await it.settled()
    assert ["DeadlinePassed"] == it.outbox.to("soon")
    message, sent = it.outbox.letters[-1][0].message, it.topic[2]
    assert message is not None
    assert (2, sent.key, sent.value) == (message.offset, message.key, message.value)
    assert list(sent.headers) == list(message.headers)
    assert (1, 2, 4) == await it.posted("a")


@pytest.mark.parametrize("limits", [{"quarantine_limit": 3}, {"quarantine_bytes": 400}])
async def test_no_more_can_wait(make: Make, limits: dict[str, int]) -> None:
    """Beyond the bounds a command fails, is kept, and is told what to do; retried later it works."""
    it = await make(Limits(group_linger=0.001, quarantine=True, **limits))
    await it.poisoned(3, 4, 5, 6, 7)
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
