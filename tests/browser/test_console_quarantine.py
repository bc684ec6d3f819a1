"""An aggregate in quarantine, seen and set right by a person alone at the console."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.browser.conftest import OpenTab
from tests.browser.screens import HOSTILE
from tests.e2e.client import eventually
from tests.e2e.system import System
from tests.e2e.worker import Worker

pytestmark = pytest.mark.asyncio(loop_scope="module")
JOURNAL = "sqlite"
LEDGERS, READ_SIDE = "tests.fragile.app", "tests.fragile.read_side"


class Shop(NamedTuple):
    """A worker of the read side, and the file that mends the bug."""

    door: Worker
    mended: Path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(system: System, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Ledgers whose domain raises until the bug is mended."""
    mended = tmp_path_factory.mktemp("ledgers") / "mended"
    workers = [system.start(module, QUARANTINE="on", LEDGER_MENDED=str(mended)) for module in (LEDGERS, READ_SIDE)]
    for worker in workers:
        await system.all_served(worker)
    return Shop(workers[1], mended)


async def test_a_release(open_tab: OpenTab, shop: Shop, system: System) -> None:
    """Tried dry, what waits is decided in order and nothing is written; released for a reason, or by the drop of the
    letter, the aggregate goes on without the command that raised. Ids of strangers are text."""
    for id in (HOSTILE, "l-2"):
        await system.ask("ledger", id, "Post", {"amount": 1})
        assert "failed" == (await system.ask("ledger", id, "PostBadly", {"amount": 2}))["status"]
        await system.command("ledger", id, "Post", {"amount": 3})
        await system.command("ledger", id, "Refuse", {})
    tab = await open_tab(f"{shop.door.url}/console#/letters", width=360)
    row = tab.page.get_by_role("row").filter(has_text=HOSTILE)
    await expect(row.get_by_role("cell").nth(1)).to_have_text("2", timeout=30_000)
    await row.get_by_role("button", name=f"Try what waits for {HOSTILE}", exact=True).click()
    await expect(tab.page.get_by_text("1 of 2 commands that wait for ledger")).to_be_visible()
    await expect(tab.page.locator(".said-so")).to_contain_text("would be rejected Refuse")
    assert [] == await tab.too_wide()
    assert [] == await tab.obstacles()
    assert [1] == await amounts(system, shop.door, HOSTILE)
    await row.get_by_role("button", name=f"Release {HOSTILE}", exact=True).click()
    dialog = tab.page.get_by_role("dialog")
    await dialog.get_by_label("Why").fill("it was a test")
    await dialog.get_by_role("button", name="Release").click()
    await expect(row).to_have_count(0, timeout=30_000)

    async def goes_on(id: str) -> bool:
        return [1, 3] == await amounts(system, shop.door, id)

    await eventually(lambda: goes_on(HOSTILE), 15, "the release has let nobody go on")
    group = tab.page.get_by_role("article", name="PostBadly of ledger")
    await group.get_by_role("button", name="Drop all").click()
    await dialog.get_by_label("Why").fill("both are old")
    await dialog.get_by_role("button", name="Drop", exact=True).click()
    await expect(group).to_have_count(0, timeout=30_000)

    await eventually(lambda: goes_on("l-2"), 15, "the drop has let nobody go on")  # the letter is gone just before
    _, page, _ = await system.get(shop.door, "/audit?limit=2")
    assert [("dead-letters ledger drop", "both are old"), ("quarantine ledger release", "it was a test")] == [
        (entry["action"], entry["reason"]) for entry in page["actions"]
    ]


async def test_quarantine(open_tab: OpenTab, shop: Shop, system: System) -> None:
    """Who waits stands there; the command that raised is tried dry before and after the bug is mended; sent again, it
    is decided, and those behind it follow."""
    await system.ask("ledger", "l-1", "Post", {"amount": 1})
    assert "failed" == (await system.ask("ledger", "l-1", "PostBadly", {"amount": 2}))["status"]
    await system.command("ledger", "l-1", "Post", {"amount": 3})
    tab = await open_tab(f"{shop.door.url}/console#/letters")
    row = tab.page.get_by_role("row").filter(has_text="ledger l-1")
    await expect(row.get_by_role("cell").nth(1)).to_have_text("1", timeout=30_000)
    await expect(row).to_contain_text("cannot post 2")
    assert [] == await tab.obstacles()
    group = tab.page.get_by_role("article", name="PostBadly of ledger")
    await expect(group).to_contain_text("in decide", timeout=30_000)
    await group.get_by_role("button", name="Try dry").first.click()
    await expect(group).to_contain_text("0 of 1 would be accepted now")
    shop.mended.touch()
    await group.get_by_role("button", name="Try dry").first.click()
    await expect(group).to_contain_text("1 of 1 would be accepted now")
    await row.get_by_role("button", name="Retry the command of l-1").click()
    dialog = tab.page.get_by_role("dialog")
    await dialog.get_by_label("Why").fill("mended")
    await dialog.get_by_role("button", name="Retry").click()
    await expect(row).to_have_count(0, timeout=30_000)

    async def has_all() -> bool:
        return [1, 2, 3] == await amounts(system, shop.door, "l-1")

    await eventually(has_all, 10, "not all were decided")


async def test_a_row_that_waits(open_tab: OpenTab, shop: Shop, system: System) -> None:
    """The stepper shows over which event a projection raises; it is left out for a reason, and the row goes on."""
    for amount in (1, 13, 3):
        await system.ask("ledger", HOSTILE * 2, "Post", {"amount": amount})
    tab = await open_tab(f"{shop.door.url}/console#/tables", width=360)
    row = tab.page.get_by_role("row").filter(has_text=HOSTILE * 2)
    await expect(row).to_contain_text("13 brings no luck")
    assert [] == await tab.too_wide()
    await row.get_by_role("link", name=f"Step through {HOSTILE * 2}", exact=True).click()
    shown = tab.page.get_by_role("region", name="Row", exact=True)
    await expect(tab.page.locator(".events li")).to_have_count(2)
    await tab.page.keyboard.press("j")
    await expect(shown).to_contain_text("13 brings no luck")
    assert [] == await tab.too_wide()
    assert [] == await tab.obstacles()
    await tab.page.go_back()
    await row.get_by_role("button", name="Skip the event").click()
    dialog = tab.page.get_by_role("dialog")
    await dialog.get_by_label("Why").fill(HOSTILE)
    await dialog.get_by_role("button", name="Skip").click()
    await expect(row).to_have_count(0)

    async def goes_on() -> bool:
        _, found, _ = await system.get(shop.door, f"/ledgers/{quote(HOSTILE * 2, safe='')}/rows")
        return [{"events": 2}] == [each["row"] for each in found["rows"]]

    await eventually(goes_on, 15, "the row does not go on")
    await tab.page.goto(f"{shop.door.url}/console#/steps/ledgers/{quote(HOSTILE * 2, safe='')}?at=2")
    await expect(shown).to_contain_text(HOSTILE)
    await expect(shown).to_contain_text("left out")
    await expect(tab.page.locator(".events li")).to_have_count(3)


async def amounts(system: System, door: Worker, id: str) -> list[int]:
    """What was posted to a ledger."""
    _, history, _ = await system.get(door, f"/ledgers/{quote(id, safe='')}/history")
    return [event["data"]["amount"] for event in history["events"]]
