"""What the end-to-end tests say of a copy of a table that is no fold of the log."""

from __future__ import annotations

from projections.stores.rows import Checkpoint, StoredRow
from tests.e2e.tables import Copy, differences


def row(nr: int, **fields: str) -> StoredRow:
    return StoredRow(f"box-0:{nr}:0", 1, 0, dict(fields))


def test_rows_that_differ() -> None:
    """They are shown as the log and each copy has them, and whether a copy was not given them or has lost them."""
    log = {"a": row(1), "lost": row(2, of="2"), "late": row(9, of="9")}
    disk = Copy({"a": row(1), "strange": row(3)}, Checkpoint(8, 0, 8))
    lines = differences("boxes-1 in partition 0", [], log, {"disk": disk, "changelog": Copy(log, Checkpoint(9, 0, 9))})
    assert [
        "boxes-1 in partition 0: the log is empty, and makes 3 rows, the newest at (9, 0)",
        "disk: 2 rows, its place is (8, 0); 3 rows differ, 1 of them have their last event behind that place",
        "changelog: 3 rows, its place is (9, 0); 0 rows differ, 0 of them have their last event behind that place",
        "lost",
        f"  log: {log['lost']}",
        "  disk: None",
        f"  changelog: {log['lost']}",
    ] == lines.splitlines()[:7]
    assert ["late", "strange"] == [line for line in lines.splitlines()[7:] if not line.startswith(" ")]
