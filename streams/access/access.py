"""Who may do what, as the settings say it: the ways to say who one is, and the grants."""

from __future__ import annotations

import time
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from aiohttp import hdrs

from streams.access.grants import Grants
from streams.access.principal import Identified, NotKnown, Principal
from streams.access.tls import client_context, end_of_certificate, name_of_certificate
from streams.access.tokens import PREFIX, Tokens
from streams.extras import needs
from streams.security.renewed import Renewed
from streams.settings import Settings, SettingsError

if TYPE_CHECKING:
    from streams.access.oidc import Oidc

_WAYS = ("http_tokens_file", "http_oidc_issuer", "http_client_ca_file")


class Access:
    """Knows who asks, by a bearer token or by the certificate that the client has shown."""

    def __init__(self, grants: Renewed[Grants], tokens: Renewed[Tokens] | None, oidc: Oidc | None) -> None:
        self._grants = grants
        self._tokens = tokens
        self._oidc = oidc

    @classmethod
    def of(cls, settings: Settings) -> Access | None:
        """As the settings say; None where nobody need say who he is. Raises `SettingsError`."""
        ways = ", ".join(way.upper() for way in _WAYS)
        if bool(settings.http_oidc_issuer) != bool(settings.http_oidc_audience):
            raise SettingsError("HTTP_OIDC_ISSUER and HTTP_OIDC_AUDIENCE: say both, or neither")
        if not any(getattr(settings, way) for way in _WAYS):
            if settings.http_grants_file:
                raise SettingsError(f"HTTP_GRANTS_FILE is set, and nobody can say who he is: set one of {ways}")
            return None
        if not settings.http_grants_file:
            raise SettingsError("HTTP_GRANTS_FILE is not set: without grants, nobody may do anything")
        grants = Renewed.of_text("HTTP_GRANTS_FILE", settings.http_grants_file, Grants.read)
        tokens = oidc = None
        if settings.http_tokens_file:
            tokens = Renewed.of_text("HTTP_TOKENS_FILE", settings.http_tokens_file, Tokens.read)
        if settings.http_oidc_issuer:
            with needs("oidc", "HTTP_OIDC_ISSUER"):
                from streams.access.oidc import Oidc
            oidc = Oidc(settings.http_oidc_issuer, settings.http_oidc_audience, client_context(settings))
        return cls(grants, tokens, oidc)

    @property
    def grants(self) -> Grants:
        """As they are now."""
        return self._grants.value

    async def identify(self, request: Any) -> Identified:
        """Who has sent a request. Raises `NotKnown`, `NotKnownNow`."""
        if hdrs.AUTHORIZATION in request.headers:
            return await self._by_token(_bearer(request.headers))
        name = name_of_certificate(request)
        if name is None:
            raise NotKnown("say who you are: Authorization: Bearer TOKEN, or a client certificate")
        until = end_of_certificate(request)
        if until is not None and until <= time.time():
            raise NotKnown("the certificate has expired: connect anew with another")
        return Identified(Principal("cert", name), until)

    async def _by_token(self, token: str) -> Identified:
        if self._tokens is not None and (self._oidc is None or token.startswith(PREFIX)):
            return self._tokens.value.find(token)
        if self._oidc is None:
            raise NotKnown("bearer tokens are not taken here")
        return await self._oidc.identify(token)


def check_reach(settings: Settings, bind: str, access: Access | None) -> None:
    """Raise `SettingsError` where a worker would be open to whoever reaches its port, and nobody has said so."""
    if access is None and not settings.http_insecure and not is_loopback(bind):
        ways = ", ".join(way.upper() for way in _WAYS)
        raise SettingsError(
            f"this worker would listen on {bind or 'all addresses'}, and do what anybody there asks for: set one of"
            f" {ways} and HTTP_GRANTS_FILE, or HTTP_INSECURE=yes where whoever reaches the port may do everything"
        )


def is_loopback(bind: str) -> bool:
    """Whether it is an address at which only this machine is reached."""
    try:
        return ip_address(bind.strip("[]")).is_loopback
    except ValueError:
        return bind.lower() == "localhost"


def _bearer(headers: Any) -> str:
    """The token of the header `Authorization`. Raises `NotKnown`."""
    given: list[str] = headers.getall(hdrs.AUTHORIZATION)
    scheme, _, token = given[0].partition(" ")
    if len(given) != 1 or scheme.lower() != "bearer" or not token.strip():
        raise NotKnown("Authorization: it is to be once `Bearer TOKEN`")
    return token.strip()
