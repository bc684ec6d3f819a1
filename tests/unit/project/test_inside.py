"""Nothing of the project looks outside its checkout without being told to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
FOLDERS = "aggregates", "examples", "projections", "schemas", "servers", "streams", "tests"
ABOVE = re.compile(r"__file__\)[.a-z()]*\.parents\[(\d+)\]")
BESIDE = re.compile(r"ROOT\.parent\b|(Path|open)\([^)]*[\"']\.\./")


def _files() -> Iterator[Path]:
    yield ROOT / "Makefile"
    for folder in FOLDERS:
        yield from (ROOT / folder).rglob("*.py")


def test_nothing_looks_beside_the_checkout() -> None:
    """No program of the project names a folder above its root."""
    found = []
    for file in _files():
        inside = file.relative_to(ROOT)
        for line in file.read_text().splitlines():
            above = any(int(number) >= len(inside.parts) for number in ABOVE.findall(line))
            if above or BESIDE.search(line):
                found.append(f"{inside}: {line.strip()}")
    assert [] == found
