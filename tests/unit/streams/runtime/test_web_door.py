"""Who may ask a worker over HTTP, on a real socket: pages of other sites may not, whatever else they try."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from yarl import URL

from streams.runtime.web_guard import WebGuard, split_host

JSON = {"Content-Type": "application/json"}


class Server:
    """A worker called `shop-1` that takes orders and answers questions."""

    def __init__(self, hosts: tuple[str, ...] = ("door.example", "gate.example:8443"), origins: Any = ()) -> None:
        conf = SimpleNamespace(
            web_host="shop-1", web_bind="0.0.0.0", canonical_url=URL("http://shop-1.cluster.local:6066")
        )
        self.door = WebGuard(SimpleNamespace(conf=conf), hosts, origins or ("https://admin.example",))

    async def start(self) -> None:
        app = web.Application(middlewares=[self.door.middleware])
        app.on_response_prepare.append(self.door.tell_browsers)
        for path in ("/orders", "/health/ready", "/health/live", "/metrics"):
            app.router.add_route("*", path, self._answer)
        app.router.add_get("/only-get", self._answer)
        self.runner = web.AppRunner(app, access_log=None)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}"

    async def _answer(self, request: web.Request) -> web.Response:
        return web.json_response({"done": request.method})

    async def ask(self, method: str, headers: Mapping[str, str], path: str = "/orders", data: bytes = b"") -> int:
        """The status; a problem says what it is."""
        async with (
            aiohttp.ClientSession(skip_auto_headers=["Content-Type"]) as http,
            http.request(method, self.url + path, headers=headers, data=data or None) as response,
        ):
            if response.status >= 400:
                assert "application/problem+json" == response.content_type
                told = await response.json()
                assert response.status == told["status"]
                assert told["detail"]
            return response.status


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    await server.start()
    yield server
    await server.runner.cleanup()


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=a",
        "application/json5",
        "text/plain; application/json",
        "application/json; charset=latin-1",
    ],
)
async def test_what_pages_may_send_without_asking_is_no_order(server: Server, content_type: str) -> None:
    """A POST that is not said to be JSON is refused, with a body and without."""
    headers = {"Content-Type": content_type} if content_type else {}
    assert 415 == await server.ask("POST", headers, data=b'{"reason": "x"}')
    assert 415 == await server.ask("POST", headers)


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON; charset=UTF-8", 'application/json;charset="utf8"']
)
async def test_json_is_taken(server: Server, content_type: str) -> None:
    """JSON in UTF-8 is, also when the body is empty."""
    assert 200 == await server.ask("POST", {"Content-Type": content_type}, data=b"{}")
    assert 200 == await server.ask("POST", {"Content-Type": content_type})


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1"},
        {"Origin": "http://127.0.0.1.evil.example"},
        {"Origin": "https://admin.example.evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:3000"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://evil.example"},
        {"Sec-Fetch-Site": "?"},
    ],
    ids=str,
)
async def test_orders_of_other_sites(server: Server, headers: dict[str, str]) -> None:
    """What a page of another site sends is refused, whatever its body; other methods than POST as well."""
    assert 403 == await server.ask("POST", {**JSON, **headers}, data=b"{}")
    assert 403 == await server.ask("POST", {"Content-Type": "text/plain", **headers}, data=b"{}")
    assert 403 == await server.ask("DELETE", headers)


async def test_orders_of_our_own_pages(server: Server) -> None:
    """The page that the worker serves, sites that the settings name, and programs may give orders; a link from
    anywhere may be followed."""
    port = server.url.rpartition(":")[2]
    for headers in (
        {"Sec-Fetch-Site": "same-origin", "Origin": server.url},
        {"Origin": server.url},
        {"Origin": f"http://LOCALHOST:{port}", "Host": f"localhost:{port}"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://behind.a.proxy"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "https://admin.example"},
        {},
    ):
        assert 200 == await server.ask("POST", {**JSON, **headers}, data=b"{}"), headers
    assert 200 == await server.ask("GET", {"Sec-Fetch-Site": "cross-site", "Origin": "http://evil.example"})


async def test_pages_that_may_read(server: Server) -> None:
    """A page of a site that the settings allow is told what it may send, and reads answers and refusals; one of
    another site is told nothing."""
    ours, asks = {"Origin": "https://admin.example"}, {"Access-Control-Request-Method": "POST"}
    async with aiohttp.ClientSession() as http:
        async with http.options(server.url + "/orders", headers={**ours, **asks}) as preflight:
            assert (204, ours["Origin"]) == (preflight.status, preflight.headers["Access-Control-Allow-Origin"])
            assert "Authorization" in preflight.headers["Access-Control-Allow-Headers"]
            assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
            assert "Access-Control-Allow-Credentials" not in preflight.headers
        for path, status in (("/orders", 200), ("/nowhere", 404)):
            async with http.get(server.url + path, headers=ours) as answer:
                assert (status, ours["Origin"]) == (answer.status, answer.headers["Access-Control-Allow-Origin"])
                assert "Position" in answer.headers["Access-Control-Expose-Headers"]
                assert "Origin" in answer.headers["Vary"]
        for origin in ("https://evil.example", "null", "https://admin.example.evil.example", "http://admin.example"):
            for method in ("OPTIONS", "GET"):
                async with http.request(method, server.url + "/orders", headers={"Origin": origin, **asks}) as answer:
                    assert not [name for name in answer.headers if name.startswith("Access-Control")]
                    assert "Origin" in answer.headers["Vary"]
        refused = {**ours, "Host": "evil.example"}
        async with http.options(server.url + "/orders", headers={**refused, **asks}) as answer:
            assert 421 == answer.status


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:6066",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "shop-1.evil.example",
        "gate.example",
        "gate.example:443",
        "0x7f000001",
        "[::1].evil.example",
        "a:b:c",
    ],
)
async def test_other_names(server: Server, host: str) -> None:
    """A name that is not the worker's may be anybody's, who had it resolve to the worker: questions and orders are
    refused."""
    assert 421 == await server.ask("GET", {"Host": host})
    assert 421 == await server.ask("POST", {**JSON, "Host": host}, data=b"{}")
    assert 421 == await server.ask("GET", {"Host": host}, "/nowhere")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "LocalHost:80",
        "localhost.:6066",
        "[::1]",
        "[::1]:6066",
        "[0:0:0:0:0:0:0:1]:6066",
        "shop-1:6066",
        "shop-1.cluster.local:6066",
        "10.0.0.7:31000",
        "door.example",
        "door.example:80",
        "GATE.example:8443",
    ],
)
async def test_own_names(server: Server, host: str) -> None:
    """Its own names, what other workers call it by, what the settings add, and addresses, which nobody can have
    resolve to something else."""
    assert 200 == await server.ask("GET", {"Host": host})
    assert 200 == await server.ask("POST", {**JSON, "Host": host}, data=b"{}")


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics"])
async def test_probes(server: Server, path: str) -> None:
    """Who looks whether a worker is well may call it as he likes."""
    assert 200 == await server.ask("GET", {"Host": "evil.example"}, path)


async def test_a_page_that_is_not_there(server: Server) -> None:
    """Every worker says so as a problem, also those that only decide; so it does when a page takes another method."""
    assert 404 == await server.ask("GET", {}, "/nowhere")
    assert 404 == await server.ask("POST", JSON, "/nowhere", b"{}")
    assert 405 == await server.ask("PUT", {}, "/only-get")


def test_hosts_in_parts() -> None:
    """A header `Host` is a name or an address, with a port or without."""
    parts = {host: split_host(host) for host in ("a", "A.b.:1", "[::1]", "[::1]:2", "::1", "")}
    assert {
        "a": ("a", ""),
        "A.b.:1": ("a.b", "1"),
        "[::1]": ("::1", ""),
        "[::1]:2": ("::1", "2"),
        "::1": ("::1", ""),
        "": ("", ""),
    } == parts
