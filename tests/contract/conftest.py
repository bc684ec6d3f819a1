"""The `journal` that the contract is tested on: each implementation in turn, on real servers."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
import pytest_asyncio

from streams.journal.memory import MemoryJournal, MemoryStore
from streams.journal.port import NOTHING_CONSUMED, Commit, Journal, RecordedEvent, SliceHead, log_name
from streams.open_journal import open_journal
from tests.contract.orders import Orders
from tests.stores import drop_journals

CONTEXT = "orders"
KINDS = ("memory", "sqlite", "postgres", "cassandra")


@dataclass(frozen=True)
class Journals:
    """Two connections to one journal, as of two workers."""

    one: Journal
    two: Journal


def event(aggregate_id: str, sequence: int, data: bytes = b"\xc3\x01data", type: str = "LineAdded") -> RecordedEvent:
    """An event with all columns filled in."""
    id, who = f"command-{sequence}", "process:checkout\noidc:alice"
    return RecordedEvent(aggregate_id, sequence, type, data, id, "c", "00-trace-span-01", "Add 0f", who)


async def _opened(*journals: Journal) -> None:
    await journals[0].create()
    for journal in journals:
        await journal.open()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def memory_journals() -> Journals:
    """Two workers on one memory store."""
    store = MemoryStore()
    journals = Journals(MemoryJournal(store), MemoryJournal(store))
    await _opened(journals.one, journals.two)
    return journals


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def cassandra_journals(cassandra_url: str, namespace: str) -> AsyncIterator[Journals]:
    """Two workers on one keyspace."""
    async with _two_workers(cassandra_url, namespace) as journals:
        yield journals


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres_journals(postgres_url: str, namespace: str) -> AsyncIterator[Journals]:
    """Two workers on one schema."""
    async with _two_workers(postgres_url, namespace) as journals:
        yield journals


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def sqlite_journals(sqlite_url: str, namespace: str) -> AsyncIterator[Journals]:
    """Two workers on one file."""
    async with _two_workers(sqlite_url, namespace) as journals:
        yield journals


@asynccontextmanager
async def _two_workers(url: str, namespace: str) -> AsyncIterator[Journals]:
    journals = Journals(*(open_journal(url, namespace, CONTEXT) for _ in range(2)))
    await _opened(journals.one, journals.two)
    yield journals
    await journals.one.close()
    await journals.two.close()
    await drop_journals(url, namespace)


@pytest.fixture(params=KINDS)
def journals(request: pytest.FixtureRequest) -> Journals:
    """Two connections to a journal of each kind."""
    found: Journals = request.getfixturevalue(f"{request.param}_journals")
    return found


@pytest.fixture
def journal(journals: Journals) -> Journal:
    """A journal of each kind."""
    return journals.one


@pytest.fixture
def log() -> str:
    """A log that no other test uses."""
    return log_name(uuid.uuid4().hex[:8], 0)


@pytest.fixture
def aggregate() -> str:
    """An aggregate id that no other test uses."""
    return f"536365 {uuid.uuid4().hex[:8]}"


@pytest.fixture
def make_commit(log: str) -> Callable[..., Commit]:
    """Makes a commit of `log`, which has the slices 0 and 7, with all that a test does not care about filled in."""

    def make(
        nr: int, *events: RecordedEvent, epoch: int = 1, owner: str = "a", offset: int | None = None, log: str = log
    ) -> Commit:
        covered = NOTHING_CONSUMED + nr if offset is None else offset
        return Commit(
            log=log,
            nr=nr,
            epoch=epoch,
            owner=owner,
            topic_id="topic",
            slices={0: SliceHead(covered, nr if events else 0), 7: SliceHead()},
            derived_nr=max(nr - 2, 0),
            recorded_at=datetime(2011, 5, 31, 12, 30, 15, 123000, tzinfo=UTC),
            events=events,
        )

    return make


@pytest_asyncio.fixture(loop_scope="session")
async def orders(journal: Journal) -> Orders:
    """A healthy journal with three orders in each of two partitions, by real owners."""

    orders = Orders(journal)
    await orders.write()
    return orders
