"""The columns of a projection's table in SQLite, by which views select, sort and search.

A row is stored as its JSON, and a column is an expression over the JSON that SQLite computes. So a declaration may
change without an event being read again: the file is made again from the changelog when it is opened.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

OWN = ("id", "key", "position_nr", "position_idx", "head", "row", "crc", "gone")
"""The columns of every table: `row` is the JSON that the projection has returned for its `key`, at its position; `head`
is the engine's part of a stored row; a `gone` row was removed."""

MOST_WORDS = 16

_COLUMN = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class SqlColumns:
    """The columns and indexes of a table beside its rows.

    columns   by name the expression of each column, such as `json_extract(row, '$.user_id')`
    indexes   the columns of each index in order; `key` is allowed
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
    """A name in the quotes of SQL."""
    return '"' + name.replace('"', '""') + '"'


def search_of(table: str) -> str:
    """The quoted name of the index of a table's words."""
    return quoted(f"{table} search")


def statements(table: str, columns: SqlColumns) -> Iterator[str]:
    """The statements that make a table. The `id` of a row never changes; the search refers to it."""
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
    """The statements that make an index of words. The texts stay in the table, and a row whose texts stay the same does
    not touch the index."""
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
    """The search for rows that have all words of a text, or words that begin with them; empty for a text without words.

    Each word is quoted, so that nothing that a person writes is syntax of FTS5. Code points that are not printable,
    which SQLite would refuse, separate words. Only the first 16 words count.
    """
    words = "".join(character if character.isprintable() else " " for character in text).split()
    return " ".join(quoted(word) + "*" for word in words[:MOST_WORDS])


def storable(text: str) -> str:
    """A text from outside as SQLite takes it: lone surrogates, which only malformed texts have, are replaced."""
    return text.encode(errors="surrogatepass").decode(errors="replace")
