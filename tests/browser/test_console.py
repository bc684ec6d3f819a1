"""The console in a browser, over a shop of which some is broken: what a person sees, and what his hands can do."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio
from playwright.async_api import Route, expect

from tests.browser.conftest import OpenTab
from tests.browser.screens import HOSTILE, WIDTHS
from tests.e2e.client import eventually
from tests.e2e.system import System
from tests.e2e.worker import ORDERS, PROJECTIONS, Worker

pytestmark = pytest.mark.asyncio(loop_scope="module")
JOURNAL = "sqlite"
OPEN = {"user_id": "u-1", "kind": "sale"}
LINE = {"sku": "tea", "description": HOSTILE, "quantity": 2, "unit_price": "2.55"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(system: System) -> Worker:
    """A worker of projections over an order and a command that nobody knows; of the other contexts no worker is up."""
    orders, door = workers = system.start(ORDERS), system.start(PROJECTIONS)
    for worker in workers:
        await system.all_served(worker)
    assert orders.running
    await system.ask("order", HOSTILE, "OpenOrder", OPEN)
    reply = await system.ask("order", HOSTILE, "AddLine", LINE)
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


def life(shop: Worker, id: str = HOSTILE) -> str:
    """The address of the page of an order."""
    return f"{shop.url}/console#/aggregate/order/{quote(id, safe='')}"


@WIDTHS
async def test_a_life(open_tab: OpenTab, shop: Worker, width: int, dark: bool) -> None:
    """Each event with what it has changed, by keys and by address; ids and texts of strangers are text."""
    tab = await open_tab(life(shop), width=width, dark=dark)
    state = tab.page.get_by_role("region", name="State")
    await expect(tab.page.get_by_role("heading", level=1)).to_have_text(f"order {HOSTILE}")
    await expect(state.locator("ins").filter(has_text=HOSTILE)).to_be_visible()
    await expect(tab.page.locator(".events li")).to_have_count(2)
    assert [] == await tab.too_wide()
    assert [] == await tab.obstacles()
    await tab.page.keyboard.press("k")
    await expect(state.get_by_role("heading")).to_have_text("State after event 1")
    await expect(state).to_contain_text("The first one.")
    await expect(state).not_to_contain_text("tea")
    assert tab.page.url.endswith("?at=1")
    await tab.page.reload()
    await expect(state.get_by_role("heading")).to_have_text("State after event 1")
    await tab.page.get_by_role("slider").press("End")
    await expect(state.get_by_role("heading")).to_have_text("State after event 2")


async def test_two_moments_are_compared(open_tab: OpenTab, shop: Worker, system: System) -> None:
    """Any two, and the address says which."""
    for quantity in (1, 2, 3):
        await system.ask(
            "order", "compared", "AddLine" if quantity > 1 else "OpenOrder", LINE if quantity > 1 else OPEN
        )
    tab = await open_tab(life(shop, "compared"))
    await expect(tab.page.locator(".events li")).to_have_count(3)
    await tab.page.get_by_label("beside").select_option("the first one")
    state = tab.page.get_by_role("region", name="State")
    await expect(state).to_contain_text("from event 1")
    await tab.page.get_by_label("only what differs").check()
    await expect(state).not_to_contain_text("user_id")
    assert {"against=first", "changed=1"} == {*tab.page.url.partition("?")[2].split("&")}


async def test_what_would_it_say(open_tab: OpenTab, shop: Worker, system: System) -> None:
    """A command is decided at a moment, without writing; then it is sent, and the page shows what came of it."""
    await system.ask("order", "asked", "OpenOrder", OPEN)
    tab = await open_tab(life(shop, "asked"))
    await tab.page.get_by_label("Command").select_option("PlaceOrder")
    await tab.page.get_by_role("button", name="Ask").click()
    said = tab.page.locator(".said-so")
    await expect(said).to_contain_text("rejected")
    await tab.page.get_by_label("Command").select_option("AddLine")
    for name, value in LINE.items():
        await tab.page.locator(f"[name={name}]").fill(str(value))
    await tab.page.get_by_role("button", name="Ask").click()
    await expect(said).to_contain_text("accepted")
    await expect(said).to_contain_text(HOSTILE)
    _, history, _ = await system.get(shop, "/orders/asked/history")
    assert ["OrderOpened"] == [event["type"] for event in history["events"]]
    assert [] == await tab.obstacles()
    await tab.page.get_by_role("button", name="Send it for real").click()
    await tab.page.get_by_role("dialog").get_by_role("button", name="Send").click()
    await expect(tab.page.locator(".events li")).to_have_count(2)
    table = tab.page.get_by_role("heading", name="orders-1", exact=True)
    await expect(tab.page.locator("article").filter(has=table)).to_contain_text("up to date")
    _, history, _ = await system.get(shop, "/orders/asked/history")
    assert ["OrderOpened", "LineAdded"] == [event["type"] for event in history["events"]]


async def test_a_command_of_which_one_does_not_hear(open_tab: OpenTab, shop: Worker, system: System) -> None:
    """It has arrived, and its answer has not: whoever presses again sends the same one, and it is there once."""
    await system.ask("order", "unheard", "OpenOrder", OPEN)
    tab = await open_tab(life(shop, "unheard"))
    lost: list[int] = []

    async def lose_the_first(route: Route) -> None:
        answer = await route.fetch()
        lost.append(answer.status)
        await (route.fulfill(response=answer) if lost[1:] else route.abort())

    await tab.page.route("**/commands", lose_the_first)
    tab.expect_wrong("ERR_FAILED")
    await tab.page.get_by_label("Command").select_option("AddLine")
    for name, value in LINE.items():
        await tab.page.locator(f"[name={name}]").fill(str(value))
    await tab.page.get_by_role("button", name="Send it for real").click()
    send = tab.page.get_by_role("dialog").get_by_role("button", name="Send")
    await send.click()
    await expect(tab.page.get_by_role("dialog")).to_contain_text("the worker does not answer")
    await send.click()
    await expect(tab.page.get_by_role("dialog")).to_have_count(0)
    assert [200, 200] == lost
    _, history, _ = await system.get(shop, "/orders/unheard/history")
    assert ["OrderOpened", "LineAdded"] == [event["type"] for event in history["events"]]


async def test_one_that_does_not_exist(open_tab: OpenTab, shop: Worker) -> None:
    """It says so, and what it would say to its first command."""
    tab = await open_tab(life(shop, "nobody"))
    await expect(tab.page.get_by_text("There is no order of this id yet.")).to_be_visible()
    await tab.page.get_by_label("Command").select_option("OpenOrder")
    await tab.page.locator("[name=user_id]").fill("u-1")
    await tab.page.get_by_role("button", name="Ask").click()
    await expect(tab.page.locator(".said-so")).to_contain_text("OrderOpened")
    tab.expect_wrong("404")


@WIDTHS
async def test_logs(open_tab: OpenTab, shop: Worker, width: int, dark: bool) -> None:
    """Who owns what; of a context without a worker that it has none; and how far tables are."""
    tab = await open_tab(f"{shop.url}/console#/logs", width=width, dark=dark)
    orders = tab.page.get_by_role("region", name="Logs of orders")
    await expect(orders.get_by_role("row").filter(has_text="order@0")).to_contain_text("served")
    await expect(tab.page.get_by_role("region", name="Logs of products")).to_contain_text("no owner")
    await expect(tab.page.locator(".places li").filter(has_text="orders-1").first).to_contain_text("up to date")
    assert [] == await tab.too_wide()
    assert [] == await tab.obstacles()
    tab.wrong[:] = [line for line in tab.wrong if "/figures" not in line]  # of an app without them


async def test_takeovers(open_tab: OpenTab, shop: Worker) -> None:
    """Each log that has changed hands in the last hour, in words; and since when it has its owner."""
    tab = await open_tab(f"{shop.url}/console#/logs", width=360)
    takeovers = tab.page.get_by_role("region", name="Takeovers of the last hour")
    first = takeovers.get_by_role("row").filter(has_text="order@0")
    await expect(first.get_by_role("cell").nth(2)).to_have_text("nobody")
    await expect(first.get_by_role("cell").nth(1)).to_contain_text("127.0.0.1:")
    orders = tab.page.get_by_role("region", name="Logs of orders")
    await expect(orders.get_by_role("row").filter(has_text="order@0").get_by_role("cell").nth(2)).to_contain_text("ago")
    assert [] == await tab.too_wide()
    assert [] == await tab.obstacles()


@WIDTHS
async def test_tables(open_tab: OpenTab, shop: Worker, system: System, width: int, dark: bool) -> None:
    """A projection is paused with a reason, and goes on again; its order is read from the outside."""
    name = "users" if dark else "products"
    tab = await open_tab(f"{shop.url}/console#/tables", width=width, dark=dark)
    await tab.page.get_by_role("button", name=f"Pause {name}", exact=True).click()
    dialog = tab.page.get_by_role("dialog")
    await dialog.get_by_label("Why").fill(HOSTILE)
    await dialog.get_by_role("button", name="Pause").click()
    section = tab.page.locator(f"#projection-{name}")
    await expect(section).to_contain_text(HOSTILE)
    assert [] == await tab.too_wide()
    assert [] == await tab.obstacles()
    _, told, _ = await system.get(shop, f"/projections/{name}")
    assert HOSTILE == told["paused"]
    await section.get_by_role("button", name="Resume").click()
    await dialog.get_by_role("button", name="Resume").click()
    await expect(section.get_by_role("button", name="Pause")).to_be_visible()


async def test_a_table_is_built_anew(open_tab: OpenTab, shop: Worker) -> None:
    """The new one stands beside the one before it, and answers when it is complete."""
    tab = await open_tab(f"{shop.url}/console#/tables")
    section, dialog = tab.page.locator("#projection-checkouts"), tab.page.get_by_role("dialog")
    await section.get_by_role("button", name="Rebuild").click()
    await dialog.get_by_label("Why").fill("to see whether it can be done")
    await dialog.get_by_role("button", name="Rebuild").click()
    new = section.get_by_role("article").filter(has=tab.page.get_by_role("heading", name="checkouts-1.1", exact=True))
    await expect(new).to_contain_text("answers")


@WIDTHS
async def test_a_row_step_by_step(open_tab: OpenTab, shop: Worker, system: System, width: int, dark: bool) -> None:
    """From the life of an aggregate to a row of it, event by event, by keys and by address; nothing is written."""
    _, before, _ = await system.get(shop, f"/orders/{quote(HOSTILE, safe='')}/rows")
    tab = await open_tab(life(shop), width=width, dark=dark)
    await tab.page.get_by_role("link", name="Step through orders", exact=True).click()
    row = tab.page.get_by_role("region", name="Row", exact=True)
    await expect(tab.page.get_by_role("heading", level=1)).to_have_text("Step through a projection")
    await expect(row).to_contain_text("The row begins here.")
    await tab.page.keyboard.press("j")
    await expect(row.get_by_role("heading")).to_have_text("Row after step 2")
    await expect(row.locator("ins").first).to_be_visible()
    assert tab.page.url.endswith("?at=2")
    assert [] == await tab.too_wide()
    assert [] == await tab.obstacles()
    await tab.page.reload()
    await expect(row.get_by_role("heading")).to_have_text("Row after step 2")
    await tab.page.get_by_role("slider").press("Home")
    await expect(row.get_by_role("heading")).to_have_text("Row after step 1")
    _, after, _ = await system.get(shop, f"/orders/{quote(HOSTILE, safe='')}/rows")
    assert before == after
    [shown] = [each["row"] for each in after["rows"] if each["projection"] == "orders"]
    _, steps, _ = await system.get(shop, f"/orders/{quote(HOSTILE, safe='')}/steps?projection=orders")
    assert (2, shown, None) == (len(steps["steps"]), steps["steps"][-1]["row"], steps["next"])


async def test_steps_page_by_page(shop: Worker, system: System) -> None:
    """A page goes on where the one before ends, with the row as it was there; what there is not is said."""
    path = f"/orders/{quote(HOSTILE, safe='')}/steps"
    _, first, _ = await system.get(shop, f"{path}?projection=orders&limit=1")
    _, second, _ = await system.get(shop, f"{path}?projection=orders&limit=1&after={first['next']}")
    assert (None, 1, None) == (first["before"], first["next"], second["next"])
    assert first["steps"][0]["row"] == second["before"]
    assert [1, 2] == [page["steps"][0]["sequence"] for page in (first, second)]
    for query, id, wanted in (("projection=no", HOSTILE, 400), ("projection=orders", "nobody", 404)):
        status, _, _ = await system.get(shop, f"/orders/{quote(id, safe='')}/steps?{query}")
        assert wanted == status


@WIDTHS
async def test_schemas(open_tab: OpenTab, shop: Worker, system: System, width: int, dark: bool) -> None:
    """Versions beside the one before, the way to today, and how many events are of each, counted while one looks."""
    tab = await open_tab(f"{shop.url}/console#/schemas", width=width, dark=dark)
    await tab.page.get_by_label("Type").select_option("order")
    cancelled = tab.page.get_by_role("article", name="OrderCancelled", exact=True)
    old = cancelled.get_by_role("row").filter(has_text="v1")
    await expect(old).to_contain_text("by an upcaster")
    opened = tab.page.get_by_role("article", name="OrderOpened", exact=True)
    await expect(tab.page.get_by_text("Counted in the journal:")).to_be_visible()
    _, found, _ = await system.get(shop, "/schemas/of/order")
    [record] = [each for each in found["records"] if each["name"] == "OrderOpened"]
    counted = record["versions"][0]["events"]
    assert counted >= 1
    assert found["counted"]["is_complete"]
    await expect(opened.get_by_role("row").nth(1).get_by_role("cell").first).to_have_text(f"{counted}")
    assert [] == await tab.too_wide()
    assert [] == await tab.obstacles()
    await tab.page.get_by_label("Type").select_option("product")
    refused = tab.page.get_by_role("article", name="StockRefused", exact=True)
    await expect(refused.get_by_role("row").filter(has_text="v2")).to_contain_text("renamed")
    await tab.page.get_by_label("Type").focus()
    assert "select" in (await tab.walk(1, "Shift+Tab") and await tab.walk(1))[0]


PAGES = {
    "now": ".verdict",
    "logs": ".places",
    "tables": "#projection-orders",
    "schemas/order": "article",
    "steps/orders/" + quote(HOSTILE, safe=""): ".state",
    "aggregate/order/" + quote(HOSTILE, safe=""): ".state",
    "letters": "article",
    "timers": ".empty",
    "audit": "table",
}


async def test_nobody_looks(open_tab: OpenTab, shop: Worker) -> None:
    """A page that is hidden asks nothing; one that is looked at asks each route at most once a second. All pages stand
    side by side, since most of it is waiting."""
    async with asyncio.TaskGroup() as pages:
        for page in PAGES:
            pages.create_task(_nobody_looks(open_tab, shop, page))


async def _nobody_looks(open_tab: OpenTab, shop: Worker, page: str) -> None:
    tab = await open_tab(f"{shop.url}/console#/{page}")
    asked: list[str] = []
    await expect(tab.page.locator(PAGES[page]).first).to_be_visible(timeout=30_000)
    tab.page.on("request", lambda request: asked.append(request.url))
    await asyncio.sleep(2.5)
    assert max(Counter(asked).values(), default=0) <= 3, (page, asked)
    await hide(tab, True)
    await asyncio.sleep(1)  # what was on its way
    asked.clear()
    await asyncio.sleep(2)
    assert [] == asked, page
    await hide(tab, False)
    await eventually(lambda: bool(asked), 10, f"{page} asks nothing any more")
    tab.wrong[:] = [line for line in tab.wrong if "/figures" not in line]  # of an app without them


async def hide(tab: Any, hidden: bool) -> None:
    """Have a page believe that it is in a tab behind others, or is not."""
    await tab.page.evaluate(
        """(hidden) => {
          Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
          document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )
