"""One contract over the stores that a join may be of, RocksDB and SQLite: which rows stand under a key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from projections import Indexes, Join, Projection, PublishedEvent, Row, Side, Table
from projections.http.problems import HttpProblem
from projections.stores.typed_columns import columns_of
from projections.views import joined_rows
from projections.views.joined_rows import half, rows_under
from tests.unit import local_machines, sql_machines


@dataclass(frozen=True)
class Payment:
    owner: str
    amount: Decimal


def unused(row: Any, key: str, published: PublishedEvent) -> Any:
    raise AssertionError("rows stand there already")


THINGS = Projection("things", 1, "payment", unused, row=Payment)
"""As the tables of both machines are called."""
PARTS = Projection("things", 1, "calendar", unused, keys=lambda published: ["ada"], local=True)
TABLES = {
    "rocksdb": Indexes({"owner": lambda row: row["owner"] or None}),
    "sqlite": columns_of(Payment, indexes=[("owner", "key")]),
}

Put = Callable[..., Awaitable[None]]


class Rows:
    """One partition of a store of one kind, with the sides that are asked of it."""

    def __init__(self, kind: str, folder: Path) -> None:
        how: Any = TABLES[kind]
        self.by_owner, self.by_id = Side(Table(THINGS, how), by="owner"), Side(Table(THINGS, how))
        self.local = Side(Table(PARTS, Indexes({}) if kind == "rocksdb" else how))
        self._nr = 0
        self.machine: Any
        if isinstance(how, Indexes):
            self.machine = local_machines.Machine(folder, indexes={"things": how})
        else:
            self.machine = sql_machines.Machine(folder, columns={"things": how})

    async def put(self, table: str = "things-1", **rows: Row | None) -> None:
        """Save rows, None for one that is removed, each time as of the next commit."""
        self._nr += 1
        saved = self.machine.put(self._nr, table=table, **rows)
        if saved is not None:
            await saved

    def half(self, side: Side, key: str, *others: Rows) -> list[Row]:
        """What stands under a key, here and in the partitions of `others`."""
        parts = [rows_under(side, rows.machine.store, 0, side.table.name + "-1", key) for rows in (self, *others)]
        return half(side, key, parts)


@pytest.fixture(params=TABLES)
def open_rows(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Rows]]:
    """Opens a partition of a store of each kind."""
    opened: list[Rows] = []

    def open_one() -> Rows:
        opened.append(Rows(request.param, tmp_path / f"{len(opened)}"))
        return opened[-1]

    yield open_one
    for rows in opened:
        rows.machine.close()


def payment(owner: str, amount: str = "1.00") -> Row:
    return {"owner": owner, "amount": amount}


async def test_under_a_field(open_rows: Callable[[], Rows]) -> None:
    """All rows with this value, by their keys and from all partitions; none of another value, table or a part of it."""
    one, two = open_rows(), open_rows()
    await one.put(c=payment("ada", "3.00"), a=payment("ada"), b=payment("bob"), d=payment(""), e=payment("ada "))
    await one.put(table="things-1.1", f=payment("ada"))
    await two.put(b=payment("ada", "2.00"), x=payment("Ada"))
    assert ["1.00", "2.00", "3.00"] == [row["amount"] for row in one.half(one.by_owner, "ada", two)]
    assert [payment("bob")] == one.half(one.by_owner, "bob", two)
    assert [] == one.half(one.by_owner, "eve", two) == one.half(one.by_owner, "a", two)


async def test_a_field_that_changes(open_rows: Callable[[], Rows]) -> None:
    """The row is under its new value alone; one that is removed is under none, and under it again when it is back."""
    rows = open_rows()
    await rows.put(a=payment("ada"), b=payment("ada"))
    await rows.put(a=payment("bob"))
    assert ([payment("ada")], [payment("bob")]) == tuple(rows.half(rows.by_owner, who) for who in ("ada", "bob"))
    await rows.put(a=None)
    assert [] == rows.half(rows.by_owner, "bob") == rows.half(rows.by_id, "a")
    await rows.put(a=payment("bob", "7.00"))
    assert [payment("bob", "7.00")] == rows.half(rows.by_owner, "bob") == rows.half(rows.by_id, "a")


@pytest.mark.parametrize("key", ["é☃", "a'; --", "a%", "a\\", "536365 / 1", "𝔸"])
async def test_keys_of_any_character(open_rows: Callable[[], Rows], key: str) -> None:
    """As an id and as a value."""
    rows = open_rows()
    await rows.put(**{key: payment(key), "other": payment(f"{key}x")})
    assert [payment(key)] == rows.half(rows.by_owner, key) == rows.half(rows.by_id, key)


async def test_parts_of_partitions(open_rows: Callable[[], Rows]) -> None:
    """Rows by keys of events: each partition has its own part."""
    one, two, three = open_rows(), open_rows(), open_rows()
    await one.put(ada={"owner": "monday"})
    await two.put(ada={"owner": "friday"}, bob={"owner": "friday"})
    assert ["friday", "monday"] == sorted(row["owner"] for row in one.half(one.local, "ada", two, three))


async def test_as_many_as_may_be(open_rows: Callable[[], Rows], monkeypatch: pytest.MonkeyPatch) -> None:
    """One more, wherever it is, and whoever asks is told to ask page by page."""
    monkeypatch.setattr(joined_rows, "MOST", 3)
    one, two = open_rows(), open_rows()
    await one.put(a=payment("ada"), b=payment("ada"))
    await two.put(c=payment("ada"))
    assert 3 == len(one.half(one.by_owner, "ada", two))
    await two.put(d=payment("ada"), e=payment("ada"), f=payment("ada"), g=payment("ada"), h=payment("ada"))
    assert 4 == len(rows_under(two.by_owner, two.machine.store, 0, "things-1", "ada"))
    with pytest.raises(HttpProblem, match="more than 3 rows of things stand under ada") as refused:
        one.half(one.by_owner, "ada", two)
    assert 422 == refused.value.status


async def test_typed_rows(open_rows: Callable[[], Rows]) -> None:
    """A join gets them as its projection has them, whatever the store made of them in between."""
    rows = open_rows()
    await rows.put(a=payment("ada", "1.10"), b=payment("ada", "2.20"))
    other = Side(Table(Projection("people", 1, "person", unused)))
    join = Join("sums", other, rows.by_owner, lambda key, people, paid: sum(it.amount for it in paid))
    assert Decimal("3.30") == join.answer("ada", [], rows.half(rows.by_owner, "ada"))
    assert join.answer("eve", [], rows.half(rows.by_owner, "eve")) is None
