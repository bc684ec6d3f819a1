"""Tokens that name their bearer (JSON Web Tokens, RS256) and the keys by which a server knows them, for tests."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

AUDIENCE, ISSUER, KEY_ID = "kafka", "https://issuer.invalid", "1"


class Issuer:
    """Signs tokens; the file `jwks` has the public key."""

    def __init__(self, jwks: Path) -> None:
        self._key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
        numbers = self._key.public_key().public_numbers()
        key = {"kty": "RSA", "kid": KEY_ID, "use": "sig", "alg": "RS256"}
        jwks.write_text(json.dumps({"keys": [key | {"n": _number(numbers.n), "e": _number(numbers.e)}]}))

    def token(self, subject: str, seconds: float = 3_600, audience: str = AUDIENCE) -> str:
        """A token of `subject`, good for so long."""
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "sub": subject,
            "aud": audience,
            "scope": "kafka",
            "iat": now,
            "exp": now + int(seconds),
        }
        signed = f"{_json({'alg': 'RS256', 'kid': KEY_ID, 'typ': 'JWT'})}.{_json(claims)}"
        return f"{signed}.{_text(self._key.sign(signed.encode(), padding.PKCS1v15(), SHA256()))}"


def _json(value: object) -> str:
    return _text(json.dumps(value).encode())


def _number(value: int) -> str:
    return _text(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
