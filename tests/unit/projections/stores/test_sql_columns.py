"""Declared columns: which table has which, what becomes of a table when they change, and words as people write them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.stores.local.sqlite_file import SqliteFile
from projections.stores.sql_columns import MOST_WORDS, OWN, SqlColumns, storable, words_of
from tests.unit.sql_machines import Machine, row

OWNER = {"owner": "json_extract(row, '$.owner')"}
NAME = {"name": "json_extract(row, '$.name')"}


@pytest.mark.parametrize("name", [*OWN, "rowid", "rank", "Name", "two words", 'a"b', "", "1st"])
def test_a_name_that_cannot_be(name: str) -> None:
    """A column's name is checked when it is declared, and so are those that an index or the search names."""
    with pytest.raises(ValueError, match="column"):
        SqlColumns({name: "1"})
    with pytest.raises(ValueError, match="column"):
        SqlColumns({}, indexes=[("missing",)])
    with pytest.raises(ValueError, match="column"):
        SqlColumns({}, search=("missing",))


def test_an_older_version_that_still_serves(tmp_path: Path) -> None:
    """The views look in all tables of a projection, of older versions and later generations, by the same columns."""
    machine = Machine(tmp_path, columns={"things": SqlColumns(OWNER)})
    for table in ("things-1", "things-2", "things-2.7"):
        machine.put(1, table=table, a={"owner": "x"}, b={"owner": "y"})
        found = machine.store.rows(0, table, "WHERE owner = ?", ("y",))
        assert [b'{"owner":"y","position":"type-0:1:0"}'] == found


def test_a_table_that_nothing_is_declared_for(tmp_path: Path) -> None:
    """It has its rows, and is found by key."""
    machine = Machine(tmp_path, columns={})
    machine.put(1, table='odd"name', a={})
    assert [row(1)] == machine.rows("a", table='odd"name')
    assert [("a",)] == machine.store.select(0, 'odd"name', "SELECT key FROM {table} WHERE key = 'a'")


def test_declared_otherwise(tmp_path: Path) -> None:
    """When a declaration changes, the file is made again from the changelog, and only then."""
    first = Machine(tmp_path, columns={"things": SqlColumns(OWNER, indexes=[("owner",)], search=("owner",))})
    first.put(1, a={"owner": "x", "name": "white"}, b={"owner": "y", "name": "red"})
    first.put(2, b=None)
    first.close()
    for is_new, declared in (
        (True, SqlColumns(OWNER | NAME, indexes=[("owner", "name")], search=("name",))),
        (False, SqlColumns(OWNER | NAME, indexes=[("owner", "name")], search=("name",))),
        (True, SqlColumns({"name": "upper(json_extract(row, '$.name'))"}, search=("key", "name"))),
    ):
        second = Machine(tmp_path, first.changelog, {"things": declared})
        assert (second.read_up_to is None) == is_new
        second.recover()
        sql = "SELECT key, lower(name) FROM {table} WHERE id IN (SELECT rowid FROM {search}(?))"
        assert [("a", "white")] == second.store.select(0, "things-1", sql, ("white",))
        assert [row(1, owner="x", name="white"), {"gone": True, **row(2)}] == second.rows("a", "b")
        assert len(first.changelog) - 1 == second.read_up_to
        second.put(3, c={"owner": "z", "name": "blue"})
        second.put(3, c=None)
        second.close()
    third = Machine(tmp_path, first.changelog, columns={})
    third.recover()
    assert [row(1, owner="x", name="white")] == third.rows("a")
    with pytest.raises(Exception, match="no such table"):
        third.store.select(0, "things-1", sql, ("white",))


def test_words_follow_the_rows(tmp_path: Path) -> None:
    """What is searched is as the rows are: changed texts, removed rows, and rows whose texts stay the same."""
    machine = Machine(tmp_path, columns={"things": SqlColumns(NAME, search=("name",))})

    def found(words: str) -> list[str]:
        sql = "SELECT key FROM {table} WHERE id IN (SELECT rowid FROM {search}(?)) ORDER BY key"
        return [key for (key,) in machine.store.select(0, "things-1", sql, (words_of(words),))]

    machine.put(1, a={"name": "White Hanging Heart"}, b={"name": "Heart of Été"}, c={"name": "White"})
    assert ["a", "b"] == found("heart")
    machine.put(2, a={"name": "White Hanging Heart", "price": 2}, b={"name": "red"}, c=None)
    assert (["a"], ["a"], []) == (found("heart"), found("whi han"), found("ete"))
    machine.put(3, c={"name": "été"})
    assert (["c"], ["b"]) == (found("ETE"), found("red"))
    with machine.store._file(0) as file:
        file._db.execute("""INSERT INTO "things-1 search"("things-1 search") VALUES ('integrity-check')""")
    machine.store.drop(0, "things-1")
    assert [] == found("red")


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> SqliteFile:
    """A table whose words are searched."""
    return SqliteFile(tmp_path_factory.mktemp("words") / "words.sqlite", {"things": SqlColumns(NAME, search=("name",))})


SYNTAX = ['"', "AND", "OR", "NOT", "NEAR(", ")", "*", "^", ":", "-", "+", "{a b}:", "\0", "\ud800", "name:", "'", "é"]


@given(st.lists(st.one_of(st.sampled_from(SYNTAX), st.text(st.characters(exclude_categories=())))).map(" ".join))
def test_whatever_is_searched_has_an_answer(words: SqliteFile, text: str) -> None:
    """No text is wrong syntax, or something that SQLite does not take."""
    asked = words_of(text)
    if asked:
        assert [] == words.select("things-1", "SELECT rowid FROM {search}(?)", (asked,))
    assert [] == words.rows("things-1", "WHERE key = ?", (storable(text),))


def test_many_words() -> None:
    """Of very many words the first count."""
    assert ("", '"a"*', MOST_WORDS) == (words_of(" \n\0"), words_of("a"), len(words_of("a " * 5_000).split()))
