"""Keys of persons: made once, never brought back, never lost, and sealed values bound to their place."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta

import pytest

from aggregates.personal import Sealed
from schemas.sealing import KeysNeeded, Place, SubjectIsErased
from streams.concurrency.retry import retried
from streams.journal.port import Unavailable
from streams.keys.keys import KeyLost, Keys
from streams.keys.port import KeyRow
from streams.keys.records import decode_period, decode_subject, period_id, subject_id
from tests.unit.streams.keys_world import LossyRows, Workers

PLACE = Place("U1", 3)


async def sealed(keys: Keys, value: str = "Ada", subject: str = "U1") -> Sealed:
    """A value as the field `name` of an event has it."""
    await keys.fetch([subject], create=True)
    return Sealed("user", *PLACE, "name", subject, keys.seal("user", PLACE, "name", subject, value))


async def opened(keys: Keys, it: Sealed) -> str | None:
    """What a worker reads."""
    await keys.fetch([it.subject])
    return keys.unseal(it)


async def test_what_one_worker_seals_another_opens() -> None:
    """Both have the same key, although both were first."""
    workers = Workers()
    await asyncio.gather(*(worker.fetch(["U1"], create=True) for worker in (workers.one, workers.two)))
    it = await sealed(workers.one)
    assert b"Ada" not in it.envelope
    assert await opened(workers.two, it) == "Ada"
    assert all(b"Ada" not in row.value for row in workers.rows.values())


async def test_nothing_is_looked_up_while_it_is_warm() -> None:
    """A key is fetched once for all events of a lease, and again after it."""
    workers = Workers()
    keys = workers.worker(lease=0.2)
    with pytest.raises(KeysNeeded) as needed:
        keys.seal("user", PLACE, "name", "U1", "Ada")
    await keys.fetch_needed(needed.value)
    for _ in range(100):
        keys.seal("user", PLACE, "name", "U1", "Ada")
    assert keys.fetched == 1
    assert keys.cold(["U1", "U2"]) == ["U2"]
    async with asyncio.timeout(5):
        while not keys.cold(["U1"]):
            await asyncio.sleep(0.05)
    with pytest.raises(KeysNeeded):
        keys.seal("user", PLACE, "name", "U1", "Ada")


async def test_the_cache_has_a_bound() -> None:
    """The oldest keys leave, and are fetched again."""
    keys = Workers().worker(most=10)
    for number in range(25):
        await keys.fetch([f"U{number}"], create=True)
    assert len(keys.cold([f"U{number}" for number in range(25)])) == 15


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"type": "order"},
        {"id": "U2"},
        {"sequence": 4},
        {"field": "email"},
    ],
)
async def test_what_is_sealed_is_bound_to_its_place(elsewhere: dict[str, str | int]) -> None:
    """A sealed value that is moved to another event or field does not open there."""
    workers = Workers()
    it = await sealed(workers.one)
    with pytest.raises(ValueError, match="sealed at another place"):
        workers.one.unseal(it._replace(**elsewhere))  # type: ignore[arg-type]
    other = Keys(workers.one._rows, workers.management, "another.")
    await other.fetch(["U1"])
    with pytest.raises(ValueError, match="sealed at another place"):
        other.unseal(it)


async def test_an_erased_subject_is_gone() -> None:
    """Nobody reads or seals anything of his, and others lose nothing."""
    workers = Workers()
    it, other = await sealed(workers.one), await sealed(workers.one, "Eve", "U2")
    await workers.one.erase("U1", "asked for")
    assert await opened(workers.one, it) is None
    assert await opened(workers.two, it) is None
    with pytest.raises(SubjectIsErased):
        workers.two.seal("user", PLACE, "name", "U1", "Ada")
    assert await opened(workers.two, other) == "Eve"
    key = decode_subject(workers.rows[subject_id("U1")].value)
    assert (key.state, key.wrapped, key.reason) == ("erased", b"", "asked for")


async def test_a_fence_stands_before_the_first_key() -> None:
    """One who is erased before anything was sealed gets no key either."""
    workers = Workers()
    await workers.one.erase("U1")
    await workers.two.fetch(["U1"], create=True)
    with pytest.raises(SubjectIsErased):
        workers.two.seal("user", PLACE, "name", "U1", "Ada")


async def test_who_is_allowed_again_has_another_key() -> None:
    """What was erased stays so; what is sealed from then on opens."""
    workers = Workers()
    it = await sealed(workers.one)
    await workers.one.erase("U1")
    assert await workers.one.allow("nobody") is None
    await workers.one.allow("U1")
    assert await opened(workers.one, it) is None
    again = await sealed(workers.one, "Ada again")
    assert await opened(workers.two, again) == "Ada again"
    assert await opened(workers.two, it) is None


async def test_renewal_wraps_anew_what_lives_and_nothing_else_opens() -> None:
    """After it all living keys open, the old period's key is gone, and an old copy of the rows opens nothing."""
    workers = Workers()
    it, erased = await sealed(workers.one), await sealed(workers.one, "Eve", "U2")
    blind = await workers.one.blind_key()
    await workers.one.erase("U2")
    backup = dict(workers.rows)
    renewal = await workers.one.renew()
    assert (renewal.period, renewal.wrapped, renewal.destroyed) == (2, 2, [1])
    fresh = workers.worker()
    assert await opened(fresh, it) == "Ada"
    assert await fresh.blind_key() == blind
    assert await opened(fresh, erased) is None
    assert len(workers.management.keys) == 1
    restored = Keys(type(fresh._rows)(backup), workers.management, "ns.")  # type: ignore[call-arg]
    with pytest.raises(KeyLost):
        await opened(restored, it)


