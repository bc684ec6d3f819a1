"""An OpenID Connect issuer over HTTP: its discovery, its keys, and tokens of every kind, good and bad."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

AUDIENCE = "sourced"


class Issuer:
    """Publishes its keys at `url`, and makes tokens. `asked` counts the requests for keys; it answers with `status`."""

    def __init__(self) -> None:
        self.keys: dict[str, Any] = {}
        self.newest = ""
        self.asked = 0
        self.status = 200
        self.calls_itself = ""
        self.more_keys: list[dict[str, Any]] = []
        self.stranger = rsa.generate_private_key(65537, 2048)
        """A key that nobody publishes."""
        self.rotate("first")

    def rotate(self, kid: str, keep: bool = False) -> None:
        """Sign with a new key from now on; the former ones are published no more, unless they are kept."""
        key = rsa.generate_private_key(65537, 2048)
        self.keys = {**(self.keys if keep else {}), kid: key}
        self.newest = kid

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/.well-known/openid-configuration", self._discovery)
        app.router.add_get("/keys", self._published)
        self.runner = web.AppRunner(app, access_log=None)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}"

    async def stop(self) -> None:
        await self.runner.cleanup()

    async def _discovery(self, request: web.Request) -> web.Response:
        return web.json_response({"issuer": self.calls_itself or self.url, "jwks_uri": f"{self.url}/keys"})

    async def _published(self, request: web.Request) -> web.Response:
        self.asked += 1
        keys = [jwk(key) | {"kid": kid, "use": "sig"} for kid, key in self.keys.items()]
        return web.json_response({"keys": [*keys, *self.more_keys]}, status=self.status)

    def token(self, sub: str = "alice", kid: str = "", algorithm: str = "RS256", key: Any = None, **claims: Any) -> str:
        """A token for somebody, which holds for a minute unless `claims` say otherwise. A claim of None is left out."""
        now = int(time.time())
        good = {"iss": self.url, "aud": AUDIENCE, "sub": sub, "iat": now, "exp": now + 60}
        body = {name: value for name, value in {**good, **claims}.items() if value is not None}
        kid = kid or self.newest
        return jwt.encode(body, key or self.keys[kid], algorithm, headers={"kid": kid})

    def bad_tokens(self) -> dict[str, str]:
        """Tokens that do not hold, by what is wrong with them."""
        now, key, stranger = int(time.time()), self.keys[self.newest], self.stranger
        return {
            **self.spoilt_tokens("alice"),
            "not yet": self.token(nbf=now + 3_600),
            "no audience": self.token(aud=None),
            "wrong issuer": self.token(iss="https://evil.example"),
            "no end": self.token(exp=None),
            "nobody": self.token(sub=""),
            "alg None": self.unsigned("None"),
            "alg missing": self.unsigned(None),
            "another key": self.token(key=stranger),
            "public key as a secret": self.signed_with_public_key(),
            "cut": self.token()[:-8],
            "another alg": self.unsigned("HS256"),
            "no token": "abc",
            "no text": "\udcff.\udcff.\udcff",
            "nested": f"{_base64(b'[' * 3_000)}.{_base64(b'{}')}.",
            "a list": f"{_part([])}.{_part([])}.",
            "kid is a list": f"{_part({'alg': 'RS256', 'kid': ['a']})}.{_part({})}.",
            "alg is a list": f"{_part({'alg': ['RS256'], 'kid': self.newest})}.{_part({})}.",
            "not detached": f"{_part({'alg': 'RS256', 'kid': self.newest, 'b64': False, 'crit': ['b64']})}..",
            "unprintable": self.token(sub="alice\n"),
            "half a letter": self.token(sub="alice\ud800"),
            "no end at all": self.token(exp=float("inf")),
            "empty parts": "..",
            "too long": self.token(more="a" * 20_000),
            "with a key of its own": jwt.encode(
                {"iss": self.url, "aud": AUDIENCE, "sub": "alice", "exp": now + 60},
                stranger,
                "RS256",
                headers={"jwk": jwk(stranger), "kid": "mine"},
            ),
            "kid is a path": self.token(kid="../../dev/null", key=key),
        }

    def spoilt_tokens(self, sub: str) -> dict[str, str]:
        """Tokens for somebody that do not hold, by the one thing that is wrong with them."""
        return {
            "expired": self.token(sub, exp=int(time.time()) - 3_600),
            "wrong audience": self.token(sub, aud="another"),
            "alg none": self.unsigned("none", sub),
            "unknown key": self.token(sub, kid="unknown", key=self.stranger),
        }

    def sendable_bad_tokens(self) -> dict[str, str]:
        """Those that a client can put into a header."""
        return {what: token for what, token in self.bad_tokens().items() if token.isascii() and len(token) < 8_000}

    def unsigned(self, algorithm: str | None, sub: str = "alice") -> str:
        """A token that says that it need not be signed."""
        header = {"typ": "JWT", "kid": self.newest} | ({} if algorithm is None else {"alg": algorithm})
        body = {"iss": self.url, "aud": AUDIENCE, "sub": sub, "exp": int(time.time()) + 60}
        return f"{_part(header)}.{_part(body)}."

    def signed_with_public_key(self) -> str:
        """A token signed by HMAC with what everybody knows: the public key."""
        public = self.keys[self.newest].public_key()
        pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        body = {"iss": self.url, "aud": AUDIENCE, "sub": "alice", "exp": int(time.time()) + 60}
        text = f"{_part({'alg': 'HS256', 'kid': self.newest})}.{_part(body)}"
        return f"{text}.{_base64(hmac.new(pem, text.encode(), hashlib.sha256).digest())}"


def jwk(key: Any) -> dict[str, Any]:
    """The public half of a key, as it is published."""
    algorithm = ECAlgorithm if isinstance(key, ec.EllipticCurvePrivateKey) else RSAAlgorithm
    return dict(json.loads(algorithm.to_jwk(key.public_key())))


def _part(value: Any) -> str:
    return _base64(json.dumps(value).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
