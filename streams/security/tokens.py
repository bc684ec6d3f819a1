"""Tokens by which a broker knows this process (OAUTHBEARER): from a file, from a server, or from code of one's own.

aiokafka asks for one at each connection, in the event loop that connects: there are two, since Faust's consumer has its
own thread. A broker ends the session of a token that has expired, and the next connection brings the next token.
"""

from __future__ import annotations

import asyncio
import base64
import importlib
import math
import time
from pathlib import Path
from urllib.parse import quote_plus
from weakref import WeakKeyDictionary

import aiohttp
import msgspec
from aiokafka.abc import AbstractTokenProvider
from aiokafka.conn import OAuthAuthenticator
from aiokafka.errors import KafkaError, SaslAuthenticationFailed

from streams.security.secret import Secret, SecretUnreadable
from streams.security.tls import RenewedContext
from streams.settings import SettingsError
from streams.text import one_line

REQUEST_SECONDS = 10.0
LEFT_SHARE = 0.2
"""A token is renewed when less than this share of its time is left."""
USUAL_SECONDS = 300
"""How long a token is taken for good whose server does not say."""
MOST_BYTES = 1 << 20
"""Of an answer with a token."""
_LATER = (408, 425, 429)


class NoToken(KafkaError):  # type: ignore[misc]
    """There is no token just now: its server does not answer."""


class TokenRefused(NoToken):
    """There will be none until somebody has mended it; the message says what, and shows no secret."""


class TokenLogin(OAuthAuthenticator):  # type: ignore[misc]
    """aiokafka's, which takes whatever a broker says of a token for a yes, and meets a connection that is closed."""

    async def step(self, payload: bytes | None) -> tuple[bytes, bool] | None:
        """The next message to the broker. `payload` is its answer: empty, or JSON with what is wrong (RFC 7628).

        Raises `SaslAuthenticationFailed`.
        """
        if payload:
            try:
                said = msgspec.json.decode(payload, type=_Status).status
            except (msgspec.DecodeError, UnicodeDecodeError):
                said = ""
            raise SaslAuthenticationFailed(said or "it is refused")
        step: tuple[bytes, bool] | None = await super().step(payload)
        return step


class _Status(msgspec.Struct):
    status: str = ""


