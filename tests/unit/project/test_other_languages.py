"""The page on other languages shows what the examples do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
BLOCKS = re.findall(r"```(java|js)\n(.*?)```", (ROOT / "docs/other-languages.md").read_text("utf-8"), re.DOTALL)
SOURCES = {
    "java": [path.read_text("utf-8") for path in (ROOT / "examples/java").rglob("*.java")],
    "js": [path.read_text("utf-8") for path in (ROOT / "examples/node").glob("*.js")],
}


@pytest.mark.parametrize(("language", "block"), BLOCKS, ids=range(len(BLOCKS)))
def test_excerpts_are_in_the_examples(language: str, block: str) -> None:
    """Each block of code stands in an example, word for word."""
    assert any(block in source for source in SOURCES[language])


def test_there_are_excerpts() -> None:
    """Of both languages."""
    assert {"java", "js"} == {language for language, _ in BLOCKS}
