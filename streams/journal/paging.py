"""How much to read at once when rows have any size."""

from __future__ import annotations

PAGE_BYTES = 4 * 1024 * 1024
FIRST_PAGE = 16
MOST_ROWS = 5000


def next_page(size: int, rows: int) -> int:
    """How many rows to ask for next, when so many had this size: so many that the answer stays near `PAGE_BYTES`."""
    return max(1, min(MOST_ROWS, PAGE_BYTES * rows // (size or 1)))
