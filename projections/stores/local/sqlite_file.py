"""One partition's tables in an SQLite file, and the offset up to which the changelog has been read into them.

One call writes all of its records or none, with the offset of the changelog. That is why `synchronous=NORMAL` is
enough: it syncs only when the log is copied into the file. A machine that loses its power may lose the last writes; it
then loses their offset as well, and a recovery reads them again. A process that is killed loses nothing.

SQLite has no checksums of its own, so each row has one: bytes that a disk has changed must not be folded further.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any
from zlib import crc32

from projections.stores.changelog import (
    PLACE,
    QUARANTINED,
    ROW,
    Key,
    decode_place,
    decode_quarantined,
    key_of,
    ours,
    read_key,
)
from projections.stores.declaration import projection_name
from projections.stores.local.sqlite_errors import Damaged
from projections.stores.local.store import Record, read_up_to
from projections.stores.rows import Checkpoint, Quarantined, head_of, is_gone, shown_json, split
from projections.stores.sql_columns import NONE, SqlColumns, quoted, search_of, statements

Parameters = Sequence[Any] | Mapping[str, Any]

LAYOUT = 2
"""The version of the tables below. A file with another layout is made again from the changelog."""

_SETTINGS = (
    "locking_mode=EXCLUSIVE",  # another process with the same folder is refused, and there is no shared memory to map
    "journal_mode=WAL",
    "synchronous=NORMAL",
    "cache_size=-8192",
    "temp_store=MEMORY",
    "secure_delete=OFF",  # a dropped table is given back, not overwritten
    "cell_size_check=ON",
)
_LAYOUT = (
    "CREATE TABLE tables(name TEXT PRIMARY KEY, made_by TEXT NOT NULL)",
    "CREATE TABLE places(name TEXT PRIMARY KEY, position_nr INTEGER, position_idx INTEGER, value BLOB)",
    "CREATE TABLE quarantined(name TEXT, key TEXT, position_nr INTEGER, position_idx INTEGER, value BLOB,"
    " PRIMARY KEY (name, key))",
    "CREATE TABLE changelog(one INTEGER PRIMARY KEY CHECK (one = 1), read_up_to INTEGER)",
    f"PRAGMA user_version={LAYOUT}",
)
_EMPTY = "empty"
_VALUE = "CAST(head || char(10) || row AS BLOB)"
_IF_NEWER = "WHERE (excluded.position_nr, excluded.position_idx) >= (position_nr, position_idx)"
_PUT_PLACE = (
    "INSERT INTO places VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET position_nr = excluded.position_nr,"
    f" position_idx = excluded.position_idx, value = excluded.value {_IF_NEWER}"
)
_PUT_QUARANTINED = (
    "INSERT INTO quarantined VALUES (?, ?, ?, ?, ?) ON CONFLICT (name, key) DO UPDATE SET"
    " position_nr = excluded.position_nr, position_idx = excluded.position_idx, value = excluded.value "
    f"{_IF_NEWER}"
)


class SqliteFile:
    """The file at `path`, made when it is missing. All methods may raise `sqlite3.Error`, and reading rows `Damaged`.

    `columns` has the declared columns by projection. They are those of all its tables, also of an older version that
    still answers, since the views are those of the newest version. A table is made when it is first written; a query
    of a table that is not there finds an empty one.
    """

    def __init__(self, path: Path, columns: Mapping[str, SqlColumns]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._columns = columns
        self._db = sqlite3.connect(path, timeout=0, isolation_level=None)
        try:
            for setting in _SETTINGS:
                self._db.execute(f"PRAGMA {setting}")
            self._lay_out()
            self._made = self._find_tables()
        except BaseException:
            self._db.close()
            raise

    def _lay_out(self) -> None:
        (layout,) = self._one("PRAGMA user_version") or (0,)
        if layout not in (0, LAYOUT):
            raise Damaged(f"its layout is {layout}, not {LAYOUT}")
        if layout == 0:
            with self._transaction():
                for statement in _LAYOUT:
                    self._db.execute(statement)

    def close(self) -> None:
        """Close the file; SQLite then copies its log into it."""
        self._db.close()

    # -- the changelog -------------------------------------------------------------------------------

    @property
    def read_up_to(self) -> int | None:
        """The offset up to which this file has the changelog; None for an empty file."""
        row = self._one("SELECT read_up_to FROM changelog")
        return None if row is None else int(row[0])

    def recover(self, records: Iterable[Record], offset: int) -> None:
        """Write records that were read from the changelog up to `offset`; older ones than those here change nothing."""
        self._write(ours(records, self._path.name), lambda known: offset)

    def write(self, records: Sequence[Record], offset: int) -> None:
        """Write records that this worker has put on the changelog, the last at `offset`."""
        self._write(records, lambda known: read_up_to(known, len(records), offset))

    def _write(self, records: Iterable[Record], up_to: Callable[[int], int]) -> None:
        groups = [
            (table, kind, removes, list(group))
            for (table, kind, removes), group in groupby(
                ((read_key(key), value) for key, value in records),
                lambda record: (record[0].table, record[0].kind, record[1] is None),
            )
        ]
        names = {table: self._name(table) for table, kind, _, _ in groups if kind == ROW}
        with self._transaction():
            for table, kind, removes, group in groups:
                if removes:
                    self._remove(table, kind, [key.key for key, _ in group])
                else:
                    self._put(names.get(table, ""), kind, group)
            known = self.read_up_to
            self._db.execute("REPLACE INTO changelog VALUES (1, ?)", (up_to(-1 if known is None else known),))
            for table in {table for table, _, removes, _ in groups if removes}:
                self._drop_what_is_empty(table)

    def _put(self, name: str, kind: bytes, records: Iterable[tuple[Key, Any]]) -> None:
        if kind == ROW:
            self._db.executemany(
                f"INSERT INTO {name}(key, position_nr, position_idx, head, row, crc, gone)"
                " VALUES (?, ?, ?, CAST(? AS TEXT), CAST(? AS TEXT), ?, ?) ON CONFLICT (key) DO UPDATE SET"
                " position_nr = excluded.position_nr, position_idx = excluded.position_idx, head = excluded.head,"
                f" row = excluded.row, crc = excluded.crc, gone = excluded.gone {_IF_NEWER}",
                ((key.key, *head_of(value).at, *split(value), crc32(value), is_gone(value)) for key, value in records),
            )
        elif kind == PLACE:
            places = ((key.table, *decode_place(value).at, value) for key, value in records)
            self._db.executemany(_PUT_PLACE, places)
        elif kind == QUARANTINED:
            quarantined = ((key.table, key.key, *_at_last(value), value) for key, value in records)
            self._db.executemany(_PUT_QUARANTINED, quarantined)

    def _remove(self, table: str, kind: bytes, keys: Iterable[str]) -> None:
        if kind == ROW:
            self._db.executemany(f"DELETE FROM {quoted(table)} WHERE key = ?", ((key,) for key in keys))
        elif kind == PLACE:
            self._db.execute("DELETE FROM places WHERE name = ?", (table,))
        elif kind == QUARANTINED:
            self._db.executemany("DELETE FROM quarantined WHERE name = ? AND key = ?", ((table, key) for key in keys))

    def record_keys(self, table: str) -> list[bytes]:
        """The keys of all records of a table, in the order in which to remove them from the changelog."""
        held = self._db.execute("SELECT key FROM quarantined WHERE name = ?", (table,))
        keys = [key_of(table, QUARANTINED, key) for (key,) in held]
        rows = self._db.execute(f"SELECT key FROM {self._name_there(table)}")
        keys += [key_of(table, ROW, key) for (key,) in rows]
        return [*keys, key_of(table, PLACE)] if self._is_placed(table) else keys

    # -- tables --------------------------------------------------------------------------------------

    def get_many(self, table: str, keys: Iterable[str]) -> dict[str, bytes]:
        """The rows of these keys as they are stored, removed ones too."""
        query = f"SELECT {_VALUE}, crc FROM {self._name_there(table)} WHERE key = ?"
        rows: dict[str, bytes] = {}
        for key in keys:
            row = self._one(query, (key,))
            if row is not None:
                rows[key] = _checked(*row)
        return rows

    def rows(self, table: str, conditions: str = "", parameters: Parameters = ()) -> list[bytes]:
        """Rows as JSON, as queries see them. `conditions` is the end of a SELECT: WHERE, ORDER BY, LIMIT, with
        `{table}` and `{search}` as in `select`."""
        return [
            shown_json(_checked(*row))
            for row in self.select(table, f"SELECT {_VALUE}, crc FROM {{table}} {conditions}", parameters)
        ]

    def select(self, table: str, sql: str, parameters: Parameters = ()) -> list[tuple[Any, ...]]:
        """The result of a SELECT, in which `{table}` is the table without removed rows, and `{search}` its words."""
        if not sql.lstrip().upper().startswith("SELECT"):
            raise ValueError(f"{sql!r} is no SELECT")
        there = self._there(table)
        rows = f"(SELECT * FROM {self._name(there)} WHERE NOT gone)"  # SQLite looks through it
        return self._db.execute(
            sql.replace("{table}", rows).replace("{search}", search_of(there)), parameters
        ).fetchall()

    def places(self) -> dict[str, Checkpoint]:
        """The checkpoint of each table."""
        return {name: decode_place(value) for name, value in self._db.execute("SELECT name, value FROM places")}

    def quarantined(self, table: str) -> dict[str, Quarantined]:
        """The keys of a table whose events wait."""
        rows = self._db.execute("SELECT key, value FROM quarantined WHERE name = ?", (table,))
        by_key = {key: decode_quarantined(value) for key, value in rows}
        return {key: quarantined for key, quarantined in by_key.items() if quarantined.events}

    def drop(self, table: str) -> None:
        """Remove all of a table."""
        with self._transaction():
            self._db.execute("DELETE FROM places WHERE name = ?", (table,))
            self._db.execute("DELETE FROM quarantined WHERE name = ?", (table,))
            self._drop(table)

    def _drop(self, table: str) -> None:
        self._made.discard(table)
        self._db.execute(f"DROP TABLE IF EXISTS {quoted(table)}")
        self._db.execute(f"DROP TABLE IF EXISTS {search_of(table)}")
        self._db.execute("DELETE FROM tables WHERE name = ?", (table,))

    def _drop_what_is_empty(self, table: str) -> None:
        """Drop a table without rows and checkpoint: the recovered removals of a dropped table leave one behind."""
        if (
            table in self._made
            and not self._is_placed(table)
            and not self._one(f"SELECT 1 FROM {quoted(table)} LIMIT 1")
        ):
            self._drop(table)

    def _is_placed(self, table: str) -> bool:
        return self._one("SELECT 1 FROM places WHERE name = ?", (table,)) is not None

    def _there(self, table: str) -> str:
        """The table to look into: one of the same columns that stays empty, where this one is not there."""
        if table in self._made:
            return table
        projection = projection_name(table)
        return f"{projection if projection in self._columns else ''}-0 {_EMPTY}"

    def _name_there(self, table: str) -> str:
        return self._name(self._there(table))

    def _name(self, table: str) -> str:
        """The quoted name of a table, which is made when it is not there."""
        if table not in self._made:
            wanted = self._statements(table)
            with self._transaction():
                for statement in wanted:
                    self._db.execute(statement)
                self._db.execute("INSERT INTO tables VALUES (?, ?)", (table, ";\n".join(wanted)))
            self._made.add(table)
        return quoted(table)

    def _statements(self, table: str) -> list[str]:
        return list(statements(table, self._columns.get(projection_name(table), NONE)))

    def _find_tables(self) -> set[str]:
        """The tables that are there. Raises `Damaged` where one was made with other columns than it has now."""
        made = dict(self._db.execute("SELECT name, made_by FROM tables").fetchall())
        for table, made_by in made.items():
            if made_by != ";\n".join(self._statements(table)):
                raise Damaged(f"the columns of {table} are declared otherwise now")
        return set(made)

    # -- SQLite --------------------------------------------------------------------------------------

    def _one(self, sql: str, parameters: Collection[Any] = ()) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self._db.execute(sql, tuple(parameters)).fetchone()
        return row

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # some errors have ended it
                self._db.execute("ROLLBACK")
            self._made = self._find_tables()
            raise


def _at_last(value: bytes) -> tuple[int, int]:
    quarantined = decode_quarantined(value)
    nr, index = quarantined.at
    return nr, 2 * index + (not quarantined.events)  # as `replaces`: a released key is behind one that waited there


def _checked(row: bytes, crc: int) -> bytes:
    if crc32(row) != crc:
        raise Damaged("a row is not what was written")
    return row