class FileTokens(AbstractTokenProvider):  # type: ignore[misc]
    """The token in a file, as it stands there at each connection."""

    def __init__(self, file: str, setting: str) -> None:
        self._file = Path(file)
        self._named = f"{setting}={file}"

    async def token(self) -> str:
        """Raises `TokenRefused`."""
        try:
            text = self._file.read_text("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise TokenRefused(f"{self._named}: {reason}") from None
        if not text or len(text.split()) != 1:
            raise TokenRefused(f"{self._named}: it is {'no token' if text else 'empty'}")
        if time.time() >= _ends_at(text):
            raise TokenRefused(f"{self._named}: its token has ended: renew it")
        return text


class _Claims(msgspec.Struct):
    exp: float = math.inf


def _ends_at(token: str) -> float:
    """The time, in seconds since 1970, at which a JSON Web Token ends; infinite for one that does not say. A broker may
    take one that has just ended, and end its session at once."""
    try:
        _, claims, _ = token.split(".")
        return msgspec.json.decode(base64.urlsafe_b64decode(claims + "=="), type=_Claims).exp
    except (ValueError, msgspec.DecodeError, RecursionError):
        return math.inf


class _Granted(msgspec.Struct):
    access_token: str
    expires_in: float | None = None


class _Refused(msgspec.Struct):
    error: str = ""
    error_description: str = ""


class ClientCredentials(AbstractTokenProvider):  # type: ignore[misc]
    """Tokens that a server gives for a client's id and secret (RFC 6749, section 4.4), each used while it is good."""

    def __init__(self, url: str, client_id: str, secret: Secret, scope: str, tls: RenewedContext | None) -> None:
        self._url = url
        self._client_id = client_id
        self._secret = secret
        self._scope = scope
        self._tls = tls
        self._asking: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()
        self._token = ""
        self._renew_at = self._ends_at = 0.0

    async def token(self) -> str:
        """Raises `NoToken`."""
        async with self._asking.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
            if time.monotonic() >= self._renew_at:
                try:
                    await self._ask()
                except NoToken:
                    if time.monotonic() >= self._ends_at:
                        raise
        return self._token

    async def _ask(self) -> None:
        asked = time.monotonic()
        form = {"grant_type": "client_credentials"} | ({"scope": self._scope} if self._scope else {})
        try:
            login = f"{quote_plus(self._client_id)}:{quote_plus(self._secret.reveal())}"
            headers = {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}
            timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
            async with (
                aiohttp.ClientSession(timeout=timeout, headers=headers) as session,
                # A redirection would take the secret elsewhere.
                session.post(self._url, data=form, ssl=self._tls or True, allow_redirects=False) as response,
            ):
                status, body = response.status, await _read(response.content)
        except SecretUnreadable as error:
            raise TokenRefused(str(error)) from None
        except aiohttp.ClientConnectorCertificateError as error:
            said = one_line(error.certificate_error)
            raise TokenRefused(f"KAFKA_OAUTH_TOKEN_URL: {said}: is KAFKA_OAUTH_CA_FILE right?") from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            said = one_line(error) or type(error).__name__
            raise NoToken(f"KAFKA_OAUTH_TOKEN_URL does not answer: {said}") from None
        if status != 200:
            raise _refusal(status, body)
        try:
            granted = msgspec.json.decode(body, type=_Granted)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise TokenRefused(
                "KAFKA_OAUTH_TOKEN_URL answers 200 without an access_token: is it the right one?"
            ) from None
        seconds = granted.expires_in if granted.expires_in is not None else USUAL_SECONDS
        self._token = granted.access_token
        self._renew_at, self._ends_at = asked + seconds * (1 - LEFT_SHARE), asked + seconds


async def _read(content: aiohttp.StreamReader) -> bytes:
    """All of an answer. Raises `TokenRefused` for one that is too long."""
    body = bytearray()
    while part := await content.readany():
        body += part
        if len(body) > MOST_BYTES:
            raise TokenRefused(f"KAFKA_OAUTH_TOKEN_URL answers with more than {MOST_BYTES} bytes: is it the right one?")
    return bytes(body)


def _refusal(status: int, body: bytes) -> NoToken:
    """What an answer without a token means. Of what it says only the error's own fields are shown."""
    try:
        said = msgspec.json.decode(body, type=_Refused)
    except (msgspec.DecodeError, UnicodeDecodeError):
        said = _Refused()
    why = one_line(": ".join(filter(None, [str(status), said.error, said.error_description])))
    if status >= 500 or status in _LATER:
        return NoToken(f"KAFKA_OAUTH_TOKEN_URL answers {why}")
    return TokenRefused(
        f"KAFKA_OAUTH_TOKEN_URL answers {why}: are KAFKA_OAUTH_CLIENT_ID, KAFKA_OAUTH_CLIENT_SECRET and"
        " KAFKA_OAUTH_SCOPE right?"
    )


def provider_of(place: str) -> AbstractTokenProvider:
    """What the factory at `module:factory` makes. Raises `SettingsError`."""
    setting = f"KAFKA_OAUTH_PROVIDER={place}"
    module, colon, name = place.partition(":")
    if not (module and colon and name):
        raise SettingsError(f"{setting}: use module:factory")
    try:
        made = getattr(importlib.import_module(module), name)()
    except Exception as error:  # whatever somebody's own code raises
        raise SettingsError(f"{setting}: {type(error).__name__}: {one_line(error)}") from None
    if not isinstance(made, AbstractTokenProvider):
        raise SettingsError(f"{setting}: it makes a {type(made).__name__}, no aiokafka.abc.AbstractTokenProvider")
    return made
