"""A header makes nobody a worker: what workers ask each other is signed, and nothing else is believed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from multidict import CIMultiDict

from projections.applying import control
from projections.applying.control import Control
from projections.http.bodies import read_bytes
from projections.http.forwarding import DIGEST, HOP, SEEN, digest_of
from projections.http.problems import problems
from projections.routing import signature
from projections.routing.signature import SIGNATURE, USER, HopSignature
from streams.access.principal import Identified, Principal, asked_by, current_principal
from tests.unit.control_topic import ControlTopic, following

ASKED = {HOP: "orders=orders-1", SEEN: "7"}
PATHS = ["/orders/a%2Fb%20%C3%A9", "/orders/~a?x=1&y=a+b%20c", "/products?search=%26%3d", "/", "/orders/x:y@z!$'()*,;"]


class Server:
    """Says whether whoever asks is a worker."""

    def __init__(self) -> None:
        self.secrets: list[bytes] = [b"new", b"old"]
        self.signature = HopSignature(lambda: self.secrets)

    async def start(self) -> None:
        app = web.Application(middlewares=[problems, self.signature.middleware])
        app.router.add_route("*", "/{path:.*}", self._answer)
        self.runner = web.AppRunner(app, access_log=None)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}"
        self.http = aiohttp.ClientSession()

    async def _answer(self, request: web.Request) -> web.Response:
        if request.method == "POST":
            await read_bytes(request, 1_000)
        who = current_principal()
        return web.Response(text=("worker" if HOP in request.headers else "client") + (f" of {who}" if who else ""))

    async def ask(self, path: str, headers: Any = (), method: str = "GET", body: bytes = b"") -> str:
        """Who it takes us for, and for whom we ask; the status where it refuses."""
        async with self.http.request(
            method, self.url + path, headers=CIMultiDict(headers), data=body or None
        ) as response:
            if response.status == 200:
                return await response.text()
            assert "application/problem+json" == response.content_type
            return str(response.status)


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    await server.start()
    yield server
    await server.http.close()
    await server.runner.cleanup()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_workers(server: Server, path: str, method: str) -> None:
    """A question with a signature is a worker's, however its path is written; with the secret before this one too."""
    for secret in server.secrets:
        asker = HopSignature(lambda secret=secret: [secret])  # type: ignore[misc]
        assert "worker" == await server.ask(path, asker.signed(method, server.url + path, ASKED), method)


async def test_clients(server: Server) -> None:
    """Who does not say that he is a worker is a client, also where he repeats a signature."""
    assert "client" == await server.ask("/orders/a")
    signed = server.signature.signed("GET", server.url + "/orders/a", ASKED)
    assert "client" == await server.ask("/orders/a", {SIGNATURE: signed[SIGNATURE]})


async def test_bodies(server: Server) -> None:
    """A body is signed, too: another one is refused, and so is one that is not signed."""
    path, url = "/orders/a/commands", server.url + "/orders/a/commands"
    signed = server.signature.signed("POST", url, ASKED, b"good")
    assert "worker" == await server.ask(path, signed, "POST", b"good")
    for body in (b"evil", b"goo", b"goodgood", b""):
        assert "403" == await server.ask(path, signed, "POST", body), body
    evil = digest_of(b"evil")
    assert "403" == await server.ask(path, {**signed, DIGEST: evil}, "POST", b"evil")
    without = {name: value for name, value in signed.items() if name != DIGEST}
    assert "403" == await server.ask(path, without, "POST", b"good")
    assert "403" == await server.ask(path, server.signature.signed("GET", url, ASKED), "POST", b"good")


