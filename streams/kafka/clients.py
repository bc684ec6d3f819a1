"""The clients of Kafka: one place makes them all, and some are used by many at once.

A test holds that no other file makes a producer, a consumer or an administrator of aiokafka.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from functools import lru_cache
from typing import Any, Generic, Protocol, TypeVar

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from streams.kafka.records import AIOKafkaConsumer
from streams.settings import Settings


class KafkaClients:
    """Makes clients of the brokers `servers`, each `host:port`. None of them is connected yet. Options are those of
    aiokafka, but for the brokers and how they are spoken to."""

    def __init__(self, servers: Sequence[str]) -> None:
        self.servers = list(servers)
        self._connection: dict[str, Any] = {"bootstrap_servers": self.servers}

    @staticmethod
    @lru_cache(maxsize=8)
    def of(settings: Settings) -> KafkaClients:
        """The clients of a process with these settings, which are the same at each call. Raises `SettingsError`."""
        return KafkaClients(settings.bootstrap_servers)

    def producer(self, **options: Any) -> AIOKafkaProducer:
        return AIOKafkaProducer(**self._connection, **options)

    def consumer(self, *topics: str, **options: Any) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(*topics, **self._connection, **options)

    def admin(self) -> AIOKafkaAdminClient:
        return AIOKafkaAdminClient(**self._connection)


class Client(Protocol):
    async def stop(self) -> object: ...


C = TypeVar("C", bound=Client)


class SharedClient(Generic[C]):
    """A client that `start` makes when it is first needed.

    A client that is `spent` is replaced for the next user, and stopped when its last user has finished: records that
    are given to a producer that is being stopped may be lost without an error. `spawn` runs a task in the background.
    """

    def __init__(self, start: Callable[[], Awaitable[C]], spawn: Callable[[Coroutine[Any, Any, Any]], object]) -> None:
        self.current: C | None = None
        self._start = start
        self._spawn = spawn
        self._spent = False
        self._starting = asyncio.Lock()
        self._users: Counter[C] = Counter()
        self._stopped = False

    async def get(self) -> C:
        """The present client. Raises the errors of `start`; the former client stays then."""
        if self.current is None or self._spent:
            async with self._starting:
                if self.current is None or self._spent:
                    assert not self._stopped, "it is stopped"
                    former, self.current, self._spent = self.current, await self._start(), False
                    self._end(former)
        return self.current

    @contextlib.asynccontextmanager
    async def in_use(self) -> AsyncIterator[C]:
        """The client, which is not stopped before the block ends. Raises the errors of `start`."""
        client = await self.get()
        self._users[client] += 1  # nothing was waited for since it was the current one
        try:
            yield client
        finally:
            self._users[client] -= 1
            if not self._users[client]:
                del self._users[client]
                if client is not self.current:
                    self._end(client)

    def spent(self, client: C) -> None:
        """Note that a client is broken: the next user gets another one."""
        self._spent = self._spent or client is self.current

    async def stop(self) -> None:
        """Stop the client, and former ones that are still in use."""
        self._stopped = True
        clients = {*self._users, *((self.current,) if self.current is not None else ())}
        self.current = None
        for client in clients:
            await let_end(client)

    def _end(self, client: C | None) -> None:
        if client is not None and client not in self._users:
            self._spawn(let_end(client))


async def let_end(client: Client) -> None:
    """Stop a client that nobody uses any more, whether or not Kafka answers."""
    with contextlib.suppress(KafkaError, TimeoutError):
        await client.stop()


async def started(client: Any) -> Any:
    """The client, connected. One that cannot be is stopped. Raises what its `start` raises."""
    try:
        await client.start()
    except BaseException:
        await client.stop()
        raise
    return client
