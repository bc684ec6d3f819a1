"""The console in a browser, over a shop of which some is broken: what a person sees, and what his hands can do."""

from __future__ import annotations

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.browser.conftest import OpenTab
from tests.e2e.client import eventually
from tests.e2e.system import System
from tests.e2e.worker import ORDERS, PROJECTIONS, Worker

pytestmark = pytest.mark.asyncio(loop_scope="module")
JOURNAL = "sqlite"
HOSTILE = "<img src=x onerror=alert(1)>'\"&%2F?#"
OPEN = {"user_id": "u-1", "kind": "sale"}
WIDTHS = pytest.mark.parametrize(("width", "dark"), [(1280, False), (360, True)], ids=["desk", "phone"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(system: System) -> Worker:
    """A worker of projections over an order and a command that nobody knows; of the other contexts no worker is up."""
    orders, door = workers = system.start(ORDERS), system.start(PROJECTIONS)
    for worker in workers:
        await system.all_served(worker)
    assert orders.running
    reply = await system.ask("order", HOSTILE, "OpenOrder", OPEN)
    await system.ask("order", HOSTILE, "NoSuchCommand", {})
    await system.get(door, "/orders", At_Least=reply["position"], Prefer="wait=30")
    return door


async def test_a_browser_is_led_to_the_console(open_tab: OpenTab, shop: Worker, system: System) -> None:
    """Programs get from `/` what they have always got."""
    tab = await open_tab(shop.url + "/")
    await expect(tab.page).to_have_url(f"{shop.url}/console")
    status, body, _ = await system.get(shop, "/")
    assert (200, {"status": "OK"}) == (status, body)


@WIDTHS
async def test_now(open_tab: OpenTab, shop: Worker, system: System, width: int, dark: bool) -> None:
    """The verdict says at once what is wrong; what a stranger has sent is text; an order has its effect."""
    tab = await open_tab(shop.url + "/console", width=width, dark=dark)
    await expect(tab.page.get_by_role("heading", level=1)).to_contain_text("things need you now")
    findings = tab.page.locator(".finding")
    await expect(findings.filter(has_text="Nobody decides the commands of products")).to_be_visible()
    await expect(findings.filter(has_text="1 NoSuchCommand command of order failed")).to_be_visible()
    assert ["button Skip to the page", "a Now"] == [part.split("\n")[0] for part in await tab.walk(2)]
    assert [] == await tab.too_wide()
    assert [] == await tab.obstacles()
    await system.http.post(f"{shop.url}/projections/orders/pause", json={"reason": HOSTILE})
    paused = findings.filter(has_text="orders is paused")
    await expect(paused).to_contain_text(HOSTILE)
    await paused.get_by_role("button", name="Resume", exact=True).click()
    await tab.page.get_by_role("dialog").get_by_role("button", name="Resume").click()
    await expect(paused).to_have_count(0)

    async def goes_on() -> bool:
        _, told, _ = await system.get(shop, "/projections/orders")
        return told["paused"] is None

    await eventually(goes_on, 10, "orders are still paused")
