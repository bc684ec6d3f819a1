"""`open_tab` opens pages in a browser that is shared by a module; each tab has an empty profile of its own.

A test fails in the end when something went wrong in one of its tabs that it does not expect (`Tab.expect_wrong`). The
last look of each tab is kept in `screenshots` of the servers' folder (`.servers`).

A module may say `HOSTS = {"shop.example": "127.0.0.1"}`: names, and to what they resolve in its browser.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright, expect

from servers.where import Where
from tests import machine_tools
from tests.browser.screens import screen
from tests.browser.tab import Tab
from tests.e2e.conftest import journal_url, servers, system

__all__ = ["chromium", "journal_url", "open_tab", "servers", "system"]

ARGUMENTS = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
    "--no-sandbox",  # with which it does not start as root
)
HEIGHT = 800
SECONDS = 20.0

OpenTab = Callable[..., Awaitable[Tab]]
"""Opens a URL in a new tab of some pixels' `width`, in a `dark` or a light world."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium(request: pytest.FixtureRequest) -> AsyncIterator[Browser]:
    """Debian's Chromium, without a window, and with nothing of whoever runs the tests."""
    hosts: dict[str, str] = getattr(request.module, "HOSTS", {})
    rules = ", ".join(f"MAP {name} {address}" for name, address in hosts.items())
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=machine_tools.chromium(), args=[*ARGUMENTS, f"--host-resolver-rules={rules}"]
        )
        yield browser
        await browser.close()


@pytest.fixture(scope="session")
def pictures() -> Path:
    """The folder of the pictures, which the next run overwrites."""
    folder = Where.from_environment().root / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest_asyncio.fixture(loop_scope="module")
async def open_tab(chromium: Browser, pictures: Path, request: pytest.FixtureRequest) -> AsyncIterator[OpenTab]:
    """Opens tabs for a test, which are closed in its end."""
    test = re.sub(r"\W+", "-", f"{request.path.stem}-{request.node.name}".replace("test_", "")).strip("-")
    tabs: list[Tab] = []

    async def open(url: str, *, width: int = 1280, dark: bool = False, **options: Any) -> Tab:
        """`options` are those of `Browser.new_context` of Playwright."""
        context = await chromium.new_context(**screen(width, HEIGHT, dark), **options)
        context.set_default_timeout(SECONDS * 1_000)
        expect.set_options(timeout=SECONDS * 1_000)
        tab = Tab(await context.new_page(), pictures, test if not tabs else f"{test}-{len(tabs) + 1}")
        tabs.append(tab)
        await tab.page.goto(url)
        return tab

    yield open
    for tab in tabs:
        await tab.keep("end")
        await tab.page.context.close()
    surprises = [line for tab in tabs for line in tab.surprises]
    assert [] == surprises, "\n".join(surprises)
