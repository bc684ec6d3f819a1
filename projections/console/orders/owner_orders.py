"""Orders to the owner of a log, which it alone can do: signed, and on Kafka among the commands of its type."""

from __future__ import annotations

import asyncio
import secrets
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable

import msgspec
from aiokafka.errors import KafkaError

from projections.app import ReadSide
from projections.gateway.command_request import SOURCE
from projections.http.problems import NotNow
from streams.deciding.messages import JSON, MAX_ID_LENGTH, command_headers
from streams.deciding.orders import encode_order
from streams.kafka.client import ProducerRecord
from streams.kafka.topics import commands_topic
from streams.principals.signature import Signed
from streams.slices import partition_of

DONE_SECONDS = 8.0
"""An owner has this time to do what it is told, before whoever gave the order hears that it will be done later."""
LOOK_SECONDS = 0.3
ANY = "dead-letters"
"""The key of an order that any owner of the type may do, where the command it is about has none that an owner takes."""

Order = tuple[str, str, msgspec.Struct]
"""The key, the name and the data of an order."""


class OwnerOrders:
    """Gives orders to owners of the types whose commands this app may send."""

    def __init__(self, side: ReadSide, types: Collection[str]) -> None:
        self._side = side
        self.types = types if side.sign_order is not None else ()

    async def send(self, type: str, orders: Iterable[Order]) -> None:
        """Have Kafka take orders, in the name of whoever asks. Raises `NotNow`; to send them again is harmless."""
        settings = self._side.app.settings
        topic, records = commands_topic(settings.namespace, type), _by_partition()
        for key, name, data in orders:
            encoded = key.encode()
            record = encoded, encode_order(data), self._headers(type, key, name, encode_order(data))
            records[partition_of(encoded, settings.partitions)].append(record)
        try:
            for partition, batch in records.items():
                await self._side.broker.send(topic, partition, batch)
        except (KafkaError, TimeoutError, OSError) as error:
            raise NotNow("Kafka has not taken all of it: to give the order again is harmless") from error

    def _headers(self, type: str, key: str, name: str, data: bytes) -> list[tuple[str, bytes]]:
        assert self._side.sign_order is not None, "there are types, so there is a gateway"
        id = secrets.token_hex(16)
        return [*command_headers(id, name, SOURCE), *self._side.sign_order(Signed(type, key, id, name, data, JSON))]


def _by_partition() -> dict[int, list[ProducerRecord]]:
    return defaultdict(list)


def key_of(key: bytes | None) -> str:
    """The key under which an order about a command is sent: that of the command, where an owner takes it as one."""
    try:
        text = (key or b"").decode()
    except UnicodeDecodeError:
        return ANY
    return text if 0 < len(text) <= MAX_ID_LENGTH else ANY


async def until(is_done: Callable[[], Awaitable[bool]]) -> bool:
    """Whether something is done, within the time that an owner has for it."""
    loop = asyncio.get_running_loop()
    end = loop.time() + DONE_SECONDS
    while not await is_done():
        if loop.time() >= end:
            return False
        await asyncio.sleep(LOOK_SECONDS)
    return True
