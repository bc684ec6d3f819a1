"""Tokens for a broker: when one is asked for, what happens when there is none, and that nobody else sees it."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiokafka.errors import SaslAuthenticationFailed

from streams.security import tokens
from streams.security.secret import Secret
from streams.security.tokens import ClientCredentials, FileTokens, NoToken, TokenLogin, TokenRefused

CANARY = "canary:secret/+"


class Server:
    """Gives tokens to a client that shows its id and secret."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self.answers: list[web.Response] = []
        self.seconds: float | None = 100
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        form = {key: str(value) for key, value in (await request.post()).items()}
        login = base64.b64decode(request.headers["Authorization"].removeprefix("Basic ")).decode()
        self.asked.append(form | {"login": login})
        if self.answers:
            return self.answers.pop()
        body: dict[str, Any] = {"access_token": f"token-{len(self.asked)}", "token_type": "Bearer"}
        return web.json_response(body | ({} if self.seconds is None else {"expires_in": self.seconds}))

    def credentials(self, scope: str = "") -> ClientCredentials:
        return ClientCredentials(self.url, "orders", Secret(CANARY), scope, None)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_post("/token", server.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/token"
    yield server
    await runner.cleanup()


async def test_a_token_is_used_while_it_is_good(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """One request for all who connect at the same time; the next when a fifth of its time is left."""
    now = 1_000.0
    monkeypatch.setattr(tokens.time, "monotonic", lambda: now)
    source = server.credentials("kafka")
    assert ["token-1"] * 5 == await asyncio.gather(*(source.token() for _ in range(5)))
    login = "orders:canary%3Asecret%2F%2B"
    assert [{"grant_type": "client_credentials", "scope": "kafka", "login": login}] == server.asked
    now += 79
    assert "token-1" == await source.token()
    now += 2
    assert "token-2" == await source.token()


async def test_a_server_that_is_down(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the token is good, nothing comes of it; then there is none, which is an outage and no refusal."""
    now = 1_000.0
    monkeypatch.setattr(tokens.time, "monotonic", lambda: now)
    source = server.credentials()
    assert "token-1" == await source.token()
    now += 90
    server.answers = [web.Response(status=503)]
    assert "token-1" == await source.token()
    now += 20
    server.answers = [web.Response(status=503)]
    with pytest.raises(NoToken, match="KAFKA_OAUTH_TOKEN_URL answers 503") as error:
        await source.token()
    assert not isinstance(error.value, TokenRefused)
    assert "token-4" == await source.token()
    with pytest.raises(NoToken, match="KAFKA_OAUTH_TOKEN_URL does not answer") as error:
        await ClientCredentials("http://127.0.0.1:1/", "orders", Secret(CANARY), "", None).token()
    assert CANARY not in str(error.value)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (web.Response, "answers 200 without an access_token"),
        (
            lambda: web.json_response(
                {"error": "invalid_client", "error_description": "no\nsuch", "x": "y"}, status=401
            ),
            "answers 401: invalid_client: no such: are KAFKA_OAUTH_CLIENT_ID, KAFKA_OAUTH_CLIENT_SECRET",
        ),
        (lambda: web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"}), "answers 302"),
        (lambda: web.Response(status=400, text=CANARY), "answers 400: are"),
    ],
    ids=["no token", "refused", "elsewhere", "no reason"],
)
async def test_a_server_that_refuses(server: Server, answer: Any, said: str) -> None:
    """One line that says which setting to look at. A redirection is not followed: it would take the secret along."""
    server.answers = [answer()]
    with pytest.raises(TokenRefused, match=said) as error:
        await server.credentials().token()
    assert "\n" not in str(error.value)
    assert CANARY not in str(error.value)


async def test_an_answer_that_comes_in_pieces(server: Server) -> None:
    """All of it is read: half of an answer is not one without a token, which would end the start of a worker."""

    class Slow(web.StreamResponse):
        async def write_eof(self, data: bytes = b"") -> None:
            for piece in (b'{"access_token": "in ', b'pieces"', b"}"):
                await self.write(piece)
                await asyncio.sleep(0.02)
            await super().write_eof(data)

    server.answers = [Slow()]  # type: ignore[list-item]
    assert "in pieces" == await server.credentials().token()
    server.answers = [web.Response(body=b'"' + b"x" * tokens.MOST_BYTES)]
    with pytest.raises(TokenRefused, match="more than"):
        await server.credentials().token()


async def test_two_event_loops(server: Server) -> None:
    """Faust's consumer has its own, in a thread of its own."""
    source = server.credentials()
    await source.token()
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(asyncio.run(source.token())))
    thread.start()
    await asyncio.to_thread(thread.join)
    assert ["token-1"] == found


async def test_a_file(tmp_path: Path) -> None:
    """It is read at each connection; what it is not is said, and its content is not."""
    file = tmp_path / "token"
    source = FileTokens(str(file), "KAFKA_OAUTH_TOKEN_FILE")
    with pytest.raises(TokenRefused, match=f"KAFKA_OAUTH_TOKEN_FILE={file}: No such file"):
        await source.token()
    for content, said in (("", "it is empty"), ("\n", "it is empty"), ("canary two", "it is no token")):
        file.write_text(content)
        with pytest.raises(TokenRefused, match=said) as error:
            await source.token()
        assert "canary" not in str(error.value)
    for token in ("first", "second"):
        file.write_text(f"{token}\n")
        assert token == await source.token()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b'{"status":"invalid_token","scope":"x"}', "invalid_token"),
        (b"\xff", "it is refused"),
        (b"{}", "it is refused"),
    ],
    ids=repr,
)
async def test_a_broker_that_refuses_a_token(tmp_path: Path, answer: bytes, said: str) -> None:
    """It says so in its answer, and waits: aiokafka would take that for a yes."""
    (tmp_path / "token").write_text("canary")
    login = TokenLogin(sasl_oauth_token_provider=FileTokens(str(tmp_path / "token"), "KAFKA_OAUTH_TOKEN_FILE"))
    assert (b"n,,\x01auth=Bearer canary\x01\x01", True) == await login.step(None)
    with pytest.raises(SaslAuthenticationFailed, match=said):
        await login.step(answer)
    assert await login.step(b"") is None


@pytest.mark.parametrize(
    ("claims", "ended"), [({"exp": 1}, True), ({"exp": 1e11}, False), ({}, False), ({"exp": "x"}, False)]
)
async def test_a_token_that_has_ended(tmp_path: Path, claims: dict[str, Any], ended: bool) -> None:
    """It is not sent: a broker may take it, and end the session at once. What does not say when it ends is."""
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    (tmp_path / "token").write_text(f"head.{body}.canary")
    source = FileTokens(str(tmp_path / "token"), "KAFKA_OAUTH_TOKEN_FILE")
    if not ended:
        assert f"head.{body}.canary" == await source.token()
        return
    with pytest.raises(TokenRefused, match="its token has ended: renew it") as error:
        await source.token()
    assert "canary" not in str(error.value)
