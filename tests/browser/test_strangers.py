"""Pages of other sites, in the browser of somebody who may do everything: because the worker believes whoever comes
from this machine, or because the browser has a certificate. They learn nothing and change nothing; allowed sites may.

The worker of projections knows nobody, that of orders has TLS and wants to know who asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from aiohttp import web

from servers.secured.certificates import Authority, Certificate
from streams.access.tokens import new_token
from tests.browser.conftest import OpenTab
from tests.browser.tab import Tab
from tests.e2e.client import eventually
from tests.e2e.system import System
from tests.e2e.worker import ORDERS, PROJECTIONS, Worker

pytestmark = pytest.mark.asyncio(loop_scope="module")
JOURNAL = "sqlite"
HOSTS = {"evil.example": "127.0.0.1", "admin.example": "127.0.0.1", "rebound.example": "127.0.0.2"}

GRANTS = """
[[grants]]
to = ["token:admin", "cert:gateway"]
role = "auditor"
contexts = ["*"]
"""
PAGE = "<!doctype html><html lang='en'><title>Page</title><link rel='icon' href='data:,'><h1>Page</h1></html>"
WAYS_TO_READ = """async (url) => {
  const tag = (name, attribute, address) => new Promise((resolve) => {
    const made = Object.assign(document.createElement(name), {
      onload: () => resolve("loaded"), onerror: () => resolve("refused"), [attribute]: address,
    });
    document.body.append(made);
  });
  const asked = (options) => fetch(`${url}/orders/o-1`, options)
    .then(async (answer) => `${answer.type} ${await answer.text()}`.trim(), (error) => error.name);
  const stream = new EventSource(`${url}/orders/o-1`);
  const streamed = await new Promise((resolve) => {
    stream.onopen = () => resolve("open");
    stream.onerror = () => resolve("refused");
  });
  stream.close();
  return {
    fetched: await asked({}),
    opaque: await asked({mode: "no-cors"}),
    streamed,
    script: await tag("script", "src", `${url}/orders/o-1`),
    image: await tag("img", "src", `${url}/docs/favicon-32x32.png`),
  };
}"""
STATUS = """async ([url, options]) => {
  try { return (await fetch(url, options)).status; } catch (error) { return error.name; }
}"""
ANSWER = """async ([url, options]) => {
  const answer = await fetch(url, options);
  return {status: answer.status, etag: answer.headers.get("ETag"), body: await answer.json()};
}"""
FRAME = "(src) => document.body.append(Object.assign(document.createElement('iframe'), {src}))"
FORM = """([action, name]) => {
  const form = Object.assign(document.createElement("form"), {action, method: "post", enctype: "text/plain"});
  form.append(Object.assign(document.createElement("input"), {name, value: ""}));
  document.body.append(form);
  form.submit();
}"""
BLOCKED, UNREADABLE = "TypeError", "blocked by CORS policy|ERR_FAILED|ERR_BLOCKED_BY"
"""What a page gets of an answer that it may not read, and what the browser says of that."""


class Shop(NamedTuple):
    """The workers, the port of the other sites, and all that says who somebody is."""

    projections: Worker
    orders: Worker
    port: int
    token: str
    certificate: Certificate

    def site(self, name: str) -> str:
        """The URL of a page of another site."""
        return f"http://{name}:{self.port}/"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def port() -> AsyncIterator[int]:
    """Of a server that has the same page under any name, at two addresses of this machine."""

    async def page(request: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    site = web.Application()
    site.router.add_get("/", page)
    runner = web.AppRunner(site)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port: int = runner.addresses[0][1]
    await web.TCPSite(runner, "127.0.0.2", port).start()
    yield port
    await runner.cleanup()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(system: System, port: int, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Both workers, and an order."""
    folder: Path = tmp_path_factory.mktemp("strangers")
    authority = Authority(folder)
    server, (token, line) = authority.server("web"), new_token("admin")
    (folder / "tokens").write_text(line + "\n")
    (folder / "grants").write_text(GRANTS)
    settings = {"HTTP_ALLOWED_ORIGINS": f"http://admin.example:{port}"}
    guarded = {
        "HTTP_TOKENS_FILE": str(folder / "tokens"),
        "HTTP_GRANTS_FILE": str(folder / "grants"),
        "HTTP_TLS_CERT_FILE": str(server.cert),
        "HTTP_TLS_KEY_FILE": str(server.key),
        "HTTP_CLIENT_CA_FILE": str(authority.file),
    }
    await system.trust(authority.file)
    orders, projections = system.start(ORDERS, **settings, **guarded), system.start(PROJECTIONS, **settings)
    await system.all_served(orders)
    await system.all_served(projections)
    shop = Shop(projections, orders, port, token, authority.client("gateway"))
    position = (await system.ask("order", "o-1", "OpenOrder", {"user_id": "u-1", "kind": "sale"}))["position"]
    await system.get(projections, "/orders/o-1", At_Least=position, Prefer="wait=30")
    return shop


