"""Whose journal it is: one row in each kind of store, written once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace
from sqlalchemy.schema import DropTable

from streams.journal.memory import MemoryJournal
from streams.journal.port import Commit, Identity, Journal, JournalIncomplete, SliceHead
from streams.journal.sql.tables import IDENTITY as IDENTITY_TABLE
from streams.open_journal import open_journal
from streams.settings import SettingsError
from tests.contract.conftest import KINDS, event
from tests.stores import drop_journals

pytestmark = pytest.mark.asyncio(loop_scope="session")

IDENTITY = Identity(context="orders", namespace="demo_", partitions=8, cluster="cluster-1")


@pytest_asyncio.fixture(params=KINDS, loop_scope="session")
async def fresh(request: pytest.FixtureRequest, namespace: str):  # type: ignore[no-untyped-def]
    """Two connections to a journal that nobody has claimed."""
    if request.param == "memory":
        journal = MemoryJournal()
        await journal.create()
        yield journal, journal
        return
    url = request.getfixturevalue(f"{request.param}_url")
    journals = [open_journal(url, namespace, "claimed") for _ in range(2)]
    await journals[0].create()
    for journal in journals:
        await journal.open()
    yield tuple(journals)
    for journal in journals:
        await journal.close()
    await drop_journals(url, namespace, "claimed")


async def test_the_first_that_claims_a_journal_has_it(fresh: tuple[Journal, Journal]) -> None:
    """Nobody's before; then that of the first, in all columns, whoever asks and whoever claims it again."""
    one, two = fresh
    assert await one.identity() is None
    assert await one.claim(IDENTITY) == IDENTITY
    other = Identity(context="orders", namespace="demo-", partitions=12, cluster="cluster-2", format=3)
    assert await two.claim(other) == IDENTITY
    assert await two.identity() == IDENTITY


async def test_one_of_many_that_race_wins(fresh: tuple[Journal, Journal]) -> None:
    """Workers that start together agree on whose it is."""
    wanted = [Identity(context="orders", namespace=f"n{i}", partitions=8, cluster="c") for i in range(8)]
    found = await asyncio.gather(*(journal.claim(it) for journal, it in zip(fresh * 4, wanted, strict=True)))
    assert len(set(found)) == 1
    assert found[0] in wanted


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "memory"])
async def test_a_journal_of_an_older_version(kind: str, request: pytest.FixtureRequest, namespace: str) -> None:
    """The log is there and the table is not: that is no journal that is missing, and `create` adds what it lacks."""
    url = request.getfixturevalue(f"{kind}_url")
    journal: Any = open_journal(url, namespace, "older")
    await journal.create()
    await journal.open()
    if kind == "cassandra":
        await journal._session.define(f"DROP TABLE {namespace}test_older.identity")
    else:
        await journal._session.transaction(lambda connection: connection.execute(DropTable(IDENTITY_TABLE)))
    await journal.close()
    with pytest.raises(JournalIncomplete, match="run `faust -A <app> setup`"):
        await journal.open()
    await journal.create()
    await journal.open()
    assert await journal.claim(IDENTITY) == IDENTITY
    await journal.close()
    await drop_journals(url, namespace, "older")


async def test_a_column_that_an_older_version_had_not(cassandra_url: str, namespace: str) -> None:
    """Setting up adds it, however often; the rows that are there stay."""
    journal: Any = open_journal(cassandra_url, namespace, "column")
    await journal.create()
    await journal.open()
    old = Commit("order@0", 1, 1, "me", "t", {0: SliceHead(0, 1)}, 0, datetime.now(UTC), (event("a", 1),))
    await journal.derive([old])
    await journal._session.define(f"ALTER TABLE {namespace}test_column.events DROP principal")
    await journal.close()
    with pytest.raises(JournalIncomplete, match="run `faust -A <app> setup`"):
        await journal.open()
    await journal.create()
    await journal.create()
    await journal.open()
    await journal.derive([replace(old, nr=2, events=(event("a", 2),))])
    rows = await journal.events("order", "a")
    assert ["", event("a", 2).principal] == [row.event.principal for row in rows]
    await journal.close()
    await drop_journals(cassandra_url, namespace, "column")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "memory"])
async def test_a_journal_of_an_older_format(kind: str, request: pytest.FixtureRequest, namespace: str) -> None:
    """Its commits cannot be read: it is refused in one line that says so, each time, and setting up does not help."""
    url = request.getfixturevalue(f"{kind}_url")
    journal: Any = open_journal(url, namespace, "format1")
    await journal.create()
    await journal.open()
    await journal.claim(IDENTITY)
    if kind == "cassandra":
        await journal._session.define(f"ALTER TABLE {namespace}test_format1.commits RENAME log TO stream")
    else:
        schema = getattr(journal._session.address, "schema", "main")
        rename = f"ALTER TABLE {schema}.commits RENAME COLUMN log TO stream"
        await journal._session.transaction(lambda connection: connection.exec_driver_sql(rename))
    await journal.close()
    for _ in range(2):
        with pytest.raises(SettingsError, match=r"^JOURNAL_URL: the journal in .* has an older format") as refused:
            await journal.open()
        assert "\n" not in str(refused.value)
        await journal.create()
    await drop_journals(url, namespace, "format1")
