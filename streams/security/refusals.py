"""What it means that a broker does not let this process in, in one line, and whether that is so just now.

An outage passes and is waited for; a refusal stays until somebody has mended it. aiokafka tells the two apart only in
its log, so each connection is made by way of here: see `streams.kafka.client_factory`.
"""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Iterable, Mapping
from typing import Any

from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)

from streams.security.secret import SecretUnreadable
from streams.security.tokens import NoToken, TokenRefused
from streams.text import one_line, printable

log = logging.getLogger(__name__)

FORGOTTEN_SECONDS = 600.0
"""Twice as long as aiokafka lets pass before it looks at all brokers again."""

_EXPIRED, _NOT_YET, _OTHER_NAME, _OTHER_ADDRESS = 10, 9, 62, 64
_UNKNOWN_AUTHORITY = (2, 18, 19, 20, 21)
"""OpenSSL's codes of what is wrong with a certificate (X509_V_ERR_*)."""
_NO_TLS = (
    "WRONG_VERSION_NUMBER",
    "UNSUPPORTED_PROTOCOL",
    "HTTP_REQUEST",
    "RECORD_LAYER_FAILURE",
    "PACKET_LENGTH_TOO_LONG",
)
_ALERT = "ALERT"
"""In the reason of what the other end says about TLS: here, about our certificate."""


class BrokerRefuses(KafkaConnectionError):  # type: ignore[misc]
    """A broker does not let this process in, or is not whom it is to be: one line says why, and what to do."""

    def __str__(self) -> str:
        return str(self.args[0])


class TopicForbidden(TopicAuthorizationFailedError):  # type: ignore[misc]
    """This process lacks a right to a topic, which is another thing than that there is no such topic."""

    def __init__(self, topics: str | Iterable[str], doing: str = "look at", right: str = "Describe") -> None:
        names = topics if isinstance(topics, str) else ", ".join(sorted(topics))
        super().__init__(f"{names}: this process may not {doing} it: grant {right} on it to its user: see {RIGHTS}")

    @classmethod
    def of(
        cls, error: TopicAuthorizationFailedError, doing: str = "look at", right: str = "Describe"
    ) -> TopicForbidden:
        """The same in our words: aiokafka has the topic, or a set of some, as the argument of its error."""
        if isinstance(error, cls):
            return error
        return cls(error.args[0] if error.args else "a topic", doing, right)

    def __str__(self) -> str:
        return str(self.args[0])


class NothingWritable(ClusterAuthorizationFailedError):  # type: ignore[misc]
    """This process may write to no topic at all, without which no producer starts."""

    def __str__(self) -> str:
        return f"this process may write to no topic at all: grant what `faust -A <app> acls` prints: see {RIGHTS}"


def group_named(name: str) -> str:
    """What people, and health, call a consumer group: a topic may have the same name."""
    return f"the consumer group {name}"


def group_forbidden(name: str) -> str:
    """What is said of a consumer group in which this process may not be."""
    return (
        f"{group_named(name)}: this process may not be a member of it: grant Read on the group to its user: see"
        f" {RIGHTS}"
    )


class Refusals:
    """Which brokers refuse connections just now, by `host:port`; several threads may note them.

    aiokafka tries a broker that it needs again and again, and one that has left the cluster no more.
    """

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}
        self._met_at: dict[str, float] = {}

    @property
    def reason(self) -> str:
        """Why one of them does, empty where none does."""
        since = time.monotonic() - FORGOTTEN_SECONDS
        return next((reason for place, reason in list(self._reasons.items()) if self._met_at[place] >= since), "")

    def refused(self, place: str, reason: str) -> None:
        """Note a refusal, and say it once."""
        self._met_at[place] = time.monotonic()
        if self._reasons.get(place) != reason:
            self._reasons[place] = reason
            log.error("%s", reason)

    def accepted(self, place: str) -> None:
        """Note that a broker lets this process in."""
        if self._reasons.pop(place, None) is not None:
            log.warning("Kafka at %s takes connections of this process again", place)

    def forget(self) -> None:
        """As if nobody had been asked."""
        self._reasons.clear()


RIGHTS = "docs/security.md"

REFUSALS = Refusals()
"""Of this process."""


def refusal(error: BaseException, host: str, port: int, options: Mapping[str, Any]) -> str:
    """Why a broker refuses, and what to do; empty for an outage."""
    place = f"Kafka at {host}:{port}"
    mechanism, user = options.get("sasl_mechanism"), options.get("sasl_plain_username")
    if isinstance(error, KafkaConnectionError) and isinstance(error.__cause__, ssl.SSLError):
        error = error.__cause__
    match error:
        case NoToken():
            return f"{place}: {error.args[0]}" if isinstance(error, TokenRefused) else ""
        case SecretUnreadable():
            return f"{place}: {error}"
        case SaslAuthenticationFailed() if user is None:
            return f"{place} does not take the token of this process: {_said(error)}: is it good, and meant for Kafka?"
        case SaslAuthenticationFailed():
            return f"{place} does not let {user!r} in by {mechanism}: are KAFKA_USER and KAFKA_PASSWORD right?"
        case UnsupportedSaslMechanismError():
            return f"{place} does not offer {mechanism}: set KAFKA_SASL_MECHANISM as its listener has it"
        case IllegalSaslStateError():
            return f"{place} takes no login there: is KAFKA_SECURITY that of this listener?"
        case ssl.SSLCertVerificationError():
            return f"{place}: {_certificate(error, host)}"
        case ssl.SSLError():
            return _tls(error, place)
        case KafkaError() | OSError():
            return ""
    # What aiokafka's own code raises for an answer that it did not expect, as in the steps of SCRAM.
    return f"{place}: {mechanism or 'the connection'} fails: {type(error).__name__}"


def _certificate(error: ssl.SSLCertVerificationError, host: str) -> str:
    code = error.verify_code
    if code in (_OTHER_NAME, _OTHER_ADDRESS):
        return (
            f"its certificate is for another name than {host}: have KAFKA_BROKERS and advertised.listeners name it so"
        )
    if code in _UNKNOWN_AUTHORITY:
        return (
            "its certificate is from an authority that is not trusted: set KAFKA_CA_FILE to the file of the right one"
        )
    if code == _EXPIRED:
        return "its certificate has expired: renew it"
    if code == _NOT_YET:
        return "its certificate is not valid yet: is the clock of this machine right?"
    return f"its certificate is not taken: {one_line(error.verify_message)}"


def _tls(error: ssl.SSLError, place: str) -> str:
    if error.reason in _NO_TLS:
        return f"{place} does not speak TLS there: is KAFKA_SECURITY that of this listener?"
    if _ALERT in (error.reason or ""):
        said = error.reason.replace("_", " ").lower()
        return f"{place} does not take the certificate of this process ({said}): are KAFKA_CERT_FILE and its key right?"
    return ""


def _said(error: KafkaError) -> str:
    return printable(one_line(error.args[0] if error.args and error.args[0] else error))
