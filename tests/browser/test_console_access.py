"""The console where workers want to know who asks: it asks for a token, keeps it in the tab, and says what it lacks."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import expect

from streams.access.tokens import new_token
from tests.browser.conftest import OpenTab
from tests.e2e.system import System
from tests.e2e.worker import PROJECTIONS, Worker

pytestmark = pytest.mark.asyncio(loop_scope="module")
JOURNAL = "sqlite"
GRANT = """[[grants]]
to = ["token:auditor"]
role = "auditor"
contexts = ["*"]
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def guarded(system: System, tmp_path_factory: pytest.TempPathFactory) -> tuple[Worker, str]:
    """A worker that wants to know who asks, and the token of an auditor."""
    folder: Path = tmp_path_factory.mktemp("access")
    token, line = new_token("auditor")
    (folder / "tokens").write_text(f"{line}\n")
    (folder / "grants.toml").write_text(GRANT)
    worker = system.start(
        PROJECTIONS, HTTP_TOKENS_FILE=str(folder / "tokens"), HTTP_GRANTS_FILE=str(folder / "grants.toml")
    )
    await system.all_served(worker)
    return worker, token


async def test_a_token_is_asked_for(open_tab: OpenTab, guarded: tuple[Worker, str]) -> None:
    """Once; a wrong one is asked for again, the right one is kept while the tab is open, and forgotten when told so."""
    worker, token = guarded
    tab = await open_tab(worker.url + "/console")
    dialog = tab.page.get_by_role("dialog")
    await expect(dialog).to_contain_text("Who are you?")
    assert [] == await tab.obstacles()
    await dialog.get_by_label("Token").fill("sst_wrong")
    await dialog.get_by_role("button", name="Go on").click()
    await expect(dialog).to_contain_text("The token is not taken")
    await dialog.get_by_label("Token").fill(token)
    await dialog.get_by_role("button", name="Go on").click()
    await expect(tab.page.get_by_role("heading", level=1)).to_contain_text("need")
    await tab.page.reload()
    await expect(tab.page.get_by_role("heading", level=1)).to_contain_text("need")
    await expect(dialog).to_have_count(0)
    await tab.page.get_by_role("button", name="Forget the token").click()
    await expect(dialog).to_contain_text("Who are you?")
    tab.expect_wrong("401")


async def test_what_one_may_not(open_tab: OpenTab, guarded: tuple[Worker, str]) -> None:
    """An auditor sees no rows and gives no orders: the page says which right it would take."""
    worker, token = guarded
    tab = await open_tab(worker.url + "/console#/tables")
    await tab.page.get_by_label("Token").fill(token)
    await tab.page.get_by_role("button", name="Go on").click()
    await tab.page.get_by_role("button", name="Pause users", exact=True).click()
    dialog = tab.page.get_by_role("dialog")
    await dialog.get_by_label("Why").fill("may I?")
    await dialog.get_by_role("button", name="Pause").click()
    await expect(dialog).to_contain_text("would need to be operator@projections")
    await dialog.get_by_role("button", name="Cancel").click()
    tab.expect_wrong("401")
    tab.expect_wrong("403")
