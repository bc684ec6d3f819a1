"""The lines that a page compares are those of the programs."""

from __future__ import annotations

from tests.bench.rivals.vouchers.__main__ import PAGE, on_page, table


def test_the_table_is_counted() -> None:
    """`python -m tests.bench.rivals.vouchers --write` would change nothing."""
    assert table() == on_page(PAGE.read_text("utf-8"))
