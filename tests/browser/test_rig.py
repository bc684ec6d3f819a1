"""The rig itself: what is wrong with a page is seen, and what is right is not called wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web

from tests.browser.conftest import OpenTab
from tests.e2e.client import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")
HOSTS = {"shop.example": "127.0.0.1"}

POLICY = "default-src 'none'; script-src 'self'; connect-src 'self'"
WIDE = "wide" * 50
FAULTY = f"""<!doctype html><html><title>Faulty</title><main><h1>Faulty</h1>
<img src="data:image/png;base64,AAAA"><p style="color: red"><button>Buy</button><button id="all"></button>
<pre id="wide">{WIDE}</pre><script>alert(1)</script><script src="/raises.js"></script></main></html>"""
SOUND = (
    """<!doctype html><html lang="en"><title>Sound</title><main><h1>Sound</h1><p><a href="/">Home</a></main></html>"""
)
RAISES = """fetch("/nowhere"); throw new Error("boom");"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def port() -> AsyncIterator[int]:
    """Of a site with two pages."""

    def answer(text: str, kind: str = "text/html") -> web.Response:
        return web.Response(text=text, content_type=kind, headers={"Content-Security-Policy": POLICY})

    async def sound(request: web.Request) -> web.Response:
        return answer(SOUND)

    async def faulty(request: web.Request) -> web.Response:
        return answer(FAULTY)

    async def raises(request: web.Request) -> web.Response:
        return answer(RAISES, "text/javascript")

    site = web.Application()
    site.add_routes([web.get("/", sound), web.get("/faulty", faulty), web.get("/raises.js", raises)])
    runner = web.AppRunner(site)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


async def test_a_sound_page(open_tab: OpenTab, port: int) -> None:
    """Nothing is wrong with it, under a name of its own, at any width, by keyboard; and a picture is kept."""
    tab = await open_tab(f"http://shop.example:{port}/", width=360, dark=True)
    assert ([], []) == (await tab.obstacles(), await tab.too_wide())
    assert ["a Home", ""] == await tab.walk(2)
    assert await tab.page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    assert (await tab.keep("whole")).read_bytes().startswith(b"\x89PNG")


async def test_a_faulty_page(open_tab: OpenTab, port: int) -> None:
    """What breaks, what the policy forbids, what is not there, what cannot be used, what does not fit: each is seen."""
    tab = await open_tab(f"http://127.0.0.1:{port}/faulty", width=360)
    await eventually(lambda: len(tab.wrong) >= 5, 10, lambda: str(tab.wrong))
    tab.expect_wrong("bang")
    assert [*tab.wrong, "nothing went wrong like 'bang'"] == tab.surprises
    tab.expected[:] = ["^error: boom", "inline script", "inline style", "data:image", "404"]
    rules = {line.split(" at ")[0] for line in await tab.obstacles()}
    assert {"html-has-lang", "image-alt", "button-name"} <= rules
    assert "pre#wide" in {line.partition(" ends at ")[0] for line in await tab.too_wide()}
