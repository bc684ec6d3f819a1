"""A worker imports the driver of its own database alone: the others cost memory, and time at each start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DRIVERS = {"cassandra", "sqlalchemy", "asyncpg"}
LOOK = f"import sys, streams.shop.orders, projections.shop.app; print(*{DRIVERS} & sys.modules.keys())"


@pytest.mark.parametrize(
    ("url", "needed"),
    [
        ("cassandra://127.0.0.1:9042/shop", {"cassandra"}),
        ("postgresql://shop@127.0.0.1:5433/shop", {"sqlalchemy", "asyncpg"}),
        ("sqlite:////nowhere/shop.db", {"sqlalchemy"}),
    ],
    ids=["cassandra", "postgresql", "sqlite"],
)
def test_only_the_own_driver_is_imported(url: str, needed: set[str]) -> None:
    """Apps have the modules of the database that JOURNAL_URL names, and not those of others."""
    environment = {**os.environ, "JOURNAL_URL": url, "PYTHONPATH": str(ROOT)}
    child = subprocess.run(
        [sys.executable, "-c", LOOK], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert needed == set(child.stdout.split())
