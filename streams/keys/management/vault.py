"""HashiCorp Vault's transit engine, or OpenBao's: four requests, JSON over HTTP.

Its policy needs, for the mount `transit`: create, update and delete on `transit/keys/sourced-*`, update on
`transit/keys/sourced-*/config`, `transit/encrypt/sourced-*` and `transit/decrypt/sourced-*`.
Source: https://developer.hashicorp.com/vault/api-docs/secret/transit
"""

from __future__ import annotations

import base64
import ssl
from datetime import datetime
from typing import Any
from urllib.parse import SplitResult, quote

import aiohttp
import msgspec

from streams.journal.port import NotPermitted, Unavailable
from streams.keys.management.port import KeyDestroyed
from streams.moments import now
from streams.security.secret import Secret, SecretUnreadable
from streams.security.tls import TlsFiles
from streams.settings import Settings, SettingsError
from streams.text import one_line

REQUEST_SECONDS = 5.0
_GONE = ("encryption key not found", "no existing key named", "could not find key")


class VaultKeys:
    """A `KeyManagement` on the mount `path` of the transit engine at `url`."""

    def __init__(self, url: str, path: str, token: Secret, tls: ssl.SSLContext | bool) -> None:
        self._url = url
        self._path = path
        self._token = token
        self._tls = tls

    @classmethod
    def of(cls, settings: Settings, parts: SplitResult) -> VaultKeys:
        """From `vault+https://host[:port]/mount`. Raises `SettingsError`."""
        scheme = parts.scheme.removeprefix("vault+")
        if not settings.key_management_token:
            raise SettingsError("KEY_MANAGEMENT_TOKEN: Vault wants one; KEY_MANAGEMENT_TOKEN_FILE names its file")
        tls = TlsFiles("KEY_MANAGEMENT", ca=settings.key_management_ca_file).context() if scheme == "https" else False
        return cls(f"{scheme}://{parts.netloc}", parts.path.strip("/") or "transit", settings.key_management_token, tls)

    async def create(self, name: str) -> str:
        await self._ask("POST", f"keys/{quote(name)}", {"type": "aes256-gcm96"})
        return name

    async def wrap(self, key: str, secret: bytes) -> bytes:
        # Encrypting by a key that is not there would make one.
        await self._ask("GET", f"keys/{quote(key)}")
        answer = await self._ask("POST", f"encrypt/{quote(key)}", {"plaintext": base64.b64encode(secret).decode()})
        return str(answer["data"]["ciphertext"]).encode()

    async def unwrap(self, key: str, wrapped: bytes) -> bytes:
        answer = await self._ask("POST", f"decrypt/{quote(key)}", {"ciphertext": wrapped.decode()})
        return base64.b64decode(answer["data"]["plaintext"])

    async def destroy(self, key: str) -> datetime:
        try:
            await self._ask("POST", f"keys/{quote(key)}/config", {"deletion_allowed": True})
            await self._ask("DELETE", f"keys/{quote(key)}")
        except KeyDestroyed:
            pass
        return now()

    async def close(self) -> None:
        pass

    def __str__(self) -> str:
        return f"Vault at {self._url}, mount {self._path}"

    async def _ask(self, method: str, what: str, body: dict[str, Any] | None = None) -> Any:
        try:
            headers = {"X-Vault-Token": self._token.reveal(), "X-Vault-Request": "true"}
            timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
            connector = aiohttp.TCPConnector(ssl=self._tls)
            # A session of its own: it is asked once in a lease.
            async with (
                aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
                session.request(
                    method, f"{self._url}/v1/{self._path}/{what}", json=body, headers=headers, allow_redirects=False
                ) as response,
            ):
                status, text = response.status, await response.read()
        except SecretUnreadable as error:
            raise SettingsError(str(error)) from None
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unavailable(f"{self}: {one_line(error)}") from None
        return self._answer(status, text, what)

    def _answer(self, status: int, text: bytes, what: str) -> Any:
        try:
            answer = msgspec.json.decode(text) if text else {}
        except msgspec.DecodeError:
            answer = {}
        why = "; ".join(map(str, answer.get("errors") or ())) if isinstance(answer, dict) else ""
        if status < 300:
            return answer
        if status == 404 or any(gone in why for gone in _GONE):
            raise KeyDestroyed(f"{self} has no {what}")
        if status in (401, 403):
            raise NotPermitted(f"{self} refuses {what}: {why or status}: see its policy and KEY_MANAGEMENT_TOKEN")
        if status == 400:
            raise ValueError(f"{self}: {what}: {why or status}")
        raise Unavailable(f"{self}: {what}: {status} {why}".rstrip())
