"""What is under way, in a browser: the story of a command over contexts of which some have a worker, timers, and
workers that are killed."""

from __future__ import annotations

import asyncio
import re
import signal
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.browser.conftest import OpenTab
from tests.browser.screens import HOSTILE
from tests.e2e.client import eventually
from tests.e2e.system import System
from tests.e2e.worker import CHECKOUT, ORDERS, PROJECTIONS, TIMERS, Worker

pytestmark = pytest.mark.asyncio(loop_scope="module")
JOURNAL = "sqlite"
TRACES = "http://jaeger:16686/trace/{trace_id}"
STILL_TIMERS = "tests.broken.timers"
PLACING = "placing/#1"
LATE = f"late {HOSTILE}"
LINE = {"sku": "tea", "description": "Tea", "quantity": 2, "unit_price": "2.55"}


class Shop(NamedTuple):
    """A worker of projections, and where the order stands that was placed."""

    door: Worker
    position: str


def of(id: str) -> str:
    """The path of a story."""
    return f"/stories/{quote(id, safe='')}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(system: System) -> Shop:
    """An order that was placed, and its checkout: of products and timers no worker is up."""
    workers = system.start(ORDERS), system.start(CHECKOUT), system.start(PROJECTIONS, TRACES_URL=TRACES)
    await asyncio.gather(*(system.all_served(worker) for worker in workers))
    await system.ask("order", HOSTILE, "OpenOrder", {"user_id": "u-1", "kind": "sale"})
    await system.ask("order", HOSTILE, "AddLine", LINE)
    reply = await system.ask("order", HOSTILE, "PlaceOrder", {}, id=PLACING)
    assert "accepted" == reply["status"], reply
    door = workers[-1]

    async def is_heard() -> bool:
        status, story, _ = await system.get(door, of(PLACING))
        return status == 200 and "ReserveStock" in {step["command"] for step in story["steps"]}

    await eventually(is_heard, 30, "the checkout has not begun")
    _, story, _ = await system.get(door, of(PLACING))
    return Shop(door, story["steps"][0]["events"][0]["position"])


def shown(story: Any) -> list[tuple[str, str, list[str]]]:
    return [(step["command"], step["status"], [event["type"] for event in step["events"]]) for step in story["steps"]]


async def test_the_route(shop: Shop, system: System) -> None:
    """The same story from the command's id, from the event, and from what it has caused; 404 for what there is not."""
    _, story, _ = await system.get(shop.door, of(PLACING))
    assert [
        ("PlaceOrder", "accepted", ["OrderPlaced"]),
        ("StartCheckout", "accepted", ["CheckoutStarted"]),
        ("ReserveStock", "unseen", []),
        ("ScheduleTimer", "unseen", []),
    ] == shown(story)
    for id in (shop.position, *(step["command_id"] for step in story["steps"][1:])):
        _, other, _ = await system.get(shop.door, of(id))
        if other.get("status") == 404:  # the id of a command that is in no journal says which event has caused it
            raise AssertionError(id)
        assert story["steps"] == other["steps"], id
    within = f"?type=order&aggregate={quote(HOSTILE, safe='')}"
    _, found, _ = await system.get(shop.door, of(PLACING) + within)
    assert story["steps"] == found["steps"]
    status, problem, _ = await system.get(shop.door, of("nobody"))
    assert (404, "Not found") == (status, problem["title"])


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (360, True)], ids=["desk", "phone"])
async def test_the_page(open_tab: OpenTab, shop: Shop, width: int, dark: bool) -> None:
    """Lanes, steps, and what is awaited; ids of strangers are text, and lead to the aggregate."""
    tab = await open_tab(f"{shop.door.url}/console#/story/{quote(PLACING, safe='')}", width=width, dark=dark)
    graph = tab.page.get_by_role("region", name="The graph of the story")
    await expect(graph.locator(".step")).to_have_count(4)
    await expect(graph.locator(".edge")).to_have_count(3)
    await expect(graph.locator(".lane")).to_have_count(4)
    await expect(tab.page.get_by_role("region", name="Still awaited").get_by_role("listitem")).to_have_count(2)
    steps = tab.page.get_by_role("region", name="Steps of the story")
    await expect(steps.get_by_role("row").filter(has_text="StartCheckout")).to_contain_text(HOSTILE)
    assert [] == await tab.too_wide()
    assert [] == await tab.obstacles()
    await steps.get_by_role("link", name="OrderPlaced", exact=True).click()
    await expect(tab.page.get_by_role("heading", level=1)).to_have_text(f"order {HOSTILE}")
    await tab.page.locator(".facts a").first.click()
    await expect(graph.locator(".step")).to_have_count(4)


async def test_a_story_leads_to_its_trace(open_tab: OpenTab, shop: Shop, system: System) -> None:
    """Where that is kept: to the page that TRACES_URL names, which is not told where from."""
    trace, command = (
        "4bf92f3577b34da6a3ce929d0e0e4736",
        {"type": "OpenOrder", "data": {"user_id": "u-1", "kind": "sale"}},
    )
    headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01", "Idempotency-Key": "traced"}
    url = f"{shop.door.url}/orders/traced/commands"
    async with system.http.post(url, json=command, headers=headers) as answer:
        assert 200 == answer.status, await answer.text()
    tab = await open_tab(f"{shop.door.url}/console#/story/traced")
    link = tab.page.get_by_role("link", name=trace)
    await expect(link).to_have_attribute("href", f"http://jaeger:16686/trace/{trace}")
    await expect(link).to_have_attribute("rel", "noreferrer")


