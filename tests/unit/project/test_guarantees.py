"""The pages name tests and files that exist, and each table of guarantees says by what a promise is held."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[2]
PAGE = TESTS.parent / "docs" / "guarantees.md"
NAMED = re.compile(r"`([a-z0-9_/]+/test_[a-z0-9_]+\.py)::(test_[a-z0-9_]+)`")


def functions(file: Path) -> set[str]:
    """The tests of a file."""
    tree = ast.parse(file.read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_named_tests_exist() -> None:
    """A promise whose test was renamed or removed is found."""
    named = NAMED.findall(PAGE.read_text("utf-8"))
    assert len(named) > 40
    files = {file: functions(TESTS / file) if (TESTS / file).is_file() else set() for file, _ in named}
    assert [] == [f"{file}::{name}" for file, name in named if name not in files[file]]


def test_the_page_on_evolution_names_what_exists() -> None:
    """Each kind of change has its example and its test."""
    page = PAGE.with_name("evolution.md")
    text = page.read_text("utf-8")
    named = NAMED.findall(text)
    assert len(named) > 12
    assert [] == [f"{file}::{name}" for file, name in named if name not in functions(TESTS / file)]
    links = re.findall(r"\]\(([^)#]+)\)", text)
    assert len(links) > 12
    assert [] == [link for link in links if not (page.parent / link).exists()]


def test_the_page_on_the_architecture_names_what_exists() -> None:
    """Every room and every file of a way is where the page says, every room is on it, and its words are few."""
    text = PAGE.with_name("architecture.md").read_text("utf-8")
    root = TESTS.parent
    named = {name for name in re.findall(r"`([a-z_/]+(?:/|\.py))`", text) if "/" in name}
    assert len(named) > 50
    assert [] == sorted(
        name for name in named if not (root / name).exists() and name not in ("local/", "shared/", "shop/")
    )
    rooms = {path.parent.relative_to(root).as_posix() + "/" for path in root.glob("[aps]*/**/__init__.py")}
    inner = {"projections/stores/local/", "projections/stores/shared/", "streams/", "projections/"}
    engine = {room for room in rooms if room.split("/")[0] in ("aggregates", "schemas", "streams", "projections")}
    assert set() == {room for room in engine if "/shop/" not in room} - named - inner
    words = text.split("## The words")[1]
    assert words.count("\n| ") - 1 <= 40


def test_the_ways_name_what_their_files_have() -> None:
    """Each class and function of a step of a way stands in a file of that step."""
    rows = [line.strip("|").split(" | ") for line in PAGE.with_name("architecture.md").read_text("utf-8").splitlines()]
    missing = []
    for _, names, files in (row for row in rows if len(row) == 3):
        source = "".join((TESTS.parent / file).read_text("utf-8") for file in re.findall(r"`([a-z_/]+\.py)`", files))
        parts = [part for name in re.findall(r"`([\w.]+)`", names) for part in name.split(".")]
        missing += [part for part in parts if not re.search(rf"(class|def) {part}\b", source)]
    assert [] == missing


def test_every_promise_is_held() -> None:
    """In a table with a column `held by` no row is without a test."""
    held = False
    for line in PAGE.read_text("utf-8").splitlines():
        if not line.startswith("|"):
            held = False
        elif line.endswith("| held by |"):
            held = True
        elif held and not line.startswith("|---"):
            assert NAMED.search(line.rsplit("|", 2)[1]), line
