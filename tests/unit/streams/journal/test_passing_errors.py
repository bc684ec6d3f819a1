"""Errors of servers that pass are not taken for a wrong setting, which nobody would wait out."""

from __future__ import annotations

import asyncio
import ssl
import threading
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest
from cassandra import AuthenticationFailed
from cassandra.cluster import NoHostAvailable

from streams.journal.cassandra import session as cassandra_session
from streams.journal.cassandra.address import CassandraAddress
from streams.journal.cassandra.connection import OnLoop
from streams.journal.cassandra.errors import translated
from streams.journal.cassandra.session import CassandraSession
from streams.journal.port import Unavailable
from streams.journal.sql.postgres import PostgresAddress
from streams.settings import SettingsError

CASSANDRA = CassandraAddress.parse("cassandra://127.0.0.1:9042/shop")
POSTGRES = PostgresAddress.parse("postgresql://127.0.0.1/shop", "", "orders")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ssl.SSLEOFError(8, "EOF occurred in violation of protocol"), Unavailable),
        (ssl.SSLZeroReturnError(6, "TLS/SSL connection has been closed"), Unavailable),
        (ssl.SSLCertVerificationError(1, "certificate verify failed"), SettingsError),
        (ssl.SSLError(1, "WRONG_VERSION_NUMBER"), SettingsError),
    ],
    ids=lambda value: getattr(type(value), "__name__", ""),
)
def test_a_handshake(error: Exception, kind: type[Exception]) -> None:
    """One that is cut off is a server that restarts; a certificate that is none of ours is a setting."""
    assert isinstance(translated(NoHostAvailable("none", {"127.0.0.1": error}), CASSANDRA), kind)
    assert isinstance(POSTGRES.translated(error), kind)


def test_a_certificate_that_the_server_does_not_take() -> None:
    """It says so behind the handshake: to the driver that is a connection that was lost."""
    alert = ssl.SSLError(1, "[SSL: TLSV1_ALERT_UNKNOWN_CA] tlsv1 alert unknown ca")
    alert.reason = "TLSV1_ALERT_UNKNOWN_CA"
    lost = asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
    lost.__cause__ = alert
    assert "cert=FILE" in str(POSTGRES.translated(lost))
    assert isinstance(POSTGRES.translated(lost), SettingsError)
    lost.__cause__ = ssl.SSLEOFError(8, "EOF occurred in violation of protocol")
    assert isinstance(POSTGRES.translated(lost), Unavailable)


@pytest.mark.parametrize("refusals", [2, 3])
async def test_a_login(refusals: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused also while the nodes that know the users are down: it is tried three times, and then a setting."""
    monkeypatch.setattr(cassandra_session, "LOGIN_PAUSES", (0.001, 0.001))
    session, tried = CassandraSession(CASSANDRA), 0

    def connect(place: OnLoop) -> tuple[Any, Any]:
        nonlocal tried
        tried += 1
        if tried <= refusals:
            raise translated(AuthenticationFailed("not now"), CASSANDRA)
        return object(), object()

    session._connect = connect  # type: ignore[method-assign]
    if refusals == 3:
        with pytest.raises(SettingsError, match="refuses this user"):
            await session.connect()
    else:
        await session.connect()
    assert 3 == tried


async def test_a_connection_that_is_given_up() -> None:
    """Its thread goes on; what that opens later is closed, and nobody else is shown it."""
    session, may_open, closed = CassandraSession(CASSANDRA), threading.Event(), threading.Event()

    def connect(place: OnLoop) -> tuple[Any, Any]:
        assert may_open.wait(5)
        return SimpleNamespace(shutdown=closed.set), object()

    session._connect = connect  # type: ignore[method-assign]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await session.connect()
    may_open.set()
    assert await asyncio.to_thread(closed.wait, 5)
    with pytest.raises(Unavailable):
        session.statement("any")
