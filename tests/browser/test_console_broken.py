"""Five things are really broken at once, and whoever opens the console is told of all five, with what to do."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from playwright.async_api import expect

from streams.moments import in_utc, now
from tests.browser.broken import BESIDES, BROKEN, POISONED, READ_SIDE, break_five, findings, start
from tests.browser.conftest import OpenTab
from tests.browser.screens import WIDTHS
from tests.e2e.client import eventually
from tests.e2e.system import System
from tests.e2e.worker import Worker

pytestmark = pytest.mark.asyncio(loop_scope="module")
JOURNAL = "sqlite"


class Shop(NamedTuple):
    """A worker of the read side, when all was well, and what it says afterwards."""

    door: Worker
    well_at: str
    findings: list[Any]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(system: System) -> Shop:
    """All workers of a shop, of which one was killed; and four bugs, or what comes of them."""
    workers = await start(system)
    well_at = in_utc(now(), "seconds")
    return Shop(workers[READ_SIDE], well_at, await break_five(system, workers))


async def test_the_verdict(shop: Shop) -> None:
    """All was well; now each of the five is found once, since when it is so, and nothing else is."""
    of_each = {id: [finding for finding in shop.findings if finding["id"].startswith(id)] for id in BROKEN}
    assert dict.fromkeys(BROKEN, 1) == {id: len(found) for id, found in of_each.items()}
    others = [finding["id"] for finding in shop.findings if not finding["id"].startswith(tuple(BROKEN))]
    assert [] == [id for id in others if not id.startswith(BESIDES)]
    for id, remedy in BROKEN.items():
        [finding] = of_each[id]
        assert finding["remedy"]["text"].startswith(remedy)
        assert finding["since"] >= shop.well_at[:19]


@WIDTHS
async def test_the_page(open_tab: OpenTab, shop: Shop, width: int, dark: bool) -> None:
    """Each stands there in a sentence, with the one thing to do, and the command or the button that does it."""
    tab = await open_tab(f"{shop.door.url}/console", width=width, dark=dark)
    await expect(tab.page.get_by_role("heading", level=1)).to_contain_text("things need you now")
    findings = tab.page.locator(".finding")
    for title, remedy in (
        ("Nobody decides the commands of products", "faust -A streams.shop.products worker"),
        ("1 key of orders cannot be shown", "Skip the event"),
        ("1 ShipOrdr command of order failed", "faust -A tests.broken.orders dead-letters show order"),
        (
            f"order {POISONED} is in quarantine: 2 commands wait",
            "faust -A tests.broken.orders dead-letters retry order",
        ),
        ("checkout hears nothing of", "Deploy the version of checkout"),
    ):
        await expect(findings.filter(has_text=title)).to_contain_text(remedy)
    assert [] == await tab.obstacles()
    assert [] == await tab.too_wide()


async def test_what_a_worker_says_once(shop: Shop, system: System) -> None:
    """A line of the log of a worker of the write side, which goes on, is a finding of its own; the worker keeps it."""
    await system.command("order", "nobody-hears", "ShipOrder", {}, reply_to="no legal name!")
    told: list[Any] = []

    async def is_told() -> bool:
        told[:] = [it for it in await findings(system, shop.door) if it.get("id") == "said:no-replies"]
        return bool(told)

    await eventually(is_told, 30, "nobody is told that there are no replies")
    [finding] = told
    assert "Somebody wants replies on a topic that gets none: no legal name!" == finding["title"]
    [worker] = [it["name"] for it in finding["concerns"] if it["kind"] == "worker"]
    async with system.http.get(f"{worker}/notices") as response:
        assert ["no-replies"] == [notice["kind"] for notice in (await response.json())["notices"]]