async def test_the_id_of_a_command(server: Server) -> None:
    """Whoever sees a command between workers cannot have it done twice, by another id, nor without its precondition."""
    path, url = "/orders/a/commands", server.url + "/orders/a/commands"
    command = {"Idempotency-Key": "c-1", "If-Match": '"5", "ü"', "X-Correlation-ID": "x"}
    signed = server.signature.signed("POST", url, {**ASKED, **command}, b"{}")
    assert "worker" == await server.ask(path, signed, "POST", b"{}")
    for name in command:
        without = {key: value for key, value in signed.items() if key != name}
        for headers in (without, {**signed, name: "7"}, [*signed.items(), (name, "7")]):
            assert "403" == await server.ask(path, headers, "POST", b"{}"), headers
    assert "403" == await server.ask(path, {**signed, "If-None-Match": "*"}, "POST", b"{}")


async def test_users(server: Server) -> None:
    """A worker says for whom it asks, and nobody else can; inside, that is so for the task alone."""
    url, alice = server.url + "/orders/a", Identified(Principal("oidc", "alice ü\n", ("staff",)), 2_000_000_000.0)
    with asked_by(alice):
        signed = server.signature.signed("GET", url, ASKED)
    assert current_principal() is None
    assert f"worker of {alice.principal}" == await server.ask("/orders/a", signed)
    other = server.signature.signed("GET", url, ASKED)
    assert USER not in other
    assert "worker" == await server.ask("/orders/a", other)
    for headers in (
        {**other, USER: signed[USER]},
        {name: value for name, value in signed.items() if name != USER},
        {USER: signed[USER]},
        {**signed, USER: signed[USER][:-4]},
        {**signed, USER: "ß"},
    ):
        assert "403" == await server.ask("/orders/a", headers), headers


async def test_forged(server: Server) -> None:
    """Without a signature, with a made up one, or with that of another question, nothing is answered."""
    url = server.url + "/orders/a"
    signed = server.signature.signed("GET", url, ASKED)
    now = int(time.time())
    for headers in (
        ASKED,
        {HOP: "1"},
        {HOP: ""},
        {**ASKED, SIGNATURE: ""},
        {**ASKED, SIGNATURE: f"{now}:"},
        {**ASKED, SIGNATURE: f"{now}:{'0' * 64}"},
        {**ASKED, SIGNATURE: f"{now}:ß"},
        {**ASKED, SIGNATURE: f"٣{now}:{signed[SIGNATURE].partition(':')[2]}"},
        {**ASKED, SIGNATURE: f"{now + 1}:{signed[SIGNATURE].partition(':')[2]}"},
        {**ASKED, SIGNATURE: f"{'9' * 5000}:00"},
        {**signed, HOP: "orders=orders-evil"},
        {**signed, SEEN: "999999999999"},
        {SIGNATURE: signed[SIGNATURE], HOP: ASKED[HOP]},
        HopSignature(lambda: [b"another"]).signed("GET", url, ASKED),
        HopSignature(lambda: []).signed("GET", url, ASKED),
    ):
        assert "403" == await server.ask("/orders/a", headers), headers
    for path, method in (("/orders/b", "GET"), ("/orders/a?limit=1", "GET"), ("/orders/a", "POST")):
        assert "403" == await server.ask(path, signed, method), (path, method)
    server.secrets = []
    assert "403" == await server.ask("/orders/a", signed)


async def test_bytes_that_are_no_utf_8(server: Server) -> None:
    """Nobody believes them, and nothing fails."""
    now, host = b"%d" % time.time(), server.url.removeprefix("http://").encode()
    for headers in (
        b"X-Hop: \xff\r\nX-Hop-Signature: %s:00" % now,
        b"X-Hop: 1\r\nX-Hop-Signature: %s:\xff" % now,
        b"X-Hop: 1\r\nX-Control-Offset: \xff\r\nX-Hop-Signature: %s:00" % now,
        b"X-Hop: 1\r\nX-Hop-Signature: \xff",
    ):
        reader, writer = await asyncio.open_connection(*host.decode().split(":"))
        writer.write(b"GET /orders/a HTTP/1.1\r\nHost: %s\r\n%s\r\n\r\n" % (host, headers))
        assert b"HTTP/1.1 403 " == (await asyncio.wait_for(reader.read(1_000), 5))[:13], headers
        writer.close()


@pytest.mark.parametrize("path", ["/applied/order-0/1?seconds=60", "/switching?of=orders", "/switching"])
async def test_workers_only(server: Server, path: str) -> None:
    """What only workers ask each other, a client does not get."""
    assert "403" == await server.ask(path)
    assert "worker" == await server.ask(path, server.signature.signed("GET", server.url + path, {HOP: "1"}))


async def test_no_longer(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signature is of no use after a minute, nor before its time; clocks may differ by less."""
    signed = server.signature.signed("GET", server.url + "/orders/a", ASKED)
    now = time.time()
    for seconds, expected in ((-90, "403"), (-50, "worker"), (50, "worker"), (90, "403")):
        monkeypatch.setattr(signature.time, "time", lambda later=seconds: now + later)
        assert expected == await server.ask("/orders/a", signed), seconds


async def test_one_secret_for_all() -> None:
    """The first worker makes a secret and the others find it; of two that make one in the same moment both hold."""
    topic = ControlTopic()
    async with following(topic) as one:
        await one.share_secret()
        async with following(topic) as two:
            await two.share_secret()
            assert one.secrets == two.secrets
            assert 1 == len(one.secrets) == len(topic.records)
            assert 32 == len(one.secrets[0])

    topic = ControlTopic()
    async with following(topic) as one, following(topic) as two:
        await topic.let_read(0)
        both = asyncio.gather(one.share_secret(), two.share_secret())
        await asyncio.sleep(0.01)
        await topic.let_read()
        await both
        await one.wait_for(1)
        await two.wait_for(1)
        assert set(one.secrets) == set(two.secrets)
        for asker, asked in ((one, two), (two, one)):
            assert believes(asker, asked)


def believes(asker: Control, asked: Control) -> bool:
    """Whether one worker believes another to be one."""
    signed = HopSignature(lambda: asker.secrets).signed("GET", "http://a:1/orders", ASKED)
    return HopSignature(lambda: asked.secrets).holds("GET", "/orders", signed)


async def test_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret is renewed when it is old, and no worker is refused meanwhile: each signs with the one before until the
    others have read the new one."""
    topic = ControlTopic()
    async with following(topic) as one, following(topic) as two:
        await one.share_secret()
        await one.renew_secret()
        assert 1 == len(topic.records)
        monkeypatch.setattr(control, "RENEW_SECONDS", 0.0)
        [first] = one.secrets
        await topic.let_read(1)
        renewing = asyncio.create_task(one.renew_secret())
        await asyncio.sleep(0)
        assert believes(one, two)
        assert believes(two, one)
        await topic.let_read()
        await renewing
        assert (first, 2) == (one.secrets[0], len(one.secrets))
        await two.wait_for(1)
        monkeypatch.setattr(control, "KNOWN_SECONDS", 0.0)
        assert first == one.secrets[1]
        assert believes(one, two)
        await one.renew_secret()
        assert first not in one.secrets


async def test_what_is_no_secret() -> None:
    """A record that is none changes nothing."""
    topic = ControlTopic()
    async with following(topic) as control:
        await control.share_secret()
        for value in (b'{"secret": ""}', b'{"secret": "zz"}', b"{}", b"\xff"):
            await topic.publish("", 0, [(b"secret/hops", value, [])])
        await control.wait_for(4)
        assert 1 == len(control.secrets)


@pytest.mark.parametrize(("path", "headers"), [("/\ud800", {}), ("/", {"Idempotency-Key": "\ud800"})])
def test_half_characters(path: str, headers: dict[str, str]) -> None:
    """They are no bytes that somebody has sent, so nobody has signed them."""
    asked = {**ASKED, DIGEST: "x", SIGNATURE: f"{int(time.time())}:x", **headers}
    assert not HopSignature(lambda: [b"secret"]).holds("POST", path, asked)