async def test_what_there_is_not(open_tab: OpenTab, shop: Shop) -> None:
    """It says what would help."""
    tab = await open_tab(f"{shop.door.url}/console#/story/nobody")
    await expect(tab.page.get_by_role("alert")).to_contain_text("the position of an event")
    tab.expect_wrong("404")


async def test_timers_that_are_late(open_tab: OpenTab, shop: Shop, system: System) -> None:
    """By how much stands beside each, and the verdict says it; one that has not fired yet can still be cancelled, which
    is read from the outside, and then nothing is late any more."""
    still = system.start(STILL_TIMERS)
    await system.all_served(still)
    due = {"due": "2020-01-01T00:00:00Z", "to": "order", "id": HOSTILE, "command": "CancelOrder"}
    assert "accepted" == (await system.ask("timer", LATE, "ScheduleTimer", due))["status"]
    now = await open_tab(f"{shop.door.url}/console")
    finding = now.page.locator(".finding").filter(has_text="Timers are late: the first was due")
    await expect(finding).to_be_visible()
    tab = await open_tab(f"{shop.door.url}/console#/timers", width=360)
    row = tab.page.get_by_role("region", name="Timers that are pending").locator("tbody tr").first
    await expect(tab.page.get_by_text("1 timer late", exact=True)).to_be_visible()
    await expect(row).to_contain_text(LATE)
    await expect(row).to_contain_text("late by")
    assert [] == await tab.too_wide()
    assert [] == await tab.obstacles()
    await tab.page.get_by_role("button", name=f"Cancel {LATE}", exact=True).click()
    await tab.page.get_by_role("dialog").get_by_role("button", name="Cancel the timer").click()
    await expect(tab.page.get_by_text("1 timer late", exact=True)).to_have_count(0)
    await expect(finding).to_have_count(0)
    _, history, _ = await system.get(shop.door, f"/timers/{quote(LATE, safe='')}/history")
    assert ["TimerScheduled", "TimerCancelled"] == [event["type"] for event in history["events"]]
    still.signal(signal.SIGTERM)
    await asyncio.to_thread(still.end)


async def test_timers(open_tab: OpenTab, shop: Shop, system: System) -> None:
    """The next one first, in pages; one is cancelled, which is read from the outside. What they are of is text."""
    await system.all_served(system.start(TIMERS))
    to = {"to": "order", "id": HOSTILE, "command": "CancelOrder", "data": "{}", "command_id": None}
    due = [f"2126-11-30T{number % 24:02}:{number:02}:00Z" for number in range(60)]
    await asyncio.gather(
        *(
            system.ask("timer", f"{HOSTILE}{number}", "ScheduleTimer", {"due": at, **to}, seconds=30)
            for number, at in enumerate(due)
        )
    )
    tab = await open_tab(f"{shop.door.url}/console#/timers", width=360)
    rows = tab.page.get_by_role("region", name="Timers that are pending").locator("tbody tr")
    await expect(rows).to_have_count(50)
    await expect(rows.nth(1)).to_contain_text(HOSTILE)
    assert [] == await tab.too_wide()
    assert [] == await tab.obstacles()
    first = f"{HOSTILE}0"
    await tab.page.get_by_role("button", name=f"Cancel {first}", exact=True).click()
    await tab.page.get_by_role("dialog").get_by_role("button", name="Cancel the timer").click()

    async def is_cancelled() -> bool:
        _, page, _ = await system.get(shop.door, "/timers?limit=100")
        return first not in {timer["id"] for timer in page["timers"]}

    await eventually(is_cancelled, 15, "the timer is still pending")
    await tab.page.get_by_role("link", name="Later ones").click()
    await expect(rows).not_to_have_count(50)
    await tab.page.get_by_role("link", name="The first ones").click()
    await tab.page.get_by_role("link", name=f"Story of {HOSTILE}24", exact=True).click()
    await expect(tab.page.get_by_role("region", name="Still awaited")).to_contain_text("its time comes")


async def test_while_workers_are_killed(open_tab: OpenTab, shop: Shop, system: System) -> None:
    """Within seconds it says whose worker is gone, and when another one is up it is well by itself. Where its own
    worker is killed, it says that what one sees is older, and goes on with the one that comes back."""
    tab = await open_tab(f"{shop.door.url}/console")
    findings, older = tab.page.locator(".finding"), tab.page.locator(".offline")
    gone = findings.filter(has_text=re.compile("(of|commands of) orders( |$)"))
    nobody = findings.filter(has_text="Nobody decides the commands of orders")
    await expect(findings.first).to_be_visible()  # of products there is no worker
    await expect(gone).to_have_count(0)
    await tab.page.evaluate("window.isTheSame = true")

    [orders] = [worker for worker in system.workers if worker.module == ORDERS]
    orders.signal(signal.SIGKILL)
    await expect(gone.first).to_be_visible(timeout=10_000)
    await expect(nobody).to_be_visible(timeout=30_000)  # Kafka waits for it as long as a session is
    system.start(ORDERS)
    await expect(nobody).to_have_count(0, timeout=60_000)

    tab.expect_wrong(r"ERR_|\b50\d\b")
    shop.door.signal(signal.SIGKILL)
    await expect(older).to_contain_text("What you see is older.", timeout=10_000)
    await expect(findings.first).to_be_visible()
    again = system.start(PROJECTIONS, folder=shop.door.folder, port=shop.door.port, TRACES_URL=TRACES)
    await system.all_served(again)
    await expect(older).to_have_count(0, timeout=30_000)
    await expect(findings.filter(has_text="Nobody decides the commands of products")).to_be_visible()
    assert await tab.page.evaluate("window.isTheSame")
