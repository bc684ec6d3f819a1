"""The tables of a read model in SQL, the same in SQLite and PostgreSQL, and the statements on them.

An upsert changes nothing where the present row has a newer position. An entry of a listing counts only if it has the
position of its row: a late writer, whose row is refused, may add an entry where there is none any more.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Index,
    Integer,
    MetaData,
    Select,
    Table,
    Text,
    bindparam,
    delete,
    select,
    tuple_,
    type_coerce,
    update,
)

from streams.journal.sql.session import SqlAddress
from streams.journal.sql.tables import AnyText, key_column, value_column

TABLES = MetaData()

PLACES = Table(
    "places",
    TABLES,
    key_column("tbl", AnyText),  # a projection's name, version and generation; likewise below
    key_column("partition", Integer),
    value_column("nr", BigInteger),
    value_column("idx", Integer),
    value_column("complete", BigInteger),
    value_column("next_offset", BigInteger),
    comment="How far each table is: the last event applied, in each partition. Goes with the rows.",
)
ROWS = Table(
    "rows",
    TABLES,
    key_column("tbl", AnyText),
    key_column("partition", Integer),
    key_column("key", AnyText),
    value_column("nr", BigInteger),
    value_column("idx", Integer),
    value_column("row", Text),
    comment="Rows of projections, two lines of JSON: [position, sequence, revision], and the row, null when removed. "
    "nr, idx: the last event in the row.",
    sqlite_with_rowid=False,
)
LISTINGS = Table(
    "listings",
    TABLES,
    key_column("tbl", AnyText),
    key_column("partition", Integer),
    key_column("key", AnyText),
    key_column("listing", AnyText),
    value_column("grp", AnyText),
    value_column("sort", AnyText),
    value_column("nr", BigInteger),
    value_column("idx", Integer),
    comment="Where a row is listed, if nr and idx are those of the row.",
    sqlite_with_rowid=False,
)
Index("listed", LISTINGS.c.tbl, LISTINGS.c.listing, LISTINGS.c.grp, LISTINGS.c.sort, LISTINGS.c.key)
QUARANTINED = Table(
    "quarantined",
    TABLES,
    key_column("tbl", AnyText),
    key_column("partition", Integer),
    key_column("key", AnyText),
    value_column("nr", BigInteger),  # of the last event that waits, or where the key was released
    value_column("idx", Integer),
    value_column("released", Integer),
    value_column("position", AnyText),
    value_column("error", AnyText),
    value_column("events", Integer),
    value_column("last", AnyText),
    comment="Keys whose events wait: the position of the first, why, how many, and the position of the last.",
)


def of(table: Table) -> ColumnElement[bool]:
    """The rows of one table of a projection in one partition."""
    return (table.c.tbl == bindparam("of")) & (table.c.partition == bindparam("in"))


PLACES_OF = select(PLACES.c.tbl, PLACES.c.nr, PLACES.c.idx, PLACES.c.complete, PLACES.c.next_offset).where(
    PLACES.c.partition == bindparam("in")
)
NEXT_KEYS = select(ROWS.c.key).where(of(ROWS)).order_by(ROWS.c.key).limit(bindparam("most"))
QUARANTINED_OF = select(
    QUARANTINED.c.key, QUARANTINED.c.position, QUARANTINED.c.error, QUARANTINED.c.events, QUARANTINED.c.last
).where(of(QUARANTINED), QUARANTINED.c.events > 0)
UNLIST = delete(LISTINGS).where(
    of(LISTINGS),
    LISTINGS.c.key == bindparam("at"),
    LISTINGS.c.listing == bindparam("from"),
    tuple_(LISTINGS.c.nr, LISTINGS.c.idx) <= tuple_(bindparam("up_to_nr"), bindparam("up_to_idx")),
)
RESTART = update(PLACES).where(of(PLACES)).values(nr=0, idx=-1, complete=0, next_offset=0)


def page_query(descending: bool) -> Select[Any]:
    """The query of a page of a group behind a cursor: sort key, key, row."""
    entry = LISTINGS.c
    place = tuple_(entry.sort, entry.key)
    begin = tuple_(bindparam("sort", type_=AnyText), bindparam("key", type_=AnyText))
    part = (
        (place < begin, entry.sort >= bindparam("end"))
        if descending
        else (place > begin, entry.sort <= bindparam("end"))
    )
    return (
        select(entry.sort, entry.key, ROWS.c.row)
        .join(ROWS, (ROWS.c.tbl == entry.tbl) & (ROWS.c.partition == entry.partition) & (ROWS.c.key == entry.key))
        .where(ROWS.c.nr == entry.nr, ROWS.c.idx == entry.idx)
        .where(entry.tbl == bindparam("of"), entry.listing == bindparam("listing"), entry.grp == bindparam("group"))
        .where(*part)
        .order_by(*((entry.sort.desc(), entry.key.desc()) if descending else (entry.sort, entry.key)))
        .limit(bindparam("most"))
    )


def rows_of(address: SqlAddress) -> Select[Any]:
    """The query of rows by key: `keys` is a JSON array, and a key without a row has None.

    It looks into the index once for each key. Given a list to compare with, PostgreSQL reads the whole table when it
    believes the table to be small, as it does of a table that has just been filled.
    """
    keys = address.elements(bindparam("keys", type_=Text))
    row = select(ROWS.c.row).where(of(ROWS), ROWS.c.key == keys.c.value).scalar_subquery()
    return select(type_coerce(keys.c.value, AnyText), row)
