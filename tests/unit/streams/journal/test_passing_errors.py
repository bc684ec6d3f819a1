"""Errors of servers that pass are not taken for a wrong setting, which nobody would wait out."""

from __future__ import annotations

import asyncio
import ssl
import threading
from typing import Any

import pytest
from cassandra import AuthenticationFailed
from cassandra.cluster import NoHostAvailable

from streams.journal.cassandra import session as cassandra_session
from streams.journal.cassandra.address import CassandraAddress
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


@pytest.mark.parametrize("refusals", [2, 3])
async def test_a_login(refusals: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused also while the nodes that know the users are down: it is tried three times, and then a setting."""
    monkeypatch.setattr(cassandra_session, "LOGIN_PAUSES", (0.001, 0.001))
    session, tried = CassandraSession(CASSANDRA), 0

    def connect() -> None:
        nonlocal tried
        tried += 1
        if tried <= refusals:
            raise translated(AuthenticationFailed("not now"), CASSANDRA)

    session._connect = connect  # type: ignore[method-assign]
    if refusals == 3:
        with pytest.raises(SettingsError, match="refuses this user"):
            await session.connect()
    else:
        await session.connect()
    assert 3 == tried


def test_another_event_loop() -> None:
    """An answer that comes when its loop has ended does not keep those of the next one from being heard."""
    session = CassandraSession(CASSANDRA)

    async def asked() -> asyncio.Future[Any]:
        return asyncio.get_running_loop().create_future()

    session._answered(asyncio.run(asked()), [])

    async def answered() -> Any:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        threading.Thread(target=session._answered, args=(future, [(1,)])).start()
        async with asyncio.timeout(5):
            return await future

    assert [(1,)] == asyncio.run(answered())
