"""A schema registry that wants TLS, a certificate and a token: what it is given, and what is said when it refuses."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from servers.secured.certificates import Authority
from streams.registry.client import RegistryAddress, RegistryError, SchemaRegistry
from streams.settings import Settings, SettingsError


@asynccontextmanager
async def registry(authority: Authority, token: str, certified: bool = False) -> AsyncIterator[int]:
    """The port of one that lets in who has the token, and with `certified` also a certificate of the authority."""
    shown = authority.server("registry")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.file)
    context.load_cert_chain(shown.cert, shown.key)
    context.verify_mode = ssl.CERT_REQUIRED if certified else ssl.CERT_NONE

    async def answer(request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {token}":
            return web.json_response({"error_code": 401, "message": "no"}, status=401)
        return web.json_response({"id": 7})

    app = web.Application()
    app.router.add_post("/subjects/{subject}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def settings(port: int, options: str, **more: str) -> Settings:
    url = f"https://localhost:{port}?{options}"
    return Settings.from_environment({"SCHEMA_REGISTRY_URL": url, **more})


async def asked(settings: Settings) -> int | None:
    """The id of a schema. Raises `RegistryError`."""
    address = RegistryAddress.of(settings)
    assert address is not None
    async with SchemaRegistry(address) as client:
        return await client.look_up("order-events-shop.LineAdded", "{}")


async def refused(settings: Settings) -> str:
    with pytest.raises(RegistryError) as caught:
        await asked(settings)
    assert "canary" not in str(caught.value)
    return str(caught.value)


async def test_a_token(tmp_path: Path) -> None:
    """From the environment, or from a file that is read anew; a wrong one, or none, is told from a wrong password."""
    authority, file = Authority(tmp_path), tmp_path / "token"
    trusted = f"ca={authority.file}"
    async with registry(authority, "canary-2") as port:
        assert 7 == await asked(settings(port, trusted, SCHEMA_REGISTRY_TOKEN="canary-2"))
        file.write_text("canary-1\n")
        address = RegistryAddress.of(settings(port, trusted, SCHEMA_REGISTRY_TOKEN_FILE=str(file)))
        assert address is not None
        assert "canary" not in f"{address} {address!r}"
        async with SchemaRegistry(address) as client:
            with pytest.raises(RegistryError, match=r"refuses this token"):
                await client.look_up("s", "{}")
            file.write_text("canary-2\n")
            assert 7 == await client.look_up("s", "{}")
        assert "wants a user and a password, or a token" in await refused(settings(port, trusted))


async def test_certificates(tmp_path: Path) -> None:
    """Its authority is to be trusted, and ours to be shown."""
    ours, theirs = Authority(tmp_path / "ours"), Authority(tmp_path / "theirs")
    token = {"SCHEMA_REGISTRY_TOKEN": "canary"}
    me = ours.client("me")
    async with registry(ours, "canary", certified=True) as port:
        assert 7 == await asked(settings(port, f"ca={ours.file}&cert={me.cert}&key={me.key}", **token))
        assert 7 == await asked(settings(port, f"cert={me.both}", SCHEMA_REGISTRY_CA_FILE=str(ours.file), **token))
        assert "not trusted" in await refused(settings(port, f"ca={theirs.file}&cert={me.both}", **token))


@pytest.mark.parametrize(
    ("url", "more", "said"),
    [
        ("http://r?ca=x", {}, "is not https"),
        ("https://me:canary@r", {"SCHEMA_REGISTRY_TOKEN": "canary"}, "has a user as well"),
        ("https://r?ca=x", {"SCHEMA_REGISTRY_CA_FILE": "y"}, "has a ca as well"),
        ("https://r", {"SCHEMA_REGISTRY_TOKEN": "can\x7fary"}, "characters that no token has"),
        ("https://r?key=canary", {}, "without cert"),
    ],
)
def test_settings_that_contradict(url: str, more: dict[str, str], said: str) -> None:
    """One line, without the secret."""
    with pytest.raises(SettingsError, match=said) as caught:
        RegistryAddress.of(Settings.from_environment({"SCHEMA_REGISTRY_URL": url, **more}))
    assert "canary" not in str(caught.value) or "key=canary" in str(caught.value)
