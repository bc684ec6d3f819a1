"""Takes the pictures of `docs/console.md`, over a shop of which some is broken: `python -m tests.browser.pictures`."""

from __future__ import annotations

import asyncio
import io
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.async_api import Page, async_playwright

from tests import machine_tools
from tests.browser.conftest import ARGUMENTS
from tests.browser.letters import line_raised
from tests.browser.screens import screen
from tests.e2e.client import eventually
from tests.e2e.system import ROOT, System
from tests.e2e.worker import CHECKOUT, ORDERS, PRODUCTS, PROJECTIONS, Worker

FOLDER = ROOT / "docs" / "pictures"
WIDTH, HEIGHT, COLOURS = 1180, 820, 96
LINES = [("tea", "Tea, 100 g", 2, "2.55"), ("cup", "A cup", 1, "4.95")]
ORDER = "536365"
START_SECONDS = 180.0
POINTS_SECONDS = 35
"""For so long the shop is busy before the last hour is looked at."""


async def command(system: System, type: str, id: str, sent: str, /, **data: Any) -> None:
    """Send a command that is accepted."""
    reply = await system.ask(type, id, sent, data, seconds=60)
    assert "accepted" == reply["status"], reply


async def sell(system: System, id: str) -> None:
    """An order of two lines, of which one is taken away again."""
    await command(system, "order", id, "OpenOrder", user_id="17850", kind="sale", country="France")
    for sku, description, quantity, price in LINES:
        await command(
            system, "order", id, "AddLine", sku=sku, description=description, quantity=quantity, unit_price=price
        )
    await command(system, "order", id, "RemoveLine", sku="cup")
    await system.ask("order", id, "PlaceOrder", {}, id=f"place-{id}", seconds=60)


async def busy(system: System, seconds: float) -> None:
    """Sell for some seconds, now more and now less."""
    loop, number = asyncio.get_running_loop(), 0
    until = loop.time() + seconds
    while loop.time() < until:
        number += 1
        await asyncio.gather(*(sell(system, f"{number}-{each}") for each in range(number % 7)))


async def now(page: Page) -> None:
    await page.get_by_text("Nobody decides the commands of users").wait_for()
    await page.get_by_text("orders is paused").wait_for()


async def aggregate(page: Page) -> None:
    await page.locator(".state ins, .state del").first.wait_for()


async def story(page: Page) -> None:
    await page.locator(".story .step").nth(6).wait_for()


async def logs(page: Page) -> None:
    await page.locator(".plot path.series").first.wait_for()
    await page.locator(".places").first.wait_for()


async def tables(page: Page) -> None:
    await page.get_by_text("nobody needs it").wait_for()


async def letters(page: Page) -> None:
    group = page.get_by_role("article", name="AddLine of order")
    await group.get_by_role("button", name="Try all dry").click()
    await group.get_by_text("would be accepted now").wait_for()


async def audit(page: Page) -> None:
    await page.get_by_text("the disk is nearly full, ticket 17", exact=True).wait_for()


PAGES: dict[str, tuple[str, Callable[[Page], Awaitable[None]]]] = {
    "now": ("now", now),
    "aggregate": (f"aggregate/order/{ORDER}?at=4", aggregate),
    "story": (f"story/place-{ORDER}?type=order&aggregate={ORDER}", story),
    "logs": ("logs", logs),
    "tables": ("tables", tables),
    "letters": ("letters", letters),
    "audit": ("audit", audit),
}


async def take(url: str) -> None:
    """The pictures of all pages; of the first one also as a phone and in the dark have it."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=machine_tools.chromium(), args=ARGUMENTS)
        for name, (address, is_shown) in PAGES.items():
            for suffix, width, dark in [("", WIDTH, False), *([("-phone", 360, True)] if name == "now" else [])]:
                context = await browser.new_context(**screen(width, HEIGHT, dark))
                page = await context.new_page()
                await page.goto(f"{url}/console#/{address}")
                await is_shown(page)
                await page.evaluate("scrollTo(0, 0)")
                save(await page.screenshot(animations="disabled"), FOLDER / f"console-{name}{suffix}.png")
                await context.close()
        await browser.close()


def save(picture: bytes, file: Path) -> None:
    """As a file of few colours, which is small."""
    file.parent.mkdir(exist_ok=True)
    Image.open(io.BytesIO(picture)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(file, optimize=True)
    print(f"{file.relative_to(ROOT)}: {file.stat().st_size:,} bytes", flush=True)


async def break_some(system: System, door: Worker) -> None:
    """A pause, commands that failed, and a table that nobody needs; and no worker of users or timers is up."""
    for path, body in (
        ("orders/pause", {"reason": "the disk is nearly full, ticket 17"}),
        ("products/rebuild", {"again": True}),
    ):
        async with system.http.post(f"{door.url}/projections/{path}", json=body) as response:
            assert response.status < 300, await response.text()
    await system.ask("order", ORDER, "ShipOrdr", {}, seconds=60)
    await command(system, "order", "536366", "OpenOrder", user_id="17850", kind="sale", country="France")
    for number, order in enumerate(("536366", "536366", "536367")):
        line = {"sku": f"cup-{number}", "description": "A cup", "quantity": 1, "unit_price": "4.95"}
        await line_raised(system, order, f"line-{number}", line, "ZeroDivisionError: division by zero")

    async def is_built() -> bool:
        _, told, _ = await system.get(door, "/projections/products")
        return any(table["state"] == "to drop" for table in told["tables"])

    await eventually(is_built, 60, "the table is not built")


async def main() -> None:
    """Start a shop, look at it, and end it."""
    with tempfile.TemporaryDirectory() as folder:
        system = System(Path(folder), f"sqlite:///{folder}/journal")
        await system.open()
        try:
            workers = {module: system.start(module) for module in (ORDERS, PRODUCTS, CHECKOUT, PROJECTIONS)}
            await asyncio.gather(*(system.all_served(worker, seconds=START_SECONDS) for worker in workers.values()))
            await command(system, "product", "tea", "DefineProduct", name="Tea", price="2.55")
            await command(system, "product", "tea", "Restock", quantity=9_000)
            await sell(system, ORDER)
            await busy(system, POINTS_SECONDS)
            await break_some(system, workers[PROJECTIONS])
            await take(workers[PROJECTIONS].url)
        finally:
            await system.close()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
