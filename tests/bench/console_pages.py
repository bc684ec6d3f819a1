"""The console in a real browser: what a page takes to be opened, and many of them that are looked at."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

from playwright.async_api import Browser, Page, async_playwright

from tests import machine_tools
from tests.browser.conftest import ARGUMENTS
from tests.browser.screens import screen

WIDTH, HEIGHT = 1280, 800
SHOWN_SECONDS = 60.0


class Address(NamedTuple):
    """A page: its name, the address, and what is there as soon as it shows what it was opened for."""

    name: str
    path: str
    shown: str


class Opened(NamedTuple):
    """What a page took, with an empty cache: until it showed what it is for; the requests until then and their bytes
    on the wire, headers too; and in each minute afterwards, while somebody looks at it."""

    seconds: float
    requests: int
    kilobytes: float
    requests_a_minute: float
    kilobytes_a_minute: float


class Traffic:
    """What a page has on the wire, from when it is watched."""

    def __init__(self) -> None:
        self.requests = 0
        self.bytes = 0.0

    async def watch(self, page: Page) -> None:
        """Of this page, from now on."""
        session = await page.context.new_cdp_session(page)
        session.on("Network.requestWillBeSent", self._sent)
        session.on("Network.loadingFinished", self._finished)
        await session.send("Network.enable")

    def _sent(self, event: Any) -> None:
        self.requests += not event["request"]["url"].startswith("data:")

    def _finished(self, event: Any) -> None:
        self.bytes += event["encodedDataLength"]


@contextlib.asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """A Chromium without a window."""
    async with async_playwright() as playwright:
        found = await playwright.chromium.launch(executable_path=machine_tools.chromium(), args=ARGUMENTS)
        try:
            yield found
        finally:
            await found.close()


async def _open(chromium: Browser, url: str, address: Address, traffic: Traffic | None = None) -> Page:
    """A page in a profile of its own, when it shows what it is for."""
    context = await chromium.new_context(**screen(WIDTH, HEIGHT, dark=False))
    page = await context.new_page()
    if traffic is not None:
        await traffic.watch(page)
    await page.goto(f"{url}/console#/{address.path}")
    await page.locator(address.shown).first.wait_for(timeout=SHOWN_SECONDS * 1e3)
    return page


async def opened(chromium: Browser, url: str, address: Address, seconds: float) -> Opened:
    """Open a page, and look at it for so many seconds."""
    traffic, began = Traffic(), time.perf_counter()
    page = await _open(chromium, url, address, traffic)
    took, requests, bytes = time.perf_counter() - began, traffic.requests, traffic.bytes
    await asyncio.sleep(seconds)
    minutes = seconds / 60
    found = Opened(
        took,
        requests,
        bytes / 1e3,
        (traffic.requests - requests) / minutes,
        (traffic.bytes - bytes) / 1e3 / minutes,
    )
    await page.context.close()
    return found


@contextlib.asynccontextmanager
async def looked_at(chromium: Browser, url: str, addresses: Sequence[Address]) -> AsyncIterator[None]:
    """All of these at once, each in a profile of its own, for the length of a block."""
    pages = [await _open(chromium, url, address) for address in addresses]
    try:
        yield
    finally:
        for page in pages:
            await page.context.close()
