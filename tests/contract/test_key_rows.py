"""The contract of the rows of keys: what is inserted and changed by condition has one outcome for all."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio

from streams.journal.port import JournalMissing
from streams.keys.memory import MemoryKeyRows
from streams.keys.opening import open_key_rows
from streams.keys.port import KeyRow, KeyRows
from tests.contract.conftest import KINDS
from tests.stores import drop_journals

pytestmark = pytest.mark.asyncio(loop_scope="session")


class Two:
    """Two connections to the same rows, as of two workers."""

    def __init__(self, one: KeyRows, two: KeyRows) -> None:
        self.one = one
        self.two = two


@asynccontextmanager
async def _two(url: str, namespace: str) -> AsyncIterator[Two]:
    if url == "memory":
        rows: dict[str, KeyRow] = {}
        yield Two(MemoryKeyRows(rows), MemoryKeyRows(rows))
        return
    two = Two(open_key_rows(url, namespace), open_key_rows(url, namespace))
    with pytest.raises(JournalMissing):
        await two.one.open()
    await asyncio.gather(two.one.create(), two.two.create())
    await two.one.open()
    await two.two.open()
    yield two
    await two.one.close()
    await two.two.close()
    await drop_journals(url, namespace)


@pytest_asyncio.fixture(params=KINDS, scope="module", loop_scope="session")
async def two(request: pytest.FixtureRequest) -> AsyncIterator[Two]:
    """Rows of each kind, made here."""
    kind = request.param
    url = "memory" if kind == "memory" else request.getfixturevalue(f"{kind}_url")
    async with _two(url, f"k{uuid.uuid4().hex[:8]}_") as both:
        yield both


@pytest.fixture
def id() -> str:
    """An id that no other test uses, with what stores mistake for something else."""
    return f"s\0\\'☃ {uuid.uuid4().hex}"


async def test_a_row_is_inserted_once(two: Two, id: str) -> None:
    """Of many who insert one has it, and all are told which."""
    told = await asyncio.gather(*((two.one if n % 2 else two.two).insert(id, b"%d" % n) for n in range(6)))
    assert len({row.value for row in told}) == 1
    assert {row.version for row in told} == {1}
    assert await two.two.get([id, "nobody"]) == {id: told[0]}


async def test_a_row_is_changed_by_its_version(two: Two, id: str) -> None:
    """A change of a version that is not there any more changes nothing, and tells what is there."""
    assert await two.one.replace(id, 1, b"") is None
    await two.one.insert(id, b"first")
    told = await asyncio.gather(*((two.one if n % 2 else two.two).replace(id, 1, b"%d" % n) for n in range(6)))
    assert len({row.value for row in told if row}) == 1
    assert await two.two.replace(id, 1, b"late") == KeyRow(id, 2, told[0].value if told[0] else b"")
    assert await two.one.replace(id, 2, b"third") == KeyRow(id, 3, b"third")
    assert await two.two.get([id]) == {id: KeyRow(id, 3, b"third")}


async def test_all_rows_are_met(two: Two, id: str) -> None:
    """Each row is met once, over more than one page."""
    await asyncio.gather(*(two.one.insert(f"{id}{n}", b"") for n in range(30)))
    met = [row.id async for row in two.two.all() if row.id.startswith(id)]
    assert sorted(met) == sorted(f"{id}{n}" for n in range(30))
    assert len(await two.one.get(met)) == 30
