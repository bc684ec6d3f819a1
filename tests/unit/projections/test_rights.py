"""Every operation of the app, asked by everybody: the document says who may, and the worker does as it says.

The worker has no Kafka behind it here: whoever may ask is told that it cannot answer now.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from projections.applying.control import SystemKey
from projections.routing import query_router
from projections.routing.signature import SIGNATURE, USER, HopSignature
from projections.shop.app import app, side
from streams.access.access import Access
from streams.access.principal import Identified, Principal, asked_by
from streams.settings import Settings
from tests.issuer import AUDIENCE, Issuer
from tests.rights import Asked, everybody, may, operations, status

pytestmark = pytest.mark.asyncio(loop_scope="module")
REFUSED = (401, 403)
AT_ONCE = 40
LIMITED = """
[[grants]]
to = ["oidc:alice"]
role = "commander"
contexts = ["orders", "timers"]
commands = ["OpenOrder", "ScheduleTimer"]
keys = ["{sub}-*"]

[[grants]]
to = ["group:staff"]
role = "reader"
contexts = ["orders"]
"""


class World(NamedTuple):
    """The worker's web server, everybody's tokens, and the issuer of others."""

    url: str
    http: aiohttp.ClientSession
    tokens: dict[str, str]
    issuer: Issuer

    async def document(self) -> Any:
        async with self.http.get(self.url + "/openapi.json") as response:
            assert 200 == response.status
            return await response.json()

    async def statuses(self, questions: list[tuple[Asked, str | None]]) -> list[int]:
        """Of each operation with this token. Many at once: who is let in waits, as there is no Kafka behind."""
        at_once = asyncio.Semaphore(AT_ONCE)

        async def ask(asked: Asked, token: str | None) -> int:
            async with at_once:
                return await status(self.http, self.url, asked, token)

        return await asyncio.gather(*(ask(*question) for question in questions))

    async def post(self, path: str, body: Any, token: str, **headers: str) -> tuple[int, str]:
        named = {"Authorization": f"Bearer {token}", **headers}
        async with self.http.post(self.url + path, json=body, headers=named) as response:
            return response.status, (await response.json())["detail"]


@pytest.fixture(scope="module")
def monkey() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory, monkey: pytest.MonkeyPatch) -> AsyncIterator[World]:
    folder: Path = tmp_path_factory.mktemp("rights")
    known, issuer = everybody(), Issuer()
    await issuer.start()
    (folder / "tokens").write_text("\n".join(line for _, line, _ in known.values()))
    (folder / "grants").write_text("\n".join(grant for _, _, grant in known.values()) + LIMITED)
    settings = Settings(
        http_tokens_file=str(folder / "tokens"),
        http_grants_file=str(folder / "grants"),
        http_oidc_issuer=issuer.url,
        http_oidc_audience=AUDIENCE,
    )
    monkey.setattr(app, "access", Access.of(settings))
    monkey.setattr(query_router, "FIRST_SECONDS", 0.01)
    runner = web.AppRunner(app.web.web_app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession() as http:
        tokens = {who: token for who, (token, _, _) in known.items()}
        yield World(f"http://127.0.0.1:{runner.addresses[0][1]}", http, tokens, issuer)
    await issuer.stop()


async def test_everybody(world: World) -> None:
    """Who has one of the roles that an operation names gets past the door, and nobody else does."""
    every = [(asked, who) for asked in operations(await world.document()) for who in world.tokens]
    found = await world.statuses([(asked, world.tokens[who]) for asked, who in every])
    assert [] == [
        (asked, who, code)
        for (asked, who), code in zip(every, found, strict=True)
        if (code not in REFUSED) != may(who, asked)
    ]


async def test_nobody(world: World) -> None:
    """Without a token, and with one that does not hold, the answer is 401, but for what is for whoever comes."""
    bad = {"no token": None, "unknown": "sst_unknown", **world.issuer.sendable_bad_tokens()}
    every = [(asked, what) for asked in operations(await world.document()) for what in bad]
    found = await world.statuses([(asked, bad[what]) for asked, what in every])
    assert [] == [
        (asked, what, code)
        for (asked, what), code in zip(every, found, strict=True)
        if (code == 401) != bool(asked.needs)
    ]


async def test_bytes_that_are_no_text(world: World) -> None:
    """They are no token, and nothing fails."""
    host, _, port = world.url.removeprefix("http://").partition(":")
    for given in (b"Bearer \xff", b"Bearer sst_\xff", b"\xff", b"Bearer \xff.\xff.\xff", b"Bearer"):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /orders HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: %s\r\n\r\n" % given)
        assert b"HTTP/1.1 401 " == (await asyncio.wait_for(reader.read(1_000), 5))[:13], given
        writer.close()


async def test_what_is_for_whoever_comes(world: World) -> None:
    """That is health, the documentation, and the files of the console: nothing of what the system holds."""
    public = {asked.path for asked in operations(await world.document()) if not asked.needs}
    assert {"/", "/health/live", "/health/ready", "/openapi.json", "/docs", "/console"} == public


async def test_users_of_the_issuer(world: World) -> None:
    """They have what is granted to them, or to a group of theirs."""
    staff = world.issuer.token("carol", groups=["staff"])
    for token, path, expected in (
        (staff, "/orders", True),
        (staff, "/users/a", False),
        (world.issuer.token("carol"), "/orders", False),
    ):
        async with world.http.get(world.url + path, headers={"Authorization": f"Bearer {token}"}) as response:
            assert (response.status not in REFUSED) == expected, path


async def test_commands_and_keys(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commander sends the commands of his grant to the keys of his grant, and schedules no others."""
    [gateway] = [part for part in app.parts if type(part).__name__ == "Gateway"]
    monkeypatch.setattr(gateway, "_is_open", True)
    monkeypatch.setattr(side.control, "_keys", {"k1": SystemKey("k1", bytes(32), 0.0, 0.0)})
    monkeypatch.setattr(gateway._keys, "_handed_out", {"k1"})
    token = world.issuer.token("alice")
    opened: Any = {"type": "OpenOrder", "data": {"user_id": "alice", "kind": "sale"}}
    cancel: Any = {"type": "CancelOrder", "data": {"reason": "none"}}

    def timer(command: str, id: str) -> Any:
        data = {"due": "2030-01-01T00:00:00Z", "to": "order", "id": id, "command": command}
        return {"type": "ScheduleTimer", "data": data | ({} if command != "OpenOrder" else {
            "data": '{"user_id": "alice", "kind": "sale"}'} )}  # fmt: skip

    for path, body, expected in (
        ("/orders/alice-1/commands", opened, True),
        ("/orders/bob-1/commands", opened, False),
        ("/orders/alice-1/commands", cancel, False),
        ("/timers/alice-t/commands", timer("OpenOrder", "alice-1"), True),
        ("/timers/alice-t/commands", timer("OpenOrder", "bob-1"), False),
        ("/timers/bob-t/commands", timer("OpenOrder", "alice-1"), False),
        ("/users/alice-1/commands", {"type": "DeactivateUser"}, False),
    ):
        found, detail = await world.post(path, body, token, Prefer="wait=0")
        assert (found != 403) == expected, (path, body, detail)


async def test_a_worker_is_not_asked_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another worker asks it has looked at; a header alone makes none, with whoever's token."""
    monkeypatch.setattr(side.control, "_secrets", (b"secret" * 8,))
    signature, url = HopSignature(lambda: side.control.secrets), f"{world.url}/orders/a"
    alice = Identified(Principal("oidc", "alice"))
    with asked_by(alice):
        signed = signature.signed("GET", url, {"X-Hop": "orders=orders-1"})
    assert signed[USER]
    async with world.http.get(url, headers=signed) as response:
        assert response.status not in REFUSED
    token = {"Authorization": f"Bearer {world.tokens['operator@orders']}"}
    other = signature.signed("GET", url, {"X-Hop": "orders=orders-1"})
    for headers in (
        {"X-Hop": "orders=orders-1"},
        {**signed, SIGNATURE: other[SIGNATURE]},
        {**other, USER: signed[USER]},
        {USER: signed[USER]},
        {SIGNATURE: signed[SIGNATURE], USER: signed[USER]},
    ):
        for more in ({}, token):
            async with world.http.get(url, headers={**headers, **more}) as response:
                assert 403 == response.status, headers
