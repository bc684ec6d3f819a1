"""The page of the five minutes, followed to the letter: an empty folder, the wheel, and no server until it says so."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from tests.e2e.system import ROOT, System
from tests.package.follower import Follower
from tests.package.wheel import Elsewhere
from tests.pages import Step

PAGE = ROOT / "docs" / "start.md"


def installs(step: Step) -> bool:
    """What the wheel's venv has done before."""
    return "pip install" in step.text


async def test_five_minutes(elsewhere: Elsewhere, system: System, tmp_path: Path) -> None:
    """Who types what it shows gets what it shows: tests that pass, the first commands with their answers, rows, the
    console; and the same on Kafka and Cassandra."""
    folder = tmp_path / "empty"
    folder.mkdir()
    where = f"KAFKA_BROKERS='{system.brokers}' JOURNAL_URL='{system.journal_url}'"
    page = PAGE.read_text("utf-8").replace("sourced dev --servers", f"{where} sourced dev --servers")
    follower = Follower(folder, elsewhere.folder, {"NAMESPACE": system.namespace})
    try:
        await asyncio.to_thread(follower.follow, page, installs)
        async with system.http.get(f"{follower.url}/console") as console:
            assert (200, True) == (console.status, "<html" in await console.text())
    finally:
        await asyncio.to_thread(follower.end)
    assert [] == [name for name in os.listdir(folder / "shop") if name.endswith(".db")]
