"""Pages of the console about what people do to a system: what they have ordered, and what failed and is set right."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.browser.conftest import OpenTab
from tests.browser.letters import line_raised
from tests.browser.screens import HOSTILE, WIDTHS
from tests.e2e.client import eventually
from tests.e2e.system import System
from tests.e2e.worker import ORDERS, PROJECTIONS, Worker

pytestmark = pytest.mark.asyncio(loop_scope="module")
JOURNAL = "sqlite"
SEEN = 30_000
"""Milliseconds in which a page has dead letters that have just been written: workers look every few seconds."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(system: System) -> Worker:
    """A worker of projections over orders."""
    orders, door = workers = system.start(ORDERS), system.start(PROJECTIONS)
    for worker in workers:
        await system.all_served(worker)
    assert orders.running
    return door


@WIDTHS
async def test_audit(open_tab: OpenTab, shop: Worker, system: System, width: int, dark: bool) -> None:
    """Orders with their outcome, found by what is about them; what was typed is text."""
    for path, body in (("orders/pause", {"reason": HOSTILE}), ("orders/resume", {}), ("nobody/pause", {"reason": "x"})):
        async with system.http.post(f"{shop.url}/projections/{path}", json=body) as response:
            await response.read()
    tab = await open_tab(f"{shop.url}/console#/audit", width=width, dark=dark)
    rows = tab.page.get_by_role("row")
    refused = rows.filter(has_text="nobody")
    await expect(refused.first).to_contain_text("refused")
    await expect(rows.filter(has_text="projections pause").filter(has_text=HOSTILE).first).to_contain_text("accepted")
    await rows.nth(1).get_by_text("Details").click()
    await expect(rows.nth(1)).to_contain_text(PROJECTIONS)
    assert [] == await tab.too_wide()
    assert [] == await tab.obstacles()
    await tab.page.get_by_label("What").fill("nobody")
    await tab.page.get_by_role("button", name="Show").click()
    await expect(rows.filter(has_text=HOSTILE)).to_have_count(0)
    await expect(refused.first).to_be_visible()
    assert tab.page.url.endswith("?what=nobody")


async def test_older_orders(open_tab: OpenTab, shop: Worker, system: System) -> None:
    """Those behind the first page are one step away, and the newest are one step back."""
    for number in range(55):
        async with system.http.post(f"{shop.url}/projections/orders/resume", json={"reason": f"n-{number}"}) as answer:
            await answer.read()
    tab = await open_tab(f"{shop.url}/console#/audit?what=resume")
    await expect(tab.page.get_by_text("n-54", exact=True)).to_be_visible()
    await tab.page.get_by_role("button", name="Older").click()
    await expect(tab.page.get_by_text("n-0", exact=True)).to_be_visible()
    await tab.page.get_by_role("button", name="Newest").click()
    await expect(tab.page.get_by_text("n-54", exact=True)).to_be_visible()


