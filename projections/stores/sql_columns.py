"""The columns of a projection's table in SQLite: what a view looks for, sorts by or searches.

A row is stored as its JSON, and a column is an expression over the JSON that SQLite computes. So a declaration may
change without an event being read again: the file is made again from the changelog when it is opened.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

OWN = ("id", "key", "position_nr", "position_idx", "head", "row", "crc", "gone")
"""What every table has: `row` is what the projection has returned, in JSON, under its `key`, at its position; `head`
what the engine knows of it; a `gone` one was removed."""

MOST_WORDS = 16

_COLUMN = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class SqlColumns:
    """What a table has besides its rows.

    columns   by name the expression that gives it, such as `json_extract(row, '$.user_id')`
    indexes   the columns of each index in their order, `key` among them where it is wanted
    search    the columns whose words are searched, by SQLite's FTS5
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    indexes: Sequence[Sequence[str]] = ()
    search: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name in self.columns:
            if not _COLUMN.fullmatch(name) or name in (*OWN, "rowid", "rank"):
                raise ValueError(f"column {name!r}: use a name of small letters, digits and '_' that is not in use")
        for name in (*self.search, *(name for index in self.indexes for name in index)):
            if name not in self.columns and name != "key":
                raise ValueError(f"column {name!r} is not declared")


NONE = SqlColumns()


def quoted(name: str) -> str:
    """A name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


def search_of(table: str) -> str:
    """The quoted name of what a table's words are searched in."""
    return quoted(f"{table} search")


def statements(table: str, columns: SqlColumns) -> Iterator[str]:
    """What makes a table. `id` stays the same for as long as a row is there; the search goes by it."""
    computed = "".join(f", {quoted(name)} AS ({expression}) VIRTUAL" for name, expression in columns.columns.items())
    yield (
        f"CREATE TABLE {quoted(table)}(id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, position_nr INTEGER NOT NULL,"
        " position_idx INTEGER NOT NULL, head TEXT NOT NULL, row TEXT NOT NULL, crc INTEGER NOT NULL,"
        f" gone INTEGER NOT NULL{computed})"
    )
    for index in columns.indexes:
        named = quoted(f"{table} by {', '.join(index)}")
        yield f"CREATE INDEX {named} ON {quoted(table)}({', '.join(map(quoted, index))})"
    if columns.search:
        yield from _search(table, [quoted(name) for name in columns.search])


def _search(table: str, names: Sequence[str]) -> Iterator[str]:
    """An index of the words only: the texts stay in the table. A row whose texts stay the same does not touch it."""
    search, listed = search_of(table), ", ".join(names)
    content = table.replace("'", "''")
    yield (
        f"CREATE VIRTUAL TABLE {search} USING fts5({listed}, content='{content}', content_rowid='id',"
        " tokenize='unicode61 remove_diacritics 2')"
    )

    def values(of: str) -> str:
        return ", ".join(f"{of}.{name}" for name in ("id", *names))

    add = f"INSERT INTO {search}(rowid, {listed}) VALUES ({values('new')});"
    remove = f"INSERT INTO {search}({search}, rowid, {listed}) VALUES ('delete', {values('old')});"
    changed = " OR ".join(f"old.{name} IS NOT new.{name}" for name in names)
    for when, what in (
        ("INSERT", f"BEGIN {add} END"),
        ("DELETE", f"BEGIN {remove} END"),
        ("UPDATE", f"WHEN {changed} BEGIN {remove} {add} END"),
    ):
        yield f"CREATE TRIGGER {quoted(f'{table} on {when}')} AFTER {when} ON {quoted(table)} {what}"


def words_of(text: str) -> str:
    """What to search for rows that have all words of a text, or words that begin with them; empty when there is none.

    Whatever a person writes is taken as words: each is quoted, so that nothing in it is syntax of FTS5, and what is no
    character, which SQLite would not take, parts words. Of many words the first 16 count.
    """
    words = "".join(character if character.isprintable() else " " for character in text).split()
    return " ".join(quoted(word) + "*" for word in words[:MOST_WORDS])


def storable(text: str) -> str:
    """A text from outside as SQLite takes it: half characters, which only what is malformed has, are replaced."""
    return text.encode(errors="surrogatepass").decode(errors="replace")