class Answers:
    """What is answered to the requests of a tab from now on, whether its page may see that or not."""

    def __init__(self) -> None:
        self._methods: dict[str, str] = {}
        self._statuses: list[tuple[str, int]] = []

    async def listen(self, tab: Tab) -> Answers:
        """Begin to."""
        session = await tab.page.context.new_cdp_session(tab.page)
        session.on("Network.requestWillBeSent", self._on_request)
        session.on("Network.responseReceivedExtraInfo", self._on_answer)
        await session.send("Network.enable")
        return self

    def _on_request(self, event: Any) -> None:
        self._methods[event["requestId"]] = event["request"]["method"]

    def _on_answer(self, event: Any) -> None:
        self._statuses.append((event["requestId"], event["statusCode"]))

    def to(self, method: str) -> list[int]:
        """The statuses of those to requests of a method."""
        return [status for id, status in self._statuses if self._methods.get(id) == method]


@asynccontextmanager
async def bait(port: int) -> AsyncIterator[str]:
    """The URL of a page whose name resolves to the worker at this port as soon as the page is there.

    The rules for names of a browser cannot change while it runs: the name stays with another address of this machine,
    where from the second connection on all goes to the worker, as it would if the name were the worker's.
    """
    bitten = False

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal bitten
        if not bitten:
            bitten = True
            await reader.readuntil(b"\r\n\r\n")
            writer.write(f"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n{PAGE}".encode())
            writer.close()
            return
        there, to = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(passed_on(reader, to), passed_on(there, writer), return_exceptions=True)

    async with await asyncio.start_server(serve, "127.0.0.2", port):
        yield f"http://rebound.example:{port}/"


