"""The driver's errors in the words of the journal port."""

from __future__ import annotations

import re
import ssl

import cassandra
from cassandra import protocol
from cassandra.cluster import NoHostAvailable
from cassandra.connection import ConnectionException

from streams.journal.cassandra.address import CassandraAddress
from streams.journal.port import JournalIncomplete, JournalMissing, NotPermitted, Unavailable
from streams.security.handshakes import CUT, refusal
from streams.settings import SettingsError
from streams.text import with_type

_NO_ANSWER = (
    cassandra.RequestExecutionException,  # the coordinator gave up: time-outs, too few replicas, failures
    cassandra.OperationTimedOut,
    cassandra.UnresolvableContactPoints,
    cassandra.Unauthorized,  # who may what could not be looked up
    protocol.RequestExecutionException,  # overloaded, starting
    protocol.ServerError,
    ConnectionException,
    NoHostAvailable,
    OSError,
)
_INVALID = (cassandra.RequestValidationException, protocol.RequestValidationException)
_NO_COLUMN = "undefined column"
_MISSING = ("does not exist", "unconfigured table", _NO_COLUMN, "unknown keyspace")
_NO_RIGHT = re.compile(r"User \S+ has no .*?(?= or any of its parents|\"|$)")


class LoginFailed(ConnectionException):  # type: ignore[misc]
    """A host refuses this user and password."""


class LoginRefused(SettingsError):
    """The user or the password is wrong, or the nodes that know them are down: Cassandra says the same."""


def translated(error: Exception, address: CassandraAddress) -> Exception:
    """The driver's error in the words of the port, in one line. An error without a meaning there is a bug, and is
    returned as it is."""
    by_host = error.errors if isinstance(error, NoHostAvailable) else None
    reasons = list(by_host.values()) if isinstance(by_host, dict) else []
    for reason in [error, *reasons]:
        if isinstance(reason, (LoginFailed, cassandra.AuthenticationFailed)):
            return LoginRefused(f"{address.setting}: Cassandra at {address} {_login(str(reason))}")
        if isinstance(reason, CUT):
            return Unavailable(f"Cassandra at {address}: {with_type(reason)}")
        if isinstance(reason, ssl.SSLError):
            return SettingsError(f"{address.setting}: no TLS with Cassandra at {address}: {refusal(reason)}")
        if isinstance(reason, cassandra.Unauthorized) and (right := _NO_RIGHT.search(str(reason))):
            todo = "an administrator is to run `faust -A <app> setup`, and what `faust -A <app> grants` prints"
            return NotPermitted(f"{address.setting}: Cassandra at {address}: {right[0]}: {todo}")
        if isinstance(reason, _INVALID) and any(words in str(reason).lower() for words in _MISSING):
            missing = JournalIncomplete if _NO_COLUMN in str(reason).lower() else JournalMissing
            return missing(f"Cassandra at {address}: {with_type(reason)}: run `faust -A <app> setup`")
    if isinstance(error, _NO_ANSWER):
        return Unavailable(f"Cassandra at {address}: {with_type(reasons[0] if reasons else error)}")
    return error


def _login(reason: str) -> str:
    wanted = "Remote end requires authentication" in reason
    return "wants a user and a password, and the URL has none" if wanted else "refuses this user and password"
