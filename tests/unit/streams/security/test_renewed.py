"""A value that is made of files anew when they have changed."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from streams.security import renewed
from streams.security.renewed import Renewed, stamp_of

THREADS = 4


def test_files_that_change_between_two_looks_at_them_are_renewed_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder is put in the place of another after the first file was looked at, and before the second."""
    files = [tmp_path / "data" / name for name in ("ca", "own")]

    def mount(name: str) -> None:
        (tmp_path / name).mkdir()
        for file in files:
            (tmp_path / name / file.name).write_text(name)
        (tmp_path / "next").symlink_to(name)
        (tmp_path / "next").replace(tmp_path / "data")

    begun: list[bool] = []

    def stamp() -> renewed.Stamp:
        [first] = stamp_of([str(files[0])])
        if begun:
            begun.clear()
            mount("second")
        [second] = stamp_of([str(files[1])])
        return first, second

    mount("first")
    both = Renewed("BOTH", stamp, lambda: [file.read_text() for file in files])
    begun.append(True)
    caplog.set_level(logging.WARNING, renewed.__name__)
    for _ in range(3):
        value = both.value
    assert ["second", "second"] == value
    assert ["BOTH: its files are renewed, and count from now on"] == caplog.messages


def test_threads_that_come_at_once_renew_it_once(tmp_path: Path) -> None:
    """And have the same value."""
    file = tmp_path / "file"
    file.write_text("first")
    made: list[str] = []
    together = threading.Barrier(THREADS)

    def make() -> str:
        made.append(file.read_text())
        return made[-1]

    def use() -> str:
        together.wait(10)
        return one.value

    one = Renewed("FILE", lambda: stamp_of([str(file)]), make)
    file.write_text("the second")
    with ThreadPoolExecutor(THREADS) as threads:
        values = [ended.result() for ended in [threads.submit(use) for _ in range(THREADS)]]
    assert ["the second"] * THREADS == values
    assert ["first", "the second"] == made
