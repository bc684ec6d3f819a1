"""An aggregate in quarantine, seen and set right by a person alone at the console."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.browser.conftest import OpenTab
from tests.e2e.client import eventually
from tests.e2e.system import System

pytestmark = pytest.mark.asyncio(loop_scope="module")
JOURNAL = "sqlite"
LEDGERS, READ_SIDE = "tests.fragile.app", "tests.fragile.read_side"


async def test_quarantine(open_tab: OpenTab, system: System, tmp_path: Path) -> None:
    """Who waits stands there; the command that raised is tried dry before and after the bug is mended; sent again, it
    is decided, and those behind it follow."""
    mended = tmp_path / "mended"
    workers = [system.start(module, QUARANTINE="on", LEDGER_MENDED=str(mended)) for module in (LEDGERS, READ_SIDE)]
    for worker in workers:
        await system.all_served(worker)
    url = workers[1].url
    await system.ask("ledger", "l-1", "Post", {"amount": 1})
    assert "failed" == (await system.ask("ledger", "l-1", "PostBadly", {"amount": 2}))["status"]
    await system.command("ledger", "l-1", "Post", {"amount": 3})
    tab = await open_tab(f"{url}/console#/letters")
    row = tab.page.get_by_role("row").filter(has_text="ledger l-1")
    await expect(row.get_by_role("cell").nth(1)).to_have_text("1")
    await expect(row).to_contain_text("cannot post 2")
    await expect(row).to_contain_text("quarantine release ledger 'l-1'")
    assert [] == await tab.obstacles()
    group = tab.page.get_by_role("article", name="PostBadly of ledger")
    await expect(group).to_contain_text("in decide")
    await group.get_by_role("button", name="Try dry").first.click()
    await expect(group).to_contain_text("0 of 1 would be accepted now")
    mended.touch()
    await group.get_by_role("button", name="Try dry").first.click()
    await expect(group).to_contain_text("1 of 1 would be accepted now")
    await row.get_by_role("button", name="Retry the command of l-1").click()
    dialog = tab.page.get_by_role("dialog")
    await dialog.get_by_label("Why").fill("mended")
    await dialog.get_by_role("button", name="Retry").click()
    await expect(row).to_have_count(0)

    async def has_all() -> bool:
        _, history, _ = await system.get(workers[1], "/ledgers/l-1/history")
        return [1, 2, 3] == [event["data"]["amount"] for event in history["events"]]

    await eventually(has_all, 10, "not all were decided")
