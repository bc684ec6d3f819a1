"""A client of a Confluent schema registry, or of what answers like one: three requests, JSON over HTTP."""

from __future__ import annotations

import base64
import ssl
from dataclasses import dataclass, field, replace
from typing import Annotated
from urllib.parse import quote

import aiohttp
import msgspec
from yarl import URL

from streams.security.handshakes import refusal
from streams.security.secret import NO_SECRET, Secret, SecretUnreadable
from streams.security.store_url import Tls, url_options
from streams.settings import Settings, SettingsError, split_url
from streams.text import one_line

REQUEST_SECONDS = 5.0

_SETTING = "SCHEMA_REGISTRY_URL"
_TLS = Tls(setting=_SETTING)
_FORM = (
    "SCHEMA_REGISTRY_URL: use http[s]://[user:password@]host[:port][/path][?ca=FILE&cert=FILE&key=FILE],"
    " special characters as %2F and the like"
)
_NOT_THERE = (40401, 40403)
"""What a registry says of an unknown subject, and of a schema that its subject does not have."""
_LATER = (408, 425, 429)
ACCEPT = {"Accept": "application/vnd.schemaregistry.v1+json, application/json"}


class RegistryError(Exception):
    """The registry says no, and only people can mend it; the message says what and where, without a password."""


class RegistryDown(RegistryError):
    """No answer, or one that says later: asking again helps."""


class Incompatible(RegistryError):
    """A version breaks the compatibility that the registry holds its subject to."""


@dataclass(frozen=True)
class RegistryAddress:
    """Where the registry is, and how to get in."""

    url: str
    """Without user and password, and without a slash at the end."""
    user: str = ""
    password: str = field(default="", repr=False)
    tls: Tls = _TLS
    token: Secret = NO_SECRET
    """A bearer token, in the place of user and password."""

    @classmethod
    def of(cls, settings: Settings) -> RegistryAddress | None:
        """From `SCHEMA_REGISTRY_URL` and the like; None where there is no registry. Raises `SettingsError`."""
        if not settings.schema_registry_url:
            return None
        parts = split_url(settings.schema_registry_url, _SETTING)
        tls = _tls(url_options(parts, _SETTING), settings.schema_registry_ca_file, parts.scheme)
        try:
            url = URL(parts._replace(query="").geturl())
        except ValueError:
            raise SettingsError(_FORM) from None
        if url.scheme not in ("http", "https") or not url.host or url.fragment:
            raise SettingsError(_FORM)
        if ":" in (url.user or ""):
            raise SettingsError(f"{_SETTING}: a user name cannot hold ':' in basic authentication")
        if (url.user or url.password) and settings.schema_registry_token:
            raise SettingsError(f"SCHEMA_REGISTRY_TOKEN: {_SETTING} has a user as well: leave one of them out")
        bare = str(url.with_user(None)).rstrip("/")
        address = cls(bare, url.user or "", url.password or "", tls, settings.schema_registry_token)
        address.tls.context()  # a file that cannot be used is found out now
        address.headers()
        return address

    def __str__(self) -> str:
        return f"schema registry at {self.url}"

    def headers(self) -> dict[str, str]:
        """The login that a request carries. Raises `SettingsError`."""
        if self.user or self.password:
            login = base64.b64encode(f"{self.user}:{self.password}".encode())
            return {"Authorization": f"Basic {login.decode()}"}
        try:
            token = self.token.reveal()
        except SecretUnreadable as error:
            raise SettingsError(str(error)) from None
        if not (token.isascii() and token.isprintable()):
            raise SettingsError("SCHEMA_REGISTRY_TOKEN has characters that no token has")
        return {"Authorization": f"Bearer {token}"} if token else {}

    @property
    def refused(self) -> str:
        """What it means that the registry does not know who asks."""
        if self.user or self.password:
            return "refuses this user and password"
        return "refuses this token" if self.token else "wants a user and a password, or a token"


