"""Workers renew keys by themselves, one of them, and say so where they cannot."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from streams.journal.port import Unavailable
from streams.notices import NOTICES
from streams.observability.catalog import KEY_PERIOD_AGE, KEY_RENEWALS
from streams.observability.instruments import Instruments
from streams.processes.key_renewal import KeyRenewal
from tests.unit.streams.keys.test_keys import opened, sealed
from tests.unit.streams.keys_world import MemoryManagement, Workers


class Silent(MemoryManagement):
    """A key management that answers, or does not."""

    is_silent = False

    async def create(self, name: str) -> str:
        if self.is_silent:
            raise Unavailable("no answer")
        return await super().create(name)


@pytest.fixture(autouse=True)
def no_notice() -> Iterator[None]:
    yield
    NOTICES.over("keys-not-renewed", "")


def said() -> list[str]:
    return [notice.text for notice in NOTICES.all if notice.kind == "keys-not-renewed"]


async def test_one_worker_renews_what_is_due() -> None:
    """Another one does nothing; what was sealed opens afterwards, and figures say how old the period is."""
    workers, instruments = Workers(), Instruments()
    it = await sealed(workers.one)
    due = workers.worker(period=timedelta(0))
    await KeyRenewal(due, lambda: False).look()
    assert (await workers.one.renew_if_due()) is None
    assert len(workers.management.keys) == 1
    renewal = KeyRenewal(due, lambda: True, instruments)
    await renewal.look()
    assert await opened(workers.worker(), it) == "Ada"
    assert (await workers.one.dead_by()) is not None
    counted = instruments.counter(KEY_RENEWALS)
    assert (counted.of("done").value, counted.of("failed").value) == (1, 0)
    [sample] = instruments.gauge(KEY_PERIOD_AGE).family().samples
    assert 0 <= sample.value < 60


async def test_who_cannot_renew_says_so_and_goes_on() -> None:
    """It is a limit in health, a notice and a figure; when the key management answers again it is over."""
    workers, instruments = Workers(), Instruments()
    workers.management = Silent()
    workers.one, workers.two = workers.worker(), workers.worker()
    it = await sealed(workers.one)
    due = workers.worker(period=timedelta(0))
    renewal = KeyRenewal(due, lambda: True, instruments)
    workers.management.is_silent = True
    await renewal.look()
    await renewal.look()
    assert renewal.limit == "keys of persons cannot be renewed: Unavailable: no answer"
    assert [True] == ["no answer" in text for text in said()]
    assert instruments.counter(KEY_RENEWALS).of("failed").value == 2
    assert await opened(workers.two, it) == "Ada"
    workers.management.is_silent = False
    await renewal.look()
    assert ("", []) == (renewal.limit, said())


async def test_before_the_first_key_there_is_nothing_to_renew() -> None:
    """No key is made for it, and no age is shown."""
    workers, instruments = Workers(), Instruments()
    await KeyRenewal(workers.one, lambda: True, instruments).look()
    assert {} == workers.management.keys
    assert [] == instruments.gauge(KEY_PERIOD_AGE).family().samples