async def passed_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Return when all that comes has gone on."""
    while data := await source.read(1 << 16):
        sink.write(data)
    sink.close()


def json_of(body: Any, **headers: str) -> dict[str, Any]:
    """The options of `fetch` for an order in JSON."""
    return {"method": "POST", "body": body, "headers": {"Content-Type": "application/json", **headers}}


async def test_another_site_reads_nothing(open_tab: OpenTab, shop: Shop) -> None:
    """Whatever way a page asks, it gets no byte of an answer, and none of our pages opens inside its own."""
    tab = await open_tab(shop.site("evil.example"))
    found = await tab.page.evaluate(WAYS_TO_READ, shop.projections.url)
    nothing = {"fetched": BLOCKED, "opaque": BLOCKED, "streamed": "refused", "script": "refused", "image": "refused"}
    assert nothing == found
    await tab.page.evaluate(FRAME, shop.projections.url + "/docs")
    await eventually(lambda: any("frame-ancestors" in line for line in tab.wrong), 10, lambda: str(tab.wrong))
    tab.expect_wrong(UNREADABLE)
    tab.expect_wrong("frame-ancestors")


async def test_another_site_changes_nothing(open_tab: OpenTab, system: System, shop: Shop) -> None:
    """What pages may send without asking is refused, by script, by form or by beacon; for JSON the browser asks first,
    and is told no."""
    url = shop.projections.url
    tab = await open_tab(shop.site("evil.example"))
    answers = await Answers().listen(tab)
    for path, body in (
        ("/projections/orders/pause", '{"reason": "x"}'),
        ("/orders/o-1/commands", '{"type": "CancelOrder"}'),
    ):
        simple = {"method": "POST", "mode": "no-cors", "headers": {"Content-Type": "text/plain"}, "body": body}
        assert BLOCKED == await tab.page.evaluate(STATUS, [url + path, simple])
        assert BLOCKED == await tab.page.evaluate(STATUS, [url + path, json_of(body)])
        assert await tab.page.evaluate("([url, body]) => navigator.sendBeacon(url, body)", [url + path, body])
    await eventually(lambda: len(answers.to("POST")) >= 4, 10, lambda: str(answers.to("POST")))
    await tab.page.evaluate(FORM, [url + "/projections/orders/pause", '{"reason": "x", "a": "'])
    await eventually(lambda: len(answers.to("POST")) >= 5, 10, lambda: str(answers.to("POST")))
    assert [403] * 5 == answers.to("POST")
    tab.expect_wrong(f"{UNREADABLE}|403")
    _, projection, _ = await system.get(shop.projections, "/projections/orders")
    _, row, _ = await system.get(shop.projections, "/orders/o-1")
    assert ("open", "serving") == (row["status"], projection["tables"][0]["state"]), (row, projection)


async def test_a_name_that_resolves_to_the_worker(open_tab: OpenTab, shop: Shop) -> None:
    """DNS rebinding: to the browser the worker is the page's own site now. It is asked by a name that is not its own,
    and answers nothing but its health."""
    async with bait(shop.projections.port) as url:
        tab = await open_tab(url)
        for path, options, expected in (
            ("orders/o-1", {}, 421),
            ("orders", {"headers": {"Accept": "text/event-stream"}}, 421),
            ("docs", {}, 421),
            ("orders/o-1/commands", json_of('{"type": "CancelOrder"}'), 421),
            ("health/live", {}, 200),
        ):
            assert expected == await tab.page.evaluate(STATUS, [url + path, options]), path
        answer = await tab.page.goto(url + "docs")
        assert answer is not None
        assert 421 == answer.status
    tab.expect_wrong("421")


async def test_a_site_that_is_allowed(open_tab: OpenTab, shop: Shop) -> None:
    """It reads rows with their version, and sends commands; with headers of workers it does not get as far."""
    url = shop.projections.url
    tab = await open_tab(shop.site("admin.example"))
    row = await tab.page.evaluate(ANSWER, [f"{url}/orders/o-1", {}])
    assert (200, "u-1", True) == (row["status"], row["body"]["user_id"], bool(row["etag"])), row
    order = json_of('{"type": "OpenOrder", "data": {"user_id": "u-2", "kind": "sale"}}', **{"Idempotency-Key": "k-2"})
    reply = await tab.page.evaluate(ANSWER, [f"{url}/orders/o-2/commands", order])
    assert (200, "accepted") == (reply["status"], reply["body"]["status"]), reply
    assert BLOCKED == await tab.page.evaluate(STATUS, [f"{url}/orders/o-1", {"headers": {"X-Hop": "1"}}])
    tab.expect_wrong(UNREADABLE)


async def test_an_allowed_site_has_a_token(open_tab: OpenTab, shop: Shop) -> None:
    """It is told that it needs one, and reads with it; what the browser has by itself does not count, and another site
    has nothing of the token."""
    url, bearer = shop.orders.url + "/owners", {"headers": {"Authorization": f"Bearer {shop.token}"}}
    tab = await open_tab(shop.site("admin.example"), ignore_https_errors=True)
    for options, expected in (({}, 401), (bearer, 200), ({**bearer, "credentials": "include"}, BLOCKED)):
        assert expected == await tab.page.evaluate(STATUS, [url, options]), options
    tab.expect_wrong(f"401|{UNREADABLE}")
    other = await open_tab(shop.site("evil.example"), ignore_https_errors=True)
    assert BLOCKED == await other.page.evaluate(STATUS, [url, bearer])
    other.expect_wrong(UNREADABLE)


async def test_the_certificate_of_a_browser(open_tab: OpenTab, shop: Shop) -> None:
    """It opens our pages to its user. A page of another site cannot use it: neither to read, nor to give an order."""
    certificate = {"certPath": shop.certificate.cert, "keyPath": shop.certificate.key, "origin": shop.orders.url}
    url = shop.orders.url + "/owners"
    tab = await open_tab(url, ignore_https_errors=True, client_certificates=[certificate])
    assert '"owners"' in await tab.page.content()
    # Playwright shows the certificate through a proxy of its own, which knows no names of ours.
    await tab.page.goto(shop.site("127.0.0.2"))
    answers = await Answers().listen(tab)
    assert BLOCKED == await tab.page.evaluate(STATUS, [url, {"credentials": "include"}])
    order = {"method": "POST", "mode": "no-cors", "credentials": "include", "body": "{}"}
    assert BLOCKED == await tab.page.evaluate(STATUS, [url, order])
    await eventually(lambda: answers.to("POST"), 10, "no answer to the order")
    assert [403] == answers.to("POST")
    tab.expect_wrong(f"{UNREADABLE}|403")
