"""`python -m tests.browser.pictures` takes the pictures of `docs/console.md`: each page over a month of sales that was
replayed as `make demo` does, and over a shop of which five things are broken."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from PIL import Image
from playwright.async_api import Page, async_playwright

from examples.demo.__main__ import first_sale
from streams.moments import in_utc, now
from tests import machine_tools
from tests.browser import broken
from tests.browser.conftest import ARGUMENTS
from tests.browser.letters import line_raised
from tests.browser.screens import screen
from tests.e2e.client import eventually
from tests.e2e.system import ROOT, System
from tests.e2e.worker import CHECKOUT, ORDERS, PRODUCTS, PROJECTIONS, TIMERS, USERS, Worker

FOLDER = ROOT / "docs" / "pictures"
WIDTH, HEIGHT, COLOURS = 1180, 820, 96
DAYS = 31
ALIKE = ("536366", "536366", "536367")
"""Orders of which a line failed."""
START_SECONDS = 180.0
REPLAY_SECONDS = 1_800.0
WELL_SECONDS = 120.0
MODULES = (ORDERS, PRODUCTS, USERS, CHECKOUT, TIMERS, PROJECTIONS)

Shown = Callable[[Page], Awaitable[None]]


@dataclass(frozen=True)
class Picture:
    """A page: the name of its file, its address, and when it is to be taken."""

    name: str
    address: str
    is_shown: Shown
    phone: bool = False


def there(selector: str) -> Shown:
    """It is taken when there is something like that."""

    async def wait(page: Page) -> None:
        await page.locator(selector).first.wait_for()

    return wait


def said(*texts: str) -> Shown:
    """It is taken when all of that is said."""

    async def wait(page: Page) -> None:
        for text in texts:
            await page.get_by_text(text).first.wait_for()

    return wait


async def tried(page: Page) -> None:
    group = page.get_by_role("article", name="AddLine of order")
    await group.get_by_role("button", name="Try all dry").click()
    await group.get_by_text("would be accepted now").wait_for()


async def logs(page: Page) -> None:
    await page.locator(".plot path.series").first.wait_for()
    await page.locator(".places").first.wait_for()


async def take(url: str, pictures: Iterable[Picture]) -> None:
    """Take them, one after another; of some also as a phone in the dark has it."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=machine_tools.chromium(), args=ARGUMENTS)
        for picture in pictures:
            for suffix, width, dark in [("", WIDTH, False), *([("-phone", 360, True)] if picture.phone else [])]:
                context = await browser.new_context(**screen(width, HEIGHT, dark))
                page = await context.new_page()
                await page.goto(f"{url}/console#/{picture.address}")
                await picture.is_shown(page)
                await page.evaluate("scrollTo(0, 0)")
                save(await page.screenshot(animations="disabled"), FOLDER / f"console-{picture.name}{suffix}.png")
                await context.close()
        await browser.close()