def _tls(options: dict[str, str], ca_file: str, scheme: str) -> Tls:
    """From the options of the URL and `SCHEMA_REGISTRY_CA_FILE`. Raises `SettingsError`."""
    tls = Tls.of(options, _SETTING)
    if ca_file:
        if tls.ca:
            raise SettingsError("SCHEMA_REGISTRY_CA_FILE: SCHEMA_REGISTRY_URL has a ca as well: leave one out")
        tls = replace(tls, ca=ca_file, is_on=True, setting="SCHEMA_REGISTRY_CA_FILE")
    if tls.is_on and scheme == "http":
        raise SettingsError(f"{tls.setting}: SCHEMA_REGISTRY_URL is not https, so nothing would use the certificates")
    return tls


class _Answer(msgspec.Struct):
    """The parts of the registry's answers that are needed here."""

    id: Annotated[int, msgspec.Meta(ge=0, lt=1 << 31)] | None = None
    error_code: int = 0
    message: str = ""


class SchemaRegistry:
    """The registry's API, as far as it is needed here. A connection is made at the first request."""

    def __init__(self, address: RegistryAddress) -> None:
        self.address = address
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> SchemaRegistry:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of the connection; the next request makes another."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def look_up(self, subject: str, schema: str) -> int | None:
        """The id of a schema (its JSON) among the versions of a subject; None when it is not there.

        Raises `RegistryError`, as all of these do.
        """
        status, answer = await self._request("POST", f"/subjects/{_quoted(subject)}", {"schema": schema})
        if status == 404 and answer.error_code in _NOT_THERE:
            return None
        return self._id(status, answer, subject)

    async def register(self, subject: str, schema: str) -> int:
        """Make a schema the next version of a subject, unless it is one already; its id. Raises `Incompatible` too."""
        status, answer = await self._request("POST", f"/subjects/{_quoted(subject)}/versions", {"schema": schema})
        if status == 409:
            raise Incompatible(f"{self.address} holds it for incompatible: {_message(answer)}")
        return self._id(status, answer, subject)

    async def accept_all(self, subject: str) -> None:
        """Hold the versions of this subject to no compatibility any more."""
        status, answer = await self._request("PUT", f"/config/{_quoted(subject)}", {"compatibility": "NONE"})
        if status != 200:
            raise self._refused(status, answer, subject)

    def _id(self, status: int, answer: _Answer, subject: str) -> int:
        if status != 200 or answer.id is None:
            raise self._refused(status, answer, subject)
        return answer.id

    def _refused(self, status: int, answer: _Answer, subject: str) -> RegistryError:
        what = {
            401: self.address.refused,
            403: f"does not let this user do this under {subject}",
            404: "has no such page: is the path of SCHEMA_REGISTRY_URL right?",
        }.get(status, f"refuses {subject} with status {status}")
        return RegistryError(f"{self.address} {what}" + (f" ({_message(answer)})" if answer.message else ""))

    async def _request(self, method: str, path: str, body: dict[str, str]) -> tuple[int, _Answer]:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                headers=ACCEPT,
                connector=aiohttp.TCPConnector(ssl=self.address.tls.context() or True, limit=4),
                timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS),
            )
        url = self.address.url + path
        try:
            # No redirects: the user and password are meant for this server.
            async with self._session.request(
                method, url, json=body, headers=self.address.headers(), allow_redirects=False
            ) as response:
                status, content = response.status, await response.read()
        except SettingsError as error:  # the file with the token is gone just now
            raise RegistryDown(str(error)) from None
        except aiohttp.ClientSSLError as error:
            raise RegistryError(f"no TLS with the {self.address}: {_tls_refusal(error)}") from None
        except TimeoutError:
            raise RegistryDown(f"{self.address} does not answer within {REQUEST_SECONDS:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise RegistryDown(f"{self.address}: {getattr(error, 'strerror', None) or one_line(error)}") from None
        try:
            answer = msgspec.json.decode(content, type=_Answer)
        except msgspec.DecodeError:
            answer = _Answer()
        if status >= 500 or status in _LATER:
            raise RegistryDown(f"{self.address}: status {status} {_message(answer)}".rstrip())
        return status, answer


def _tls_refusal(error: aiohttp.ClientSSLError) -> str:
    reason = getattr(error, "certificate_error", None) or getattr(error, "os_error", None)
    return refusal(reason) if isinstance(reason, ssl.SSLError) else one_line(error)


def _quoted(subject: str) -> str:
    return quote(subject, safe="")


def _message(answer: _Answer) -> str:
    return " ".join(answer.message.split())[:300]
