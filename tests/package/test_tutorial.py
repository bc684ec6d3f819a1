"""The tutorial, followed to the letter from its first page to its last: one project grows, and its tests pass."""

from __future__ import annotations

import asyncio
import re
from itertools import pairwise
from pathlib import Path

from tests.e2e.system import ROOT, System
from tests.package.follower import Follower
from tests.package.wheel import Elsewhere

FOLDER = ROOT / "docs" / "tutorial"
PAGES = sorted(FOLDER.glob("*.md"))


async def test_eight_steps(elsewhere: Elsewhere, system: System, tmp_path: Path) -> None:
    """Whoever writes its files and types its commands gets what it shows: a rule with its tests, rows, the first
    commands, a process manager, the bug in it with its seed, a timer, the next version of an event, and in the end two
    workers of each on Kafka and Cassandra, of which one is ended. What has grown is typed."""
    folder = tmp_path / "empty"
    folder.mkdir()
    follower = Follower(folder, elsewhere.folder, {"NAMESPACE": system.namespace})
    try:
        for page in PAGES:
            text = page.read_text("utf-8").replace("kafka://127.0.0.1:9092", system.brokers)
            text = text.replace("cassandra://127.0.0.1:9042", system.journal_url.rpartition("/")[0])
            await asyncio.to_thread(follower.follow, text)
    finally:
        await asyncio.to_thread(follower.end)
    # With the settings and the cache of the own run: reading all libraries anew takes a minute.
    own = "--strict", "--config-file", ROOT / "pyproject.toml", "--cache-dir", ROOT / ".mypy_cache"
    python = "--python-executable", elsewhere.python
    typed = elsewhere.run("mypy", *own, *python, "-p", "library", cwd=folder / "library")
    assert "Success: no issues found" in typed.stdout


def test_one_page_leads_to_the_next() -> None:
    """There are eight, and each but the last names the one behind it."""
    assert [str(number) for number in range(1, 9)] == [page.name[0] for page in PAGES]
    for page, following in pairwise(PAGES):
        assert re.search(rf"Next: \[[^\]]+\]\({following.name}\)", " ".join(page.read_text("utf-8").split())), page.name
