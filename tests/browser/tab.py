"""A tab of the browser: a page as a person sees it, and what went wrong in it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import ConsoleMessage, Page, Request

BROKEN_OFF = "net::ERR_ABORTED"
"""What becomes of requests, such as streams of events, whose page is left. Nothing is wrong with those."""

FOCUS = """() => {
  const at = document.activeElement;
  if (!at || at === document.body) return "";
  const name = at.getAttribute("aria-label") || at.innerText || at.value || at.id || "";
  return `${at.tagName.toLowerCase()} ${name.trim()}`.trim();
}"""
TOO_WIDE = """() => {
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= width) return [];
  return [...document.body.querySelectorAll("*")]
    .map((at) => [at, at.getBoundingClientRect()])
    .map(([at, box]) => [at, Math.round(Math.max(box.right, box.left + at.scrollWidth))])
    .filter(([at, right]) => right > width)
    .map(([at, right]) => `${at.tagName.toLowerCase()}${at.id && "#" + at.id} ends at ${right} px`);
}"""


@dataclass
class Tab:
    """A page with a profile of its own, and a list of what went wrong in it. Made by the fixture `open_tab`."""

    page: Page
    pictures: Path
    """The folder of the pictures."""
    name: str
    """With what the names of pictures begin."""
    wrong: list[str] = field(default_factory=list)
    """Errors that nobody caught; what the console calls errors, violations of the page's policy among them; requests
    without an answer. A page need not have an icon."""
    expected: list[str] = field(default_factory=list)
    """Patterns of what is to go wrong."""

    def __post_init__(self) -> None:
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        self.page.on("requestfailed", self._on_request_failed)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not message.location["url"].endswith("/favicon.ico"):
            self.wrong.append(f"console: {message.text} ({message.location['url']})")

    def _on_request_failed(self, request: Request) -> None:
        if request.failure != BROKEN_OFF:
            self.wrong.append(f"request: {request.method} {request.url}: {request.failure}")

    def expect_wrong(self, pattern: str) -> None:
        """Something of this form goes wrong in this tab, sooner or later, and is to."""
        self.expected.append(pattern)

    @property
    def surprises(self) -> list[str]:
        """What went wrong and was not expected, and what was expected and did not go wrong."""
        unexpected = [line for line in self.wrong if not any(re.search(one, line) for one in self.expected)]
        missing = [one for one in self.expected if not any(re.search(one, line) for line in self.wrong)]
        return [*unexpected, *(f"nothing went wrong like {pattern!r}" for pattern in missing)]

    async def obstacles(self, within: str | None = None) -> list[str]:
        """What keeps somebody from using the page, or what a selector names of it, as axe finds: by a screen reader, or
        with weak eyes. Each with the rule and the elements."""
        found = (await Axe().run(self.page, context=within)).response["violations"]
        return [f"{one['id']} at {', '.join(str(node['target']) for node in one['nodes'])}" for one in found]

    async def too_wide(self) -> list[str]:
        """The elements for which the page has to be moved sideways."""
        return list(await self.page.evaluate(TOO_WIDE))

    async def walk(self, count: int, key: str = "Tab") -> list[str]:
        """What has the focus after each press of a key, as `button Send`; empty: nothing has."""
        reached = []
        for _ in range(count):
            await self.page.keyboard.press(key)
            reached.append(str(await self.page.evaluate(FOCUS)))
        return reached

    async def keep(self, what: str) -> Path:
        """Keep a picture of the whole page. Returns the file."""
        file = self.pictures / f"{self.name}-{what}.png"
        await self.page.screenshot(path=file, full_page=True, animations="disabled")
        return file
