"""Keys in this process, as of two workers, and key management whose servers are stand-ins on loopback."""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from streams.journal.port import Unavailable
from streams.keys.keys import Keys
from streams.keys.management.port import KeyDestroyed
from streams.keys.memory import MemoryKeyRows
from streams.keys.port import KeyRow
from streams.moments import now


class MemoryManagement:
    """A `KeyManagement` in this process."""

    def __init__(self) -> None:
        self.keys: dict[str, AESGCM] = {}
        self.asked = 0

    async def create(self, name: str) -> str:
        self.keys[name] = AESGCM(AESGCM.generate_key(256))
        return name

    async def wrap(self, key: str, secret: bytes) -> bytes:
        nonce = os.urandom(12)
        return nonce + self._key(key).encrypt(nonce, secret, None)

    async def unwrap(self, key: str, wrapped: bytes) -> bytes:
        try:
            return self._key(key).decrypt(wrapped[:12], wrapped[12:], None)
        except InvalidTag:
            raise ValueError("not wrapped by it") from None

    async def destroy(self, key: str) -> datetime:
        self.keys.pop(key, None)
        return now()

    async def close(self) -> None:
        pass

    def _key(self, name: str) -> AESGCM:
        self.asked += 1
        if name not in self.keys:
            raise KeyDestroyed(name)
        return self.keys[name]


class LossyRows(MemoryKeyRows):
    """Rows whose answers get lost, before or after what was asked is done, as often as `lose` says."""

    def __init__(self, rows: dict[str, KeyRow], lose: int = 0) -> None:
        super().__init__(rows)
        self.lose = lose

    async def insert(self, id: str, value: bytes) -> KeyRow:
        return await self._maybe(super().insert(id, value))

    async def replace(self, id: str, version: int, value: bytes) -> KeyRow | None:
        return await self._maybe(super().replace(id, version, value))

    async def _maybe(self, asked: Any) -> Any:
        self.lose -= 1
        if self.lose >= 0 and self.lose % 2:
            asked.close()
            raise Unavailable("lost on the way there")
        answer = await asked
        if self.lose >= 0:
            raise Unavailable("lost on the way back")
        return answer


class Workers:
    """Two workers with the same rows and the same key management."""

    def __init__(self) -> None:
        self.rows: dict[str, KeyRow] = {}
        self.management = MemoryManagement()
        self.one, self.two = self.worker(), self.worker()

    def worker(self, **options: Any) -> Keys:
        return Keys(MemoryKeyRows(self.rows), self.management, "ns.", **options)


@asynccontextmanager
async def vault() -> AsyncIterator[tuple[str, dict[str, AESGCM]]]:
    """What speaks as Vault's transit engine does; its address, and its keys by name."""
    keys: dict[str, AESGCM] = {}
    deletable: set[str] = set()

    async def answer(request: web.Request) -> web.Response:
        if request.headers.get("X-Vault-Token") != "s.token":
            return web.json_response({"errors": ["permission denied"]}, status=403)
        what, name = request.match_info["what"], request.match_info["name"]
        body = await request.json() if request.can_read_body else {}
        if request.path.endswith("/config"):
            deletable.add(name)
            return web.Response(status=204)
        if what == "keys" and request.method == "POST":
            keys.setdefault(name, AESGCM(AESGCM.generate_key(256)))
            return web.Response(status=204)
        if name not in keys:
            return web.json_response({"errors": []}, status=404)
        if what == "keys" and request.method == "DELETE":
            if name not in deletable:
                return web.json_response({"errors": ["deletion is not allowed for this key"]}, status=400)
            del keys[name]
            return web.Response(status=204)
        if what == "encrypt":
            nonce = os.urandom(12)
            sealed = nonce + keys[name].encrypt(nonce, base64.b64decode(body["plaintext"]), None)
            return web.json_response({"data": {"ciphertext": f"vault:v1:{base64.b64encode(sealed).decode()}"}})
        if what == "decrypt":
            raw = base64.b64decode(body["ciphertext"].removeprefix("vault:v1:"))
            try:
                opened = keys[name].decrypt(raw[:12], raw[12:], None)
            except InvalidTag:
                return web.json_response({"errors": ["cipher: message authentication failed"]}, status=400)
            return web.json_response({"data": {"plaintext": base64.b64encode(opened).decode()}})
        return web.json_response({"data": {"name": name}})

    app = web.Application()
    for path in ("/v1/transit/{what}/{name}", "/v1/transit/{what}/{name}/config"):
        app.router.add_route("*", path, answer)
    async with _served(app) as address:
        yield address, keys


@asynccontextmanager
async def aws() -> AsyncIterator[tuple[str, dict[str, AESGCM]]]:
    """What speaks as AWS KMS does; its address, and its keys by ARN."""
    keys: dict[str, AESGCM] = {}
    pending: set[str] = set()

    def error(code: str, status: int = 400) -> web.Response:
        return web.json_response({"__type": code, "message": "no"}, status=status)

    async def answer(request: web.Request) -> web.Response:
        if "AWS4-HMAC-SHA256 Credential=AKIAFAKE/" not in request.headers.get("Authorization", ""):
            return error("UnrecognizedClientException")
        operation, body = request.headers["X-Amz-Target"].removeprefix("TrentService."), await request.json()
        if operation == "CreateKey":
            arn = f"arn:aws:kms:us-east-1:1:key/{len(keys)}"
            keys[arn] = AESGCM(AESGCM.generate_key(256))
            return web.json_response({"KeyMetadata": {"Arn": arn, "KeyId": arn.rpartition("/")[2]}})
        arn = body["KeyId"]
        if arn not in keys:
            return error("NotFoundException")
        if arn in pending:
            return error("KMSInvalidStateException")
        if operation == "ScheduleKeyDeletion":
            pending.add(arn)
            date = (datetime.now(UTC) + timedelta(days=body["PendingWindowInDays"])).timestamp()
            return web.json_response({"KeyId": arn, "DeletionDate": date})
        if operation == "Encrypt":
            nonce = os.urandom(12)
            sealed = nonce + keys[arn].encrypt(nonce, base64.b64decode(body["Plaintext"]), None)
            return web.json_response({"CiphertextBlob": base64.b64encode(sealed).decode(), "KeyId": arn})
        raw = base64.b64decode(body["CiphertextBlob"])
        try:
            opened = keys[arn].decrypt(raw[:12], raw[12:], None)
        except InvalidTag:
            return error("InvalidCiphertextException")
        return web.json_response({"Plaintext": base64.b64encode(opened).decode(), "KeyId": arn})

    app = web.Application()
    app.router.add_post("/", answer)
    async with _served(app) as address:
        yield address, keys


@asynccontextmanager
async def _served(app: web.Application) -> AsyncIterator[str]:
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield "{}:{}".format(*runner.addresses[0][:2])
    finally:
        await runner.cleanup()