def save(picture: bytes, file: Path) -> None:
    """As a file of few colours, which is small."""
    file.parent.mkdir(exist_ok=True)
    Image.open(io.BytesIO(picture)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(file, optimize=True)
    print(f"{file.relative_to(ROOT)}: {file.stat().st_size:,} bytes", flush=True)


async def of_the_month(data: Path | None) -> None:
    """Replay a month of sales, and look at all that it has left; then at what needs somebody."""
    async with shop() as system:
        workers = {module: system.start(module) for module in MODULES}
        await asyncio.gather(*(system.all_served(worker, seconds=START_SECONDS) for worker in workers.values()))
        door = workers[PROJECTIONS]
        order = await replay(system, door, data)
        await eventually(lambda: is_well(system, door), WELL_SECONDS, "not all is well after the replay")
        _, history, _ = await system.get(door, f"/orders/{order}/history")
        [placed] = [event["position"] for event in history["events"] if event["type"] == "OrderPlaced"]
        changed = f"aggregate/order/{order}?at={min(4, len(history['events']))}"
        await take(
            door.url,
            [
                Picture("now", "now", said("All is well."), phone=True),
                Picture("aggregate", changed, there(".state ins, .state del")),
                Picture("story", f"story/{placed}", there(".story .step >> nth=6")),
                Picture("steps", f"steps/orders/{order}?at=4", there(".state ins, .state del")),
                Picture("schemas", "schemas/product", said("Counted in the journal:")),
                Picture("logs", "logs", logs),
            ],
        )
        await give_orders(system, door)
        await take(
            door.url,
            [
                Picture("tables", "tables", said("nobody needs it")),
                Picture("timers", "timers", there("main tbody tr >> nth=2")),
                Picture("letters", "letters", tried),
                Picture("audit", "audit", said("the disk is nearly full, ticket 17")),
            ],
        )


@contextlib.asynccontextmanager
async def shop() -> AsyncIterator[System]:
    """A system of its own, of which nothing is left."""
    with tempfile.TemporaryDirectory() as folder:
        system = System(Path(folder), f"sqlite:///{folder}/journal")
        await system.open()
        try:
            yield system
        finally:
            await system.close()


async def replay(system: System, door: Worker, data: Path | None) -> str:
    """Replay the first month of a file, or of generated sales as `make demo` has them, until each checkout is over.
    Returns the first order."""
    file = data or system.data / "sales.csv.gz"
    if data is None:
        await run(system, "generate-sales", str(file), "--days", str(DAYS))
    first = first_sale(file)
    until = first.end_of_month.isoformat()
    await run(system, "replay", str(file), "--until", until, "--confirmed", "--url", door.url)
    return first.invoice


async def run(system: System, *arguments: str) -> None:
    """A command of the read side's app, which is to succeed."""
    ended = await system.run("-A", PROJECTIONS, *arguments, timeout=REPLAY_SECONDS)
    print(ended.stdout, flush=True)
    assert ended.returncode == 0, ended.stderr


async def is_well(system: System, door: Worker) -> bool:
    status, verdict, _ = await system.get(door, "/findings")
    return status == 200 and verdict["verdict"] == "well"


async def give_orders(system: System, door: Worker) -> None:
    """A pause, a table that nobody needs, timers that wait, and commands that have failed."""
    for path, body in (
        ("orders/pause", {"reason": "the disk is nearly full, ticket 17"}),
        ("orders/resume", {"reason": "there is room again"}),
        ("products/rebuild", {"again": True, "reason": "to see how long it takes"}),
    ):
        async with system.http.post(f"{door.url}/projections/{path}", json=body) as response:
            assert response.status < 300, await response.text()
    for number, order in enumerate(ALIKE):
        send = {"to": "order", "id": f"{order}-1", "command": "CancelOrder", "data": '{"reason": "not paid"}'}
        timer = {**send, "due": in_utc(now() + timedelta(days=2, hours=number)), "command_id": None}
        await system.ask("timer", f"unpaid:{order}:{number}", "ScheduleTimer", timer, seconds=60)
    opened = {"user_id": "17850", "kind": "sale", "country": "France"}
    for order in {*ALIKE}:
        await system.ask("order", f"{order}-1", "OpenOrder", opened, seconds=60)
    for number, order in enumerate(ALIKE):
        line = {"sku": f"cup-{number}", "description": "A cup", "quantity": 1, "unit_price": "4.95"}
        await line_raised(system, f"{order}-1", f"line-{number}", line, "ZeroDivisionError: division by zero")

    async def is_built() -> bool:
        _, told, _ = await system.get(door, "/projections/products")
        return any(table["state"] == "to drop" for table in told["tables"])

    await eventually(is_built, 120, "the table is not built")


async def of_the_broken() -> None:
    """Look at a shop of which five things are broken."""
    async with shop() as system:
        workers = await broken.start(system)
        await broken.break_five(system, workers)
        id = broken.POISONED
        await take(
            workers[broken.READ_SIDE].url,
            [
                Picture("broken", "now", said("Nobody decides the commands of products"), phone=True),
                Picture("broken-aggregate", f"aggregate/order/{id}", there(".state ins, .state del")),
                Picture("broken-logs", "logs", there(".places")),
                Picture("broken-tables", "tables", there("main article")),
                Picture("broken-letters", "letters", said(f"order {id}")),
            ],
        )


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.browser.pictures", description=__doc__)
    parser.add_argument("--data", type=Path, metavar="FILE", help='an "Online Retail" CSV; else generated sales')
    parser.add_argument("--only", choices=("month", "broken"), help="those of one of the two systems")
    options = parser.parse_args()
    if options.only != "broken":
        await of_the_month(options.data)
    if options.only != "month":
        await of_the_broken()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
