"""Whatever records come, in whatever order and batches, the tables are what the newest of them say."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from projections.stores.changelog import PLACE, QUARANTINED, ROW, is_newer, key_of
from projections.stores.local.sqlite_file import SqliteFile
from projections.stores.local.store import Record
from projections.stores.rows import Checkpoint, Quarantined, StoredRow, encode_stored, is_gone, shown_json
from projections.stores.sql_columns import SqlColumns

TABLES = ("a-1", "a-2", "b-1.x")
COLUMNS = {"a": SqlColumns({"n": "json_extract(row, '$.n')"}, indexes=[("n", "key")], search=("n",))}
POSITIONS = st.tuples(st.integers(1, 4), st.integers(0, 1))


@st.composite
def records(draw: st.DrawFn) -> Record:
    """A record of the changelog."""
    table, kind = draw(st.sampled_from(TABLES)), draw(st.sampled_from([ROW, ROW, ROW, PLACE, QUARANTINED]))
    key = "" if kind == PLACE else draw(st.sampled_from(["", "k", "é\0", "K"]))
    if draw(st.integers(0, 9)) == 0:
        return key_of(table, kind, key), None
    nr, index = draw(POSITIONS)
    at, n = f"type-0:{nr}:{index}", draw(st.text(max_size=3))
    if kind == PLACE:
        value: Any = Checkpoint(nr, index, nr - 1, draw(st.integers(0, 9)))
    elif kind == QUARANTINED:
        value = Quarantined(at, n, draw(st.integers(1, 3)))
    else:
        return key_of(table, kind, key), encode_stored(StoredRow(at, row=None if n == "" else {"n": n}))
    return key_of(table, kind, key), msgspec.json.encode(value)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.lists(records(), max_size=6)), max_size=12))
def test_the_newest_records_stand(batches: list[tuple[bool, list[Record]]]) -> None:
    """They stand as a dictionary would have them that takes a record only when it is newer, also after a restart."""
    expected: dict[bytes, bytes] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.sqlite"
        file = SqliteFile(path, COLUMNS)
        offset = -1
        for written, batch in batches:
            offset += len(batch)
            if written:
                file.write(batch, offset)
            else:
                file.recover(batch, offset)
            for key, value in batch:
                if value is None:
                    expected.pop(key, None)
                elif is_newer(key.partition(b"\0")[2][:1], value, expected.get(key)):
                    expected[key] = value
            assert expected == everything(file)
        file.close()
        file = SqliteFile(path, COLUMNS)
        assert expected == everything(file)
        assert (offset if batches else None) == file.read_up_to
        rows = (value for key, value in expected.items() if key.startswith(b"a-1\0R") and not is_gone(value))
        shown = set(map(shown_json, rows))
        assert shown == set(file.rows("a-1"))
        file.close()


def everything(file: SqliteFile) -> dict[bytes, bytes]:
    """All records that a file has."""
    found: dict[bytes, bytes] = {}
    for table, place in file.places().items():
        found[key_of(table, PLACE)] = msgspec.json.encode(place)
    for table in TABLES:
        for key, quarantined in file.quarantined(table).items():
            found[key_of(table, QUARANTINED, key)] = msgspec.json.encode(quarantined)
        for key, row in file.get_many(table, ["", "k", "é\0", "K"]).items():
            found[key_of(table, ROW, key)] = row
    return found
