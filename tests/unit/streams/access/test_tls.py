"""TLS of a port, on real sockets: certificates of clients, certificates that are renewed, and files that do not do."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import trustme
import uvloop
from aiohttp import web

from streams.access.tls import client_context, name_of_certificate, server_context
from streams.cli.http import Door
from streams.runtime import web_server
from streams.runtime.web_server import OpenConnections, Runner, TlsSite
from streams.settings import Settings, SettingsError

HOST = "127.0.0.1"


class Files:
    """An authority for servers and one for clients, and what they have issued."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.servers, self.clients = trustme.CA(), trustme.CA()
        self.ca = self.write("ca.pem", self.servers.cert_pem)
        self.client_ca = self.write("clients.pem", self.clients.cert_pem)
        self.renew()

    def renew(self, ca: trustme.CA | None = None) -> None:
        """Issue the server's certificate anew."""
        issued = (ca or self.servers).issue_cert(HOST)
        self.cert = self.write("server.pem", *issued.cert_chain_pems)
        self.key = self.write("server.key", issued.private_key_pem)

    def spoil(self, file: str) -> None:
        """The new one is half written."""
        Path(file).write_text("half")

    def write(self, name: str, *parts: trustme.Blob) -> str:
        path = self.folder / name
        path.write_bytes(b"".join(part.bytes() for part in parts))
        return str(path)

    @property
    def settings(self) -> Settings:
        return Settings(
            http_tls_cert_file=self.cert,
            http_tls_key_file=self.key,
            http_client_ca_file=self.client_ca,
            http_ca_file=self.ca,
        )

    def client(self, name: str | None = None, ca: trustme.CA | None = None) -> ssl.SSLContext:
        """TLS of a client that shows a certificate with this name, or none."""
        context = ssl.create_default_context(cafile=self.ca)
        if name is not None:
            (ca or self.clients).issue_cert(f"{name}@example.org", common_name=name).configure_cert(context)
        return context


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest_asyncio.fixture
async def url(files: Files) -> AsyncIterator[str]:
    async with serving(files) as url:
        yield url


@asynccontextmanager
async def serving(files: Files) -> AsyncIterator[str]:
    """A port with these files."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=str(name_of_certificate(request)))

    app = web.Application()
    app.router.add_get("/", answer)
    runner = Runner(app, OpenConnections(100))
    await runner.setup()
    site = TlsSite(runner, HOST, 0, ssl_context=server_context(files.settings))
    await site.start()
    yield f"https://{HOST}:{runner.addresses[0][1]}/"
    await runner.cleanup()


def place(url: str) -> tuple[str, int]:
    return HOST, int(url.rpartition(":")[2].strip("/"))


async def asked(url: str, context: ssl.SSLContext) -> str:
    """What a client of its own connection is told."""
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as http,
        http.get(url) as response,
    ):
        return await response.text()


async def test_who_a_client_is(url: str, files: Files) -> None:
    """Whoever shows a certificate of the right authority is called by its name, and nobody must; one of another
    authority is refused."""
    assert "alice" == await asked(url, files.client("alice"))
    assert "None" == await asked(url, files.client())
    with pytest.raises(aiohttp.ClientError):
        await asked(url, files.client("alice", files.servers))
    with pytest.raises(aiohttp.ClientConnectorCertificateError):
        await asked(url, ssl.create_default_context())
    with pytest.raises(aiohttp.ClientError):
        await asked(url.replace("https", "http"), files.client())


async def test_renewed(url: str, files: Files) -> None:
    """A certificate that is renewed is shown from the next handshake on; half of a new one is not."""
    before = await asyncio.to_thread(ssl.get_server_certificate, place(url))
    assert "None" == await asked(url, files.client())
    files.spoil(files.key)
    assert "None" == await asked(url, files.client())
    files.renew()
    assert "None" == await asked(url, files.client())
    after = await asyncio.to_thread(ssl.get_server_certificate, place(url))
    assert before != after


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_renewed_authorities(files: Files, loop: Any) -> None:
    """Of clients at the port, and of workers at whoever asks them: new ones count at the next handshake, and those that
    are gone do not; half of a file changes nothing."""

    async def check() -> None:
        async with serving(files) as url:
            asker, old = client_context(files.settings), files.client("alice")
            assert asker is not None
            assert ("None", "alice") == (await asked(url, asker), await asked(url, old))
            files.spoil(files.client_ca)
            assert "alice" == await asked(url, old)
            files.clients = trustme.CA()
            files.write("clients.pem", files.clients.cert_pem)
            assert "bob" == await asked(url, files.client("bob"))
            with pytest.raises(aiohttp.ClientError):
                await asked(url, old)
            files.renew(trustme.CA())
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await asked(url, asker)
            files.servers = trustme.CA()
            files.renew()
            files.write("ca.pem", files.servers.cert_pem)
            assert "None" == await asked(url, asker)

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(check())


async def test_authorities_are_read_once(files: Files) -> None:
    """Whoever asks many workers again and again does not read those of the system each time, which takes long."""
    door = Door("https://127.0.0.1", files.settings)
    async with door.session(1.0) as one, door.session(1.0) as other:
        assert one.connector._ssl is other.connector._ssl  # type: ignore[union-attr]


async def test_a_handshake_that_does_not_come(url: str) -> None:
    """Who connects and says nothing has as long as for the head of a request."""
    reader, writer = await asyncio.open_connection(*place(url))
    async with asyncio.timeout(web_server.HEAD_SECONDS + 5):
        assert b"" == await reader.read()
    writer.close()


def test_files_that_do_not_do(files: Files) -> None:
    """What is missing or wrong is said in one line, and no password is asked for."""
    nothing, text = str(files.folder / "nothing"), files.folder / "text"
    text.write_text("no certificate")
    for given, named in (
        ({"http_tls_cert_file": files.cert}, "HTTP_TLS_KEY_FILE"),
        ({"http_tls_key_file": files.key}, "HTTP_TLS_CERT_FILE"),
        ({"http_client_ca_file": files.client_ca}, "HTTP_TLS_CERT_FILE"),
        ({"http_tls_cert_file": nothing, "http_tls_key_file": files.key}, nothing),
        ({"http_tls_cert_file": str(text), "http_tls_key_file": files.key}, str(text)),
        ({"http_tls_cert_file": files.cert, "http_tls_key_file": files.cert}, "HTTP_TLS_KEY_FILE"),
        (
            {"http_tls_cert_file": files.cert, "http_tls_key_file": files.key, "http_client_ca_file": str(text)},
            "HTTP_CLIENT_CA_FILE",
        ),
    ):
        with pytest.raises(SettingsError) as raised:
            server_context(Settings(**given))  # type: ignore[arg-type]
        assert named in str(raised.value)
        assert "\n" not in str(raised.value)
    with pytest.raises(SettingsError, match="HTTP_CA_FILE"):
        client_context(Settings(http_ca_file=str(text)))
    assert server_context(Settings()) is None
    assert client_context(Settings()) is None
