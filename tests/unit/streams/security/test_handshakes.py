"""What is said when a server of a store and this process do not come together over TLS."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pytest

from servers.secured.certificates import Authority, Certificate
from streams.security.handshakes import refusal
from streams.security.tls import RenewedContext, TlsFiles


@contextmanager
def server(shown: Certificate, trusted: Authority | None = None) -> Iterator[int]:
    """A server's port, which sends back a line; with `trusted` it wants certificates of that authority.

    A thread of its own: asyncio would keep what it has to say of a handshake that has failed.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=trusted.file if trusted else None)
    context.load_cert_chain(shown.cert, shown.key)
    if trusted:
        context.verify_mode = ssl.CERT_REQUIRED

    def serve(listening: socket.socket) -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:  # it is closed
                return
            with connection, suppress(OSError), context.wrap_socket(connection, server_side=True) as secured:
                secured.sendall(secured.recv(100))

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=serve, args=(listening,), daemon=True).start()
        yield listening.getsockname()[1]


def of(*files: Path) -> RenewedContext:
    """What trusts, shows, and has the key to these files."""
    return RenewedContext(TlsFiles("KAFKA", *map(str, files)))


async def say(port: int, context: ssl.SSLContext, host: str = "localhost") -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=host)
    try:
        writer.write(b"hello\n")
        return await reader.readline()
    finally:
        writer.close()


async def end(port: int, context: ssl.SSLContext, host: str) -> None:
    """Say nothing, which a server would leave unread that hangs up, and wait for it to do so."""
    async with asyncio.timeout(5):
        reader, _ = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=host)
        await reader.read()


async def refused(port: int, context: ssl.SSLContext, host: str = "localhost") -> str:
    """What is said about the handshake."""
    with pytest.raises(ssl.SSLError) as caught:
        await end(port, context, host)
    said = refusal(caught.value)
    assert "\n" not in said
    return said


async def test_what_a_refusal_says(tmp_path: Path) -> None:
    """Which it is: another authority, another name, a certificate that has ended, one that is missing."""
    ours, theirs = Authority(tmp_path / "ours"), Authority(tmp_path / "theirs")
    shown = ours.server("server")
    with server(shown) as port:
        assert b"hello\n" == await say(port, of(ours.file))
        assert b"hello\n" == await say(port, of(ours.file), "127.0.0.1")
        assert "another server's" in await refused(port, of(ours.file), "db.example")
        assert "another server's" in await refused(port, of(ours.file), "127.0.0.2")
        assert "not trusted" in await refused(port, of(theirs.file))
        assert "not trusted" in await refused(port, of())
    with server(ours.server("old", lifetime=timedelta(days=-1))) as port:
        assert "certificate has expired" in await refused(port, of(ours.file))
    with server(shown, trusted=ours) as port:
        assert "cert=FILE" in await refused(port, of(ours.file))
        me, stranger = ours.client("me"), theirs.client("me")
        assert b"hello\n" == await say(port, of(ours.file, me.cert, me.key))
        assert b"hello\n" == await say(port, of(ours.file, me.both))
        assert "cert=FILE" in await refused(port, of(ours.file, stranger.both))


async def test_plain_text_where_tls_is_meant() -> None:
    """The line says that nobody speaks TLS there."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH\r\n")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as plain:
        assert "does not speak TLS" in await refused(plain.sockets[0].getsockname()[1], of())
