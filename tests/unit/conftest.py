"""Ledgers for the tests of what one partition does."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from streams.limits import Limits
from tests.unit.ledgers import Ledgers, Make


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
