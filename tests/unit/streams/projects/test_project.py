"""A project is found by its table in pyproject.toml."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.projects.project import ProjectError, find_project


def test_found_from_below(tmp_path: Path) -> None:
    """The nearest folder with the table is the project, from any folder below it."""
    (tmp_path / "pyproject.toml").write_text('[tool.sourced]\napps = ["orders.app", "orders.tables"]\nport = 6100\n')
    below = tmp_path / "orders" / "schemas"
    below.mkdir(parents=True)
    (tmp_path / "orders" / "pyproject.toml").write_text("[tool.ruff]\n")  # of something else
    project = find_project(below)
    assert (tmp_path, ("orders.app", "orders.tables")) == (project.root, project.apps)
    assert 6100 == project.table["port"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no project in "),
        ("[tool.sourced]\n", "has no list of its apps"),
        ("[tool.sourced]\napps = []\n", "has no list of its apps"),
        ('[tool.sourced]\napps = "orders.app"\n', "has no list of its apps"),
        ('[tool.sourced]\napps = ["a.app", "a.app"]\n', "has the app a.app twice"),
        ("[tool]\nsourced = 3\n", "is a table"),
        ("[tool.sourced\n", "is not TOML"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, said: str) -> None:
    """A missing or damaged table is one sentence with the file's name."""
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(ProjectError, match=r"pyproject\.toml") as error:
        find_project(tmp_path)
    assert said in str(error.value)
