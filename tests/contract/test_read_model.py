"""Which read model a URL means, and what is said when one cannot be used."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from projections.stores.listings import SharedRows
from projections.stores.rows import Changes, Checkpoint, Quarantined, shown
from projections.stores.shared.opening import open_rows
from projections.stores.shared.sql import SqlRows
from streams.journal.port import JournalMissing, Unavailable
from streams.settings import SettingsError
from tests.contract.read_models import (
    BY_STATUS,
    KINDS,
    ReadModels,
    changes,
    new_table,
    row,
    save,
    two_workers,
    url_of,
)
from tests.stores import drop_journals

pytestmark = pytest.mark.asyncio(loop_scope="session")

ASKED: dict[str, Callable[[SharedRows], Awaitable[object]]] = {
    "places": lambda rows: rows.places(3),
    "load": lambda rows: rows.load(3, "orders-1", ["a"]),
    "row": lambda rows: rows.row(3, "orders-1", "a"),
    "save": lambda rows: save(rows, 3, {"orders-1": changes(a=row(1))}),
    "quarantined": lambda rows: rows.quarantined(3, "orders-1"),
    "drop": lambda rows: rows.drop(3, "orders-1"),
    "listed": lambda rows: rows.listed("orders-1", "by-user", "u"),
}


@pytest.mark.parametrize("url", ["cassandra://127.0.0.1:1/test", "postgresql://shop@127.0.0.1:1/shop"])
async def test_a_server_that_is_not_there_is_down(url: str) -> None:
    """It may come by waiting: one line says which does not answer, and where."""
    rows = open_rows(url, "t_")
    for attempt in (rows.create, rows.open):
        with pytest.raises(Unavailable, match=r"^(Cassandra|PostgreSQL) at 127\.0\.0\.1:1: "):
            await attempt()
        await rows.close()


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("kind", KINDS[1:])
async def test_a_read_model_that_is_closed_is_down(kind: str, asked: str, request: pytest.FixtureRequest) -> None:
    """Whatever is asked of it; closing twice is allowed."""
    rows = open_rows(url_of(kind, request), "t_")
    await rows.close()
    await rows.close()
    with pytest.raises(Unavailable, match=r"not connected"):
        await ASKED[asked](rows)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_read_model_that_was_not_made_is_missing(kind: str, request: pytest.FixtureRequest) -> None:
    """The message says which command makes it."""
    with pytest.raises(JournalMissing, match=r"run `faust -A <app> setup`"):
        await open_rows(url_of(kind, request), f"t{uuid.uuid4().hex[:8]}_").open()


@pytest.mark.parametrize("kind", KINDS)
async def test_workers_may_make_the_same_read_model_at_once(kind: str, request: pytest.FixtureRequest) -> None:
    """Four that start together all succeed, and see the same rows; another name is another read model."""
    url, namespace = url_of(kind, request), f"t{uuid.uuid4().hex[:8]}_"
    models = [open_rows(url, namespace, name) for name in ("read_model", "read_model", "read_model", "other")]
    try:
        await asyncio.gather(*(model.create() for model in models))
        await asyncio.gather(*(model.open() for model in models))
        await save(models[0], 3, {"orders-1": changes(a=row(1))})
        assert [shown(row(1)), shown(row(1)), None] == [await model.row(3, "orders-1", "a") for model in models[1:]]
    finally:
        for model in models:
            await model.close()
        await drop_journals(url, namespace)


@pytest.mark.parametrize(
    "url",
    [
        "cassandra://db:9042",
        "cassandra://db/shop?datacentre=dc1",
        "postgresql://db",
        "postgresql://db/shop?sslmode=require",
        "sqlite:///",
        "mysql://db/shop",
        "",
    ],
)
async def test_an_address_that_cannot_be_used_names_its_setting(url: str) -> None:
    """Not that of the journal, whose addresses look the same."""
    with pytest.raises(SettingsError, match=r"^READ_MODEL_URL: "):
        open_rows(url, "")


@pytest.mark.parametrize("url", ["cassandra://db/shop", "postgresql://db/shop"])
async def test_a_name_that_a_server_would_refuse_is_refused_before(url: str) -> None:
    """Too long; the message names both settings that make it."""
    with pytest.raises(SettingsError, match=r"^READ_MODEL_URL and NAMESPACE give the (keyspace|schema)"):
        open_rows(url, "n" * 60)


async def test_what_a_server_refuses_names_its_setting(cassandra_url: str, postgres_url: str, tmp_path: Path) -> None:
    """A data center that is not there, a server without TLS, a file that is something else."""
    (tmp_path / "shop_read_model_2.db").write_text("something else, and long enough" * 40)
    for url, said in (
        (f"{cassandra_url}?datacenter=atlantis", r"^READ_MODEL_URL: datacenter=atlantis"),
        (f"{postgres_url}?ssl=true", r"^READ_MODEL_URL: no TLS with PostgreSQL"),
        (f"sqlite:///{tmp_path}/shop.db", r"^READ_MODEL_URL: .* is not an SQLite database"),
    ):
        with pytest.raises(SettingsError, match=said):
            await open_rows(url, "").open()


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
@pytest.mark.parametrize("broken", ["listings", "quarantined", "places"])
async def test_a_save_in_sql_is_atomic(kind: str, broken: str, request: pytest.FixtureRequest) -> None:
    """When any of it cannot be written, none of it is; the same save succeeds afterwards."""
    async with two_workers(url_of(kind, request), lambda table: (BY_STATUS,)) as models:
        table, batch = new_table(), {"a": row(1, status="open", at="1")}
        change = Changes(Checkpoint(1, 0, 1, 1), batch, {"q": Quarantined("order-3:1:0", "KeyError", 1)})
        await rename(models, broken, "gone")
        with pytest.raises(JournalMissing):
            await save(models.one, 3, {table: change})
        await rename(models, "gone", broken)
        assert {} == await models.two.load(3, table, ["a"])
        assert table not in await models.two.places(3)
        assert {} == await models.two.quarantined(3, table)
        assert [] == list((await models.two.listed(table, "by-status", "open")).rows)
        await save(models.one, 3, {table: change})
        assert batch == await models.two.load(3, table, ["a"])
        assert [shown(batch["a"])] == list((await models.two.listed(table, "by-status", "open")).rows)


async def rename(models: ReadModels, table: str, to: str) -> None:
    """What an operator should not do."""
    rows = models.two
    assert isinstance(rows, SqlRows)
    schema = getattr(rows._session.address, "schema", "main")

    async def type_it(connection: AsyncConnection) -> None:
        await connection.exec_driver_sql(f"ALTER TABLE {schema}.{table} RENAME TO {to}")

    await rows._session.transaction(type_it)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_a_drop_in_sql_that_is_cut_off_is_done_again(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between any two of its transactions: the table is at its beginning, what is left of it is rows with their places
    in the listing, and dropped again nothing is left."""
    batch = changes(**{f"{n:04}": row(7, n, status="open", at="1") for n in range(1200)})
    async with two_workers(url_of(kind, request), lambda table: (BY_STATUS,)) as models:
        for done in range(1, 5):
            table = new_table()
            await save(models.two, 3, {table: batch})
            with monkeypatch.context() as patch:
                cut_off(models.one, patch, done)
                with pytest.raises(Unavailable, match=r"cut off"):
                    await models.one.drop(3, table)
            assert Checkpoint() == (await models.two.places(3))[table]
            rows = await models.two.load(3, table, batch.rows)
            assert max(1200 - 500 * (done - 1), 0) == len(rows)
            page = await models.two.listed(table, "by-status", "open", most=2000)
            assert list(map(shown, rows.values())) == list(page.rows)
            await models.two.drop(3, table)
            assert table not in await models.two.places(3)
            assert {} == await models.two.load(3, table, batch.rows)


def cut_off(rows: SharedRows, monkeypatch: pytest.MonkeyPatch, done: int) -> None:
    """The worker dies after so many transactions."""
    assert isinstance(rows, SqlRows)
    transaction, begun = rows._session.transaction, itertools.count()

    async def cut(work: Any) -> Any:
        if next(begun) == done:
            raise Unavailable("cut off")
        return await transaction(work)

    monkeypatch.setattr(rows._session, "transaction", cut)
