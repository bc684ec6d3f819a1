"""TLS as a client: what is trusted and shown, what a refusal says, and files that are renewed."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from servers.certificates import Authority, Certificate
from streams.settings import SettingsError
from streams.tls import ClientContext, client_context, refusal


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
                if not (line := secured.recv(100)):
                    continue
                secured.sendall(line)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=serve, args=(listening,), daemon=True).start()
        yield listening.getsockname()[1]


async def say(port: int, context: ssl.SSLContext, host: str = "localhost") -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=host)
    try:
        writer.write(b"hello\n")
        return await reader.readline()
    finally:
        writer.close()


async def refused(port: int, context: ssl.SSLContext, host: str = "localhost") -> str:
    """What is said about the handshake."""
    with pytest.raises(ssl.SSLError) as caught:
        async with asyncio.timeout(5):
            reader, _ = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=host)
            await reader.read()  # nothing was said that the server would leave unread
    said = refusal(caught.value)
    assert "\n" not in said
    return said


async def test_what_a_refusal_says(tmp_path: Path) -> None:
    """Which it is: another authority, another name, a certificate that has ended, one that is missing."""
    ours, theirs = Authority(tmp_path / "ours"), Authority(tmp_path / "theirs")
    shown = ours.server("server")
    trusting = ClientContext.of(str(ours.file))
    with server(shown) as port:
        assert b"hello\n" == await say(port, trusting)
        assert b"hello\n" == await say(port, trusting, "127.0.0.1")
        assert "another server's" in await refused(port, trusting, "db.example")
        assert "another server's" in await refused(port, trusting, "127.0.0.2")
        assert "not trusted" in await refused(port, ClientContext.of(str(theirs.file)))
        assert "not trusted" in await refused(port, ClientContext.of())
    with server(ours.server("old", lifetime=timedelta(days=-1))) as port:
        assert "certificate has expired" in await refused(port, trusting)
    with server(shown, trusted=ours) as port:
        assert "cert=FILE" in await refused(port, trusting)
        me, stranger = ours.client("me"), theirs.client("me")
        assert b"hello\n" == await say(port, ClientContext.of(str(ours.file), str(me.cert), str(me.key)))
        assert b"hello\n" == await say(port, ClientContext.of(str(ours.file), str(me.both)))
        assert "cert=FILE" in await refused(port, ClientContext.of(str(ours.file), str(stranger.both)))


async def test_plain_text_where_tls_is_meant(tmp_path: Path) -> None:
    """The line says that nobody speaks TLS there."""
    async with await asyncio.start_server(lambda reader, writer: writer.write(b"SSH-2.0\r\n"), "127.0.0.1", 0) as plain:
        assert "does not speak TLS" in await refused(plain.sockets[0].getsockname()[1], ClientContext.of())


async def test_files_that_are_renewed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The next handshake shows the new certificate, and trusts the new authority; one that cannot be read is said, and
    the former serves on."""
    ours, next_one = Authority(tmp_path / "ours"), Authority(tmp_path / "next")
    folder = tmp_path / "mine"
    folder.mkdir()
    ca, mine = folder / "ca.pem", folder / "me.pem"

    def have(trusted: Authority, shown: bytes) -> None:
        ca.write_bytes(trusted.file.read_bytes())
        mine.write_bytes(shown)

    have(ours, theirs := Authority(tmp_path / "other").client("me").both.read_bytes())
    context = client_context("JOURNAL_URL", ca=str(ca), cert=str(mine))
    with server(ours.server("server"), trusted=ours) as port:
        assert "cert=FILE" in await refused(port, context)
        have(ours, ours.client("me").both.read_bytes())
        assert b"hello\n" == await say(port, context)
        have(ours, b"half a cer")
        with caplog.at_level(logging.WARNING):
            assert b"hello\n" == await say(port, context)
        assert f"TLS: {mine} is not taken" in caplog.text
    with server(next_one.server("server"), trusted=next_one) as port:
        have(ours, theirs)
        assert "not trusted" in await refused(port, context)
        have(next_one, next_one.client("me").both.read_bytes())
        assert b"hello\n" == await say(port, context)


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    """One line with the setting and the file: not there, no certificate, a key of another, one with a password."""
    authority = Authority(tmp_path)
    me, you = authority.client("me"), authority.client("you")
    (tmp_path / "empty.pem").touch()
    encrypted = tmp_path / "encrypted.key"
    key = load_pem_private_key(me.key.read_bytes(), None)
    encrypted.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    for files, said in [
        ({"ca": tmp_path / "none.pem"}, "none.pem: No such file"),
        ({"ca": tmp_path / "empty.pem"}, "empty.pem"),
        ({"cert": me.cert}, "me.crt"),
        ({"cert": me.cert, "key": you.key}, "KEY_VALUES_MISMATCH"),
        ({"cert": me.cert, "key": encrypted}, "encrypted.key"),
    ]:
        with pytest.raises(SettingsError, match=r"^JOURNAL_URL: ") as caught:
            client_context("JOURNAL_URL", **{name: str(file) for name, file in files.items()})
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)