LINE = {"sku": "tea", "description": HOSTILE, "quantity": 2, "unit_price": "2.55"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def broken(shop: Worker, system: System) -> Worker:
    """Three commands that raised at one line, of which two could be taken now, and one that nobody knows."""
    await system.ask("order", "mended", "OpenOrder", {"user_id": "u-1", "kind": "sale"})
    for number in (1, 2):
        await line_raised(system, "mended", f"again-{number}", {**LINE, "sku": f"tea-{number}"}, HOSTILE)
    await line_raised(system, "nobody", "again-3", LINE, HOSTILE)
    await system.ask("order", HOSTILE, "NoSuchCommand", {"text": HOSTILE})
    return shop


@WIDTHS
async def test_dead_letters(open_tab: OpenTab, broken: Worker, system: System, width: int, dark: bool) -> None:
    """In groups by command, reason and line; the original with its trace; all tried dry; what others sent is text."""
    tab = await open_tab(f"{broken.url}/console#/letters", width=width, dark=dark)
    unknown = tab.page.get_by_role("article", name="NoSuchCommand of order: UnknownCommand")
    await expect(unknown).to_contain_text("1 letter", timeout=SEEN)
    group = tab.page.get_by_role("article", name="AddLine of order: DomainError order.py:81 in decide")
    await expect(group).to_contain_text("3 letters", timeout=SEEN)
    await group.get_by_role("button", name="Try all dry").click()
    await expect(group).to_contain_text("2 of 3 would be accepted now")
    await expect(group).to_contain_text("1 would be rejected, UnknownOrder")
    await group.get_by_text("The letters").click()
    await group.get_by_role("button", name="Show").first.click()
    await expect(group.locator(".trace")).to_contain_text("ZeroDivisionError")
    await expect(group.locator(".tree").first).to_contain_text(HOSTILE)
    assert [] == await tab.too_wide()
    assert [] == await tab.obstacles()
    _, history, _ = await system.get(broken, "/orders/mended/history")
    assert ["OrderOpened"] == [event["type"] for event in history["events"]]


async def test_letters_are_sent_again(open_tab: OpenTab, broken: Worker, system: System) -> None:
    """Those that would be accepted, for a reason: their effect is read from the outside, and the order in the audit."""
    tab = await open_tab(f"{broken.url}/console#/letters")
    group = tab.page.get_by_role("article", name="AddLine of order")
    await group.get_by_role("button", name="Try all dry").click()
    await group.get_by_role("button", name="Retry the 2 that would be accepted").click()
    dialog = tab.page.get_by_role("dialog")
    await dialog.get_by_label("Why").fill("the division is mended")
    await dialog.get_by_role("button", name="Retry").click()
    await expect(tab.page.get_by_text("2 commands sent again")).to_be_visible()

    async def are_decided() -> bool:
        _, history, _ = await system.get(broken, "/orders/mended/history")
        return ["OrderOpened", "LineAdded", "LineAdded"] == [event["type"] for event in history["events"]]

    await eventually(are_decided, 15, "the commands were not decided")
    _, page, _ = await system.get(broken, "/audit?what=dead-letters")
    assert [("dead-letters order retry", "accepted", "the division is mended")] == [
        (entry["action"], entry["outcome"], entry["reason"]) for entry in page["actions"]
    ]


async def test_letters_are_dropped(open_tab: OpenTab, broken: Worker, system: System) -> None:
    """One, and then all of a group, by keys alone: off the list as others read it, with the reason in the audit. What
    a stranger writes to the commands drops nothing, though it is the same order."""
    for number in (1, 2, 3):
        await system.ask("order", f"{HOSTILE}{number}", "NoSuchCommand", {"text": HOSTILE}, id=f"unknown-{number}")
    listed = await places(system, broken, "NoSuchCommand", 4)
    forged = await system.ask("order", "thief", "#drop", {"letter": listed[0]})
    assert ("rejected", "Forbidden") == (forged["status"], forged["error"]["type"])
    tab = await open_tab(f"{broken.url}/console#/letters", width=360)
    group = tab.page.get_by_role("article", name="NoSuchCommand of order")
    await expect(group).to_contain_text("4 letters", timeout=SEEN)
    await group.get_by_text("The letters").click()
    await group.get_by_role("button", name=f"Drop {listed[1]}", exact=True).focus()
    await tab.page.keyboard.press("Enter")
    dialog = tab.page.get_by_role("dialog")
    assert [] == await tab.obstacles()
    assert [] == await tab.too_wide()
    await tab.page.keyboard.type(HOSTILE)
    await tab.page.keyboard.press("Enter")
    await expect(dialog).to_have_count(0)
    await expect(tab.page.get_by_text("1 letter dropped.")).to_be_visible()
    await expect(group).to_contain_text("3 letters", timeout=SEEN)
    assert {*listed} - {listed[1]} == {*await places(system, broken, "NoSuchCommand", 3)}
    await group.get_by_role("button", name="Drop all").click()
    await dialog.get_by_label("Why").fill("sent by mistake")
    await dialog.get_by_role("button", name="Drop", exact=True).click()
    await expect(group).to_have_count(0, timeout=SEEN)
    assert [] == await places(system, broken, "NoSuchCommand", 0)
    ended: list[Any] = []

    async def are_written() -> bool:
        _, page, _ = await system.get(broken, "/audit?what=dead-letters order drop")
        ended[:] = [(entry["outcome"], entry["reason"]) for entry in page["actions"]]
        return all(outcome is not None for outcome, _ in ended)

    await eventually(are_written, 15, lambda: str(ended))  # letters are off the list before the order has ended
    assert [("accepted", "sent by mistake"), ("accepted", HOSTILE)] == ended


async def places(system: System, door: Worker, command: str, count: int) -> list[str]:
    """Those of the letters of a command, when there are so many."""
    found: list[str] = []

    async def are_so_many() -> bool:
        _, letters, _ = await system.get(door, "/dead-letters")
        found[:] = [place for group in letters["groups"] if group["command"] == command for place in group["places"]]
        return len(found) == count

    await eventually(are_so_many, 20, f"there are other than {count} letters of {command}")
    return found
