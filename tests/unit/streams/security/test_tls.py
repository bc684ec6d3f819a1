"""Certificates that are renewed while the process runs: the next connection is made by the new ones."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme
import uvloop
from aiokafka.errors import KafkaConnectionError
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from streams.security.refusals import refusal
from streams.security.secret import Secret
from streams.security.tls import RenewedContext, TlsFiles
from streams.settings import SettingsError

HOST = "127.0.0.1"


class Folder:
    """The files of a client: the authority that it trusts, and its own certificate with the key."""

    def __init__(self, path: Path) -> None:
        self.ca, self.cert, self.key = path / "ca.pem", path / "cert.pem", path / "key.pem"

    @property
    def files(self) -> TlsFiles:
        return TlsFiles("KAFKA", str(self.ca), str(self.cert), str(self.key))

    def trust(self, *authorities: trustme.CA) -> None:
        self.ca.write_bytes(b"".join(ca.cert_pem.bytes() for ca in authorities))

    def have(self, own: trustme.LeafCert) -> None:
        self.cert.write_bytes(b"".join(blob.bytes() for blob in own.cert_chain_pems))
        own.private_key_pem.write_to_path(self.key)


@asynccontextmanager
async def server(
    authority: trustme.CA, of_clients: trustme.CA, names: str = HOST
) -> AsyncIterator[tuple[int, list[str]]]:
    """A server that asks for a client's certificate: its port, and whom it has let in."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.issue_cert(names).configure_cert(context)
    of_clients.configure_trust(context)
    seen: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(writer.get_extra_info("peercert")["serialNumber"])
        writer.write(b"x")
        writer.close()

    async with await asyncio.start_server(answer, HOST, 0, ssl=context) as running:
        yield running.sockets[0].getsockname()[1], seen


async def connect(port: int, context: ssl.SSLContext) -> None:
    """Raises what is wrong with it; that of the client's certificate comes with the first byte."""
    reader, writer = await asyncio.open_connection(HOST, port, ssl=context)
    try:
        assert b"x" == await reader.read(1)
    finally:
        writer.close()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_renewal(folder: Folder, loop: object) -> None:
    """Authorities and the own certificate, in both event loops; a connection that is open stays as it is."""

    async def check() -> None:
        old, new, mine = trustme.CA(), trustme.CA(), trustme.CA()
        folder.trust(old)
        folder.have(mine.issue_cert("me"))
        context = RenewedContext(folder.files)
        async with server(old, mine) as (before, seen), server(new, mine) as (after, seen_after):
            await connect(before, context)
            with pytest.raises(ssl.SSLCertVerificationError):
                await connect(after, context)
            folder.trust(new)
            folder.have(mine.issue_cert("me"))
            await connect(after, context)
            assert seen != seen_after
            with pytest.raises(ssl.SSLCertVerificationError):
                await connect(before, context)  # what is not trusted any more is not trusted

    with asyncio.Runner(loop_factory=loop) as runner:  # type: ignore[arg-type]
        runner.run(check())


async def test_in_the_middle_of_a_renewal(folder: Folder, caplog: pytest.LogCaptureFixture) -> None:
    """A certificate without its key is left aside, which is said once; the next connection looks again."""
    ca = trustme.CA()
    folder.trust(ca)
    first, second = ca.issue_cert("me"), ca.issue_cert("me")
    folder.have(first)
    context = RenewedContext(folder.files)
    async with server(ca, ca) as (port, seen):
        await connect(port, context)
        folder.cert.write_bytes(second.cert_chain_pems[0].bytes())
        with caplog.at_level(logging.WARNING):
            await connect(port, context)
            await connect(port, context)
        assert 1 == len(set(seen))
        assert 1 == caplog.text.count("it is not the key of")
        folder.have(second)
        await connect(port, context)
        folder.ca.unlink()
        await connect(port, context)
        assert 2 == len(set(seen))


async def test_a_renewal_while_a_process_starts(folder: Folder) -> None:
    """What is renewed just when it has been read is read again, not held for what was read."""
    old, new, mine = trustme.CA(), trustme.CA(), trustme.CA()
    folder.trust(old)
    folder.have(mine.issue_cert("me"))

    class RenewedMeanwhile(TlsFiles):
        def context(self) -> ssl.SSLContext:
            made = super().context()
            folder.trust(new)
            return made

    files = folder.files
    context = RenewedContext(RenewedMeanwhile("KAFKA", files.ca, files.cert, files.key))
    async with server(new, mine) as (port, seen):
        await connect(port, context)
        assert seen


def test_an_encrypted_key(folder: Folder) -> None:
    """It is opened by its password; without one, or by another, the setting is named, and nothing is asked at the
    terminal."""
    ca = trustme.CA()
    folder.trust(ca)
    own = ca.issue_cert("me")
    folder.have(own)
    key = load_pem_private_key(own.private_key_pem.bytes(), None)
    form = Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"canary")
    folder.key.write_bytes(key.private_bytes(*form))
    place = str(folder.ca), str(folder.cert), str(folder.key)
    TlsFiles("KAFKA", *place, Secret("canary")).context()
    with pytest.raises(SettingsError, match="the key is encrypted: set KAFKA_KEY_PASSWORD"):
        TlsFiles("KAFKA", *place).context()
    with pytest.raises(SettingsError, match="KAFKA_KEY_PASSWORD does not open it") as error:
        TlsFiles("KAFKA", *place, Secret("other-canary")).context()
    assert "canary" not in str(error.value)


async def refused(port: int, folder: Folder) -> str:
    """What is said of a refusal."""
    context = RenewedContext(folder.files)
    try:
        await connect(port, context)
    except (OSError, KafkaConnectionError) as error:
        return refusal(error, HOST, port, {})
    return "it is let in"


async def test_what_a_refusal_means(folder: Folder) -> None:
    """Which file is wrong, whose name, and what to do."""
    ca, other = trustme.CA(), trustme.CA()
    folder.trust(ca)
    folder.have(ca.issue_cert("me"))
    async with server(other, ca) as (port, _):
        assert "from an authority that is not trusted: set KAFKA_CA_FILE" in await refused(port, folder)
    async with server(ca, ca, "broker-1.example") as (port, _):
        assert f"its certificate is for another name than {HOST}" in await refused(port, folder)
    # As it comes from a broker: behind the handshake, to whoever waits for the first answer.
    alert = ssl.SSLError(1, "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required (_ssl.c:2580)")
    alert.reason = "TLSV13_ALERT_CERTIFICATE_REQUIRED"
    closed = KafkaConnectionError("Connection closed")
    closed.__cause__ = alert
    said = refusal(closed, HOST, 9093, {})
    assert "does not take the certificate of this process (tlsv13 alert certificate required)" in said
    assert "KAFKA_CERT_FILE" in said


async def test_where_no_tls_is_spoken(folder: Folder) -> None:
    """That the listener is another one is said; a connection that breaks is an outage."""
    ca = trustme.CA()
    folder.trust(ca)
    folder.have(ca.issue_cert("me"))
    said: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(said.pop() if said else b"")
        writer.close()

    async with await asyncio.start_server(answer, HOST, 0) as running:
        port = running.sockets[0].getsockname()[1]
        assert "" == await refused(port, folder)
        said.append(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        assert "does not speak TLS there: is KAFKA_SECURITY" in await refused(port, folder)
