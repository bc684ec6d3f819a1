"""Users whom the secured broker gets while it runs: a name and a password, for SCRAM-SHA-512."""

from __future__ import annotations

import hashlib
import os
from typing import Any, ClassVar

from aiokafka.errors import for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    CompactArray,
    CompactBytes,
    CompactString,
    Int8,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

from streams.kafka.client_factory import ClientFactory

ITERATIONS = 4_096
"""The fewest that Kafka takes."""
_SHA_512 = 2
_API_KEY = 51


async def add_login(clients: ClientFactory, user: str, password: str) -> None:
    """Let a user in by this password, whichever he had before. Raises `KafkaError`."""
    async with clients.administering() as admin:
        response = await admin._send_request(_AlterLogins(user, password))
    for _, code, message, _ in response.results:
        if code:
            raise for_code(code)(message)


class _Altered(Response):  # type: ignore[misc]
    API_KEY = _API_KEY
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "results",
            CompactArray(
                ("user", CompactString()),
                ("error_code", Int16),
                ("error_message", CompactString()),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _Alter(RequestStruct):  # type: ignore[misc]
    FLEXIBLE_VERSION: ClassVar[bool] = True
    API_KEY = _API_KEY
    API_VERSION = 0
    RESPONSE_TYPE = _Altered
    SCHEMA = Schema(
        ("deletions", CompactArray(("name", CompactString()), ("mechanism", Int8), ("tags", TaggedFields))),
        (
            "upsertions",
            CompactArray(
                ("name", CompactString()),
                ("mechanism", Int8),
                ("iterations", Int32),
                ("salt", CompactBytes),
                ("salted_password", CompactBytes),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _AlterLogins(Request[_Alter]):  # type: ignore[misc]
    """AlterUserScramCredentials, which aiokafka does not have."""

    API_KEY = _API_KEY

    def __init__(self, user: str, password: str) -> None:
        salt = os.urandom(16)
        salted = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ITERATIONS)
        self._login: tuple[Any, ...] = user, _SHA_512, ITERATIONS, salt, salted, {}

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class([], [self._login], {})
