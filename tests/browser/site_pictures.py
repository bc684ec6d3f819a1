"""`python -m tests.browser.site_pictures`: pictures of the site that `make docs` has made, for `docs/development.md`.

`take` is also for other pages that are looked at once.
"""

from __future__ import annotations

import asyncio
import functools
import http.server
import io
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.async_api import async_playwright

from tests import machine_tools
from tests.browser.conftest import ARGUMENTS
from tests.browser.screens import screen
from tests.e2e.system import ROOT

FOLDER, SITE = ROOT / "docs" / "pictures", ROOT / "build" / "site"
WIDTH, HEIGHT, COLOURS = 1440, 900, 96
PAGES = {
    "site-start": "start.html",
    "site-tutorial": "tutorial/5-schedules.html",
    "site-concept": "concepts/log.html",
    "site-comparison": "comparison.html",
    "site-reference": "reference/api-aggregates.html",
}
"""By picture the page that is on it."""


async def take(pictures: Mapping[Path, str], wait_for: str = "main", dark: bool = False) -> None:
    """A picture of each address, when there is something like `wait_for` on its page."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=machine_tools.chromium(), args=ARGUMENTS)
        for file, address in pictures.items():
            context = await browser.new_context(**screen(WIDTH, HEIGHT, dark))
            page = await context.new_page()
            await page.goto(address)
            await page.locator(wait_for).first.wait_for()
            await page.wait_for_load_state("networkidle")
            await page.locator("pre.mermaid").first.wait_for(state="detached")  # it is drawn, where there is one
            picture = await page.screenshot(animations="disabled")
            file.parent.mkdir(exist_ok=True)
            image = Image.open(io.BytesIO(picture)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
            image.save(file, optimize=True)
            print(f"{file.name}: {file.stat().st_size:,} bytes", flush=True)
            await context.close()
        await browser.close()


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address at which a folder is to be had."""
    handler = functools.partial(_Silent, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class _Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


def main() -> int:
    """Take them all."""
    if not SITE.is_dir():
        print("there is no build/site: make docs", file=sys.stderr)
        return 1
    with served(SITE) as url:
        asyncio.run(take({FOLDER / f"{name}.png": f"{url}/{page}" for name, page in PAGES.items()}, "article h1"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
