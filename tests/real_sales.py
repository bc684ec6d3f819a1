"""The original sales, for who has them: `SALES` names an "Online Retail" CSV from 2010-12-01 on, plain or .gz.

Without it the tests use generated sales alone; the head of a run says which. Nothing is looked for by itself.
"""

from __future__ import annotations

import os
from pathlib import Path

REAL: Path | None = Path(os.environ["SALES"]).expanduser().resolve() if os.environ.get("SALES") else None


def said() -> str:
    """Which sales these tests use, in a line. Raises `FileNotFoundError` when `SALES` names no file."""
    if REAL is None:
        return "sales: generated (SALES=file.csv.gz adds the original ones)"
    if not REAL.is_file():
        raise FileNotFoundError(f"SALES={REAL}: no such file")
    return f"sales: generated, and {REAL}"