async def test_renewal_is_due_after_a_period() -> None:
    """Nothing is renewed before, and one that was cut short is ended."""
    workers = Workers()
    await sealed(workers.one)
    assert await workers.one.renew_if_due() is None
    due = workers.worker(period=timedelta(0))
    assert (await due.renew_if_due()) is not None
    [*_] = [await workers.one._begin(3)]
    row = workers.rows["current"]
    workers.rows["current"] = KeyRow("current", row.version + 1, b"\x91\x03")
    ended = await workers.one.renew_if_due()
    assert ended is not None
    assert (ended.period, ended.destroyed) == (3, [2])


async def test_a_renewal_that_is_late_does_not_turn_the_newest_period_back() -> None:
    """It has looked which period is the newest before two others were begun: keys can be made afterwards."""
    workers = Workers()
    it = await sealed(workers.one)
    late = workers.two
    before = await late._current()
    await workers.one.renew()
    await workers.one.renew()

    async def stale() -> tuple[int, object]:
        late._current = type(late)._current.__get__(late)  # type: ignore[method-assign]
        return before

    late._current = stale  # type: ignore[assignment, method-assign]
    renewal = await late.renew()
    assert (renewal.period, renewal.destroyed) == (4, [3])
    fresh = workers.worker()
    assert await opened(fresh, it) == "Ada"
    await sealed(fresh, "Eve", "U9")


async def test_a_key_that_is_inserted_while_its_period_closes_is_not_lost() -> None:
    """A worker that stops between inserting a key and using it uses none that was destroyed meanwhile."""
    workers = Workers()
    await sealed(workers.one, subject="other")
    row = await workers.two._inserted(subject_id("U1"), None, None)
    assert decode_subject(row.value).state == "new"
    await workers.one.renew()
    await workers.one.renew()
    it = await sealed(workers.two)
    assert await opened(workers.one, it) == "Ada"
    await workers.one.renew()
    assert await opened(workers.worker(), it) == "Ada"


@pytest.mark.parametrize("seed", range(30))
async def test_any_order_of_everything_with_lost_answers(seed: int) -> None:
    """Erasures, uses and renewals at once, with answers that are lost: an erased key never opens again, and one that
    was used and not erased always does."""
    random_, workers = random.Random(seed), Workers()
    erased: set[str] = set()
    kept: list[Sealed] = []

    async def act() -> None:
        keys = Keys(LossyRows(workers.rows, random_.randrange(4)), workers.management, "ns.")
        subject, what = f"U{random_.randrange(4)}", random_.randrange(6)
        for _ in range(random_.randrange(3)):
            await asyncio.sleep(0)

        async def work() -> None:
            match what:
                case 0:
                    await keys.erase(subject)
                    erased.add(subject)
                case 1:
                    await keys.renew()
                case _:
                    it = await sealed(keys, subject, subject)
                    kept.append(it)

        try:
            await retried(work, [0] * 8, (Unavailable,))
        except (SubjectIsErased, KeysNeeded):
            assert (key := await keys.look(subject)) is not None
            assert key.state == "erased"

    await asyncio.gather(*(act() for _ in range(25)))
    await workers.one.renew()
    fresh = workers.worker()
    for it in kept:
        assert await opened(fresh, it) == (None if it.subject in erased else it.subject)
    states = [
        decode_period(workers.rows[period_id(n)].value).state for n in range(1, 60) if period_id(n) in workers.rows
    ]
    assert states.count("current") <= 2
