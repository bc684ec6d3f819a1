"""The pages on testing and on typed rows, followed to the letter: its files, its commands, and what they print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
STEP = re.compile(r"(?:^`(?P<file>[\w./]+)`:\n\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)


def ran(folder: Path, *command: str) -> str:
    """What a command says, in the folder of the page's files."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{folder}", "MYPYPATH": str(ROOT), "PYTEST_ADDOPTS": ""}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=600
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("page", ["testing.md", "rows.md"])
def test_a_page(tmp_path: Path, page: str) -> None:
    """On testing: both planted bugs are found, with the stories that the page shows; mended, all its tests pass. On
    rows: what it shows of typed rows."""
    said = ""
    for step in STEP.finditer((ROOT / "docs" / page).read_text("utf-8")):
        text = step["text"]
        match step["language"]:
            case "python":
                (tmp_path / step["file"]).write_text(text, "utf-8")
            case "bash":
                command = text.replace("python", sys.executable).split()
                said = ran(tmp_path, *command, "-p", "sourced.testing.plugin", "-p", "no:cacheprovider")
            case "diff":
                patched = subprocess.run(
                    ["git", "apply", "-"], cwd=tmp_path, input=text, capture_output=True, text=True, check=False
                )
                assert "" == patched.stderr
            case "text":
                for line in text.splitlines():
                    assert line in said, f"the page shows {line!r}, and what is said is\n{said}"
    # With the settings and the cache of the own run, which is strict: reading all libraries anew takes a minute.
    own = "--strict", "--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(ROOT / ".mypy_cache")
    assert "Success: no issues found" in ran(tmp_path, sys.executable, "-m", "mypy", *own, str(tmp_path))
