"""Tokens of an OpenID Connect issuer: JWTs that are verified here, with the keys that the issuer publishes.

https://openid.net/specs/openid-connect-discovery-1_0.html, and https://www.rfc-editor.org/rfc/rfc8725 for what is to be
looked at: the algorithm is one of a few, never one that the token alone names, and the key is one for it.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Mapping
from typing import Any

import aiohttp
import jwt
import msgspec
from yarl import URL

from streams.access.principal import Identified, NotKnown, NotKnownNow, Principal
from streams.notices import NOTICES, warn
from streams.settings import SettingsError

log = logging.getLogger(__name__)

ALGORITHMS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("RSA", ""): ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
}
"""Those that a key of a type and curve may be for. None of them has a secret that both sides know."""
LEEWAY_SECONDS = 30
ASK_SECONDS = 5.0
FRESH_SECONDS = 3_600.0
"""Keys are read anew when they are as old as that."""
OLDEST_SECONDS = 86_400.0
"""Keys as old as that are of no use any more, though the issuer does not answer."""
AGAIN_SECONDS = 30.0
"""So long one waits before keys are asked for again: any stranger may send the name of a key that there is not."""
MOST_BYTES = 1 << 20
LONGEST_TOKEN = 16_384


class _Discovered(msgspec.Struct):
    issuer: str
    jwks_uri: str


class _KeySet(msgspec.Struct):
    keys: list[dict[str, Any]]


class _Key(msgspec.Struct, frozen=True):
    key: Any
    algorithms: tuple[str, ...]


class Oidc:
    """Knows the users of one issuer by tokens that are for this audience. `tls` is how the issuer is trusted."""

    def __init__(self, issuer: str, audience: str, tls: ssl.SSLContext | None = None) -> None:
        _check_url("HTTP_OIDC_ISSUER", issuer)
        self._issuer = issuer
        self._audience = audience
        self._tls = tls
        self._keys: Mapping[str, _Key] = {}
        self._read_at = -OLDEST_SECONDS
        self._asked_at = -AGAIN_SECONDS
        self._asking = asyncio.Lock()
        self._reading: asyncio.Task[None] | None = None

    async def identify(self, token: str) -> Identified:
        """Whose token it is. Raises `NotKnown`, and `NotKnownNow` while there are no keys."""
        if len(token) > LONGEST_TOKEN:
            raise NotKnown("the token is too long")
        try:
            header = jwt.get_unverified_header(token)
            key = await self._key(header.get("kid"))
            if header.get("alg") not in key.algorithms:
                raise NotKnown(f"the token is signed by {header.get('alg')!r}, which its key is not for")
            claims = jwt.decode(
                token,
                key.key,
                algorithms=key.algorithms,
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError, OverflowError) as error:  # no token at all
            raise NotKnown(f"the token does not hold: {error}") from None
        return Identified(_principal(claims), float(claims["exp"]) + LEEWAY_SECONDS)

    async def _key(self, kid: object) -> _Key:
        """The key of this name; the only one, for a token that names none. Raises `NotKnown`, `NotKnownNow`."""
        key = self._find(kid)
        if key is None or self._age > OLDEST_SECONDS:
            await self._read_keys()
            key = self._find(kid)
        elif self._age > FRESH_SECONDS and not self._asking.locked():  # nobody need wait for an issuer that is slow
            self._reading = asyncio.create_task(self._read_keys())
        if self._age > OLDEST_SECONDS:
            raise NotKnownNow(f"the keys of {self._issuer} cannot be read")
        if key is None:
            raise NotKnown("the token is signed with a key that its issuer does not have")
        return key

    @property
    def _age(self) -> float:
        return time.monotonic() - self._read_at

    def _find(self, kid: object) -> _Key | None:
        if kid is None:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(kid) if isinstance(kid, str) else None

    async def _read_keys(self) -> None:
        """Read the keys anew, unless that was tried just now. What goes wrong is said, and the keys stay."""
        async with self._asking:
            if time.monotonic() - self._asked_at < AGAIN_SECONDS:
                return
            try:
                keys = await self._published()
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError, SettingsError) as error:
                warn(log, "keys-unreadable", self._issuer, "the keys of %s cannot be read: %r", self._issuer, error)
            else:
                self._keys, self._read_at = keys, time.monotonic()
                NOTICES.over("keys-unreadable", self._issuer)
            self._asked_at = time.monotonic()

    async def _published(self) -> Mapping[str, _Key]:
        timeout = aiohttp.ClientTimeout(total=ASK_SECONDS)
        connector = aiohttp.TCPConnector(ssl=self._tls if self._tls is not None else True)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as http:
            where = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
            discovered = await _json(http, where, _Discovered)
            if discovered.issuer != self._issuer:
                raise ValueError(f"it calls itself {discovered.issuer!r}")
            _check_url("jwks_uri", discovered.jwks_uri)
            return _usable(await _json(http, discovered.jwks_uri, _KeySet))


async def _json(http: aiohttp.ClientSession, url: str, type: type[Any]) -> Any:
    async with http.get(url, allow_redirects=False) as response:
        if response.status != 200:
            raise ValueError(f"{url} answers {response.status}")
        body = await response.content.read(MOST_BYTES + 1)
        while len(body) <= MOST_BYTES and (more := await response.content.read(MOST_BYTES)):
            body += more
        if len(body) > MOST_BYTES:
            raise ValueError(f"{url} answers with more than {MOST_BYTES} bytes")
        return msgspec.json.decode(body, type=type)


def _usable(found: _KeySet) -> Mapping[str, _Key]:
    """By name the keys that tokens may be signed with; others, and those that cannot be read, are passed over."""
    keys: dict[str, _Key] = {}
    for number, jwk in enumerate(found.keys):
        kind, curve = str(jwk.get("kty")), str(jwk.get("crv", ""))
        algorithms = ALGORITHMS.get((kind, "" if kind == "RSA" else curve), ())
        if (own := jwk.get("alg")) is not None:
            algorithms = tuple(algorithm for algorithm in algorithms if algorithm == own)
        if jwk.get("use", "sig") != "sig" or not algorithms:
            continue
        try:
            key = jwt.PyJWK.from_dict({**jwk, "alg": algorithms[0]}).key
        except jwt.PyJWTError as error:
            log.warning("key %d of the issuer cannot be read: %s", number, error)
            continue
        keys[str(jwk.get("kid", f" {number}"))] = _Key(key, algorithms)
    return keys


def _principal(claims: Mapping[str, Any]) -> Principal:
    sub, groups = claims["sub"], claims.get("groups", ())
    if not _is_name(sub):
        raise NotKnown("the token names nobody")
    names = groups if isinstance(groups, list | tuple) else []
    return Principal("oidc", sub, tuple(name for name in names if _is_name(name)))


def _is_name(text: object) -> bool:
    return isinstance(text, str) and text != "" and text.isprintable()


def _check_url(name: str, url: str) -> None:
    """Raise `SettingsError` for a URL at which anybody on the way could publish keys of his own."""
    try:
        parsed = URL(url)
        is_here = parsed.host in ("127.0.0.1", "::1", "localhost")
        is_safe = parsed.scheme == "https" or (parsed.scheme == "http" and is_here)
    except ValueError:
        is_safe = False
    if not is_safe or not parsed.host:
        raise SettingsError(f"{name}={url!r}: use https://host[/path]; http:// is for this machine alone")
