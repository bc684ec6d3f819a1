"""The clients of Kafka: one place makes them all, and some are used by many at once.

A test holds that no other file makes a producer, a consumer or an administrator of aiokafka.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from functools import lru_cache
from ssl import SSLError
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka import client as aiokafka_client
from aiokafka import conn as aiokafka_conn
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.conn import AIOKafkaConnection, CloseReason, collect_hosts, create_conn
from aiokafka.errors import KafkaConnectionError, KafkaError, TopicAuthorizationFailedError
from aiokafka.protocol.admin import CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest
from aiokafka.protocol.group import JoinGroupRequest, SyncGroupRequest
from aiokafka.protocol.metadata import MetadataRequest
from faust.auth import Credentials

from streams.kafka.records import AIOKafkaConsumer
from streams.security.kafka import Connection, connection, faust_credentials
from streams.security.refusals import REFUSALS, BrokerRefuses, TopicForbidden, refusal
from streams.security.secret import Secret
from streams.security.tokens import TokenLogin
from streams.settings import Settings, SettingsError

CHECKED_BROKERS = 3
CONNECT_SECONDS, CLOSE_SECONDS = 6.0, 2.0
"""How long `connected` waits."""
ANSWER_MS = 10_000
"""How long a broker may be silent before it is taken for one that hangs. aiokafka waits 40 s, Faust's consumer 90 s,
and who needs that broker stands still as long; others have taken over what it led after 9 s, by default."""
SILENT_MS, SILENT_SECONDS = 2_000, 30.0
"""How long one that has just been silent is waited for at the next connections, and for how long it counts as such:
aiokafka asks any broker who leads what, and makes no other connection while one is being made."""
LAST_WORDS_SECONDS = 0.5
"""For what was written on a connection with TLS when it is closed."""
_WAIT = (JoinGroupRequest, SyncGroupRequest, CreateTopicsRequest, DeleteTopicsRequest, CreatePartitionsRequest)
"""The requests that a broker answers when others have done something: the members of a group, or the controller."""
_PATIENT = frozenset(request.API_KEY for request in _WAIT)


class Consumer(AIOKafkaConsumer):  # type: ignore[misc]
    """A consumer that says where it may not read: what it may not even look at, aiokafka passes over."""

    async def getmany(self, *partitions: TopicPartition, **limits: Any) -> dict[TopicPartition, list[Any]]:
        """As aiokafka's. Raises `TopicForbidden` too."""
        try:
            found: dict[TopicPartition, list[Any]] = await super().getmany(*partitions, **limits)
        except TopicAuthorizationFailedError as error:
            raise TopicForbidden.of(error, "read", "Read") from None
        asked = {tp.topic for tp in partitions or self.assignment()}
        if not found and (forbidden := asked & self._client.cluster.unauthorized_topics):
            raise TopicForbidden(forbidden)
        return found


class ClientFactory:
    """Makes clients of the brokers `servers`, each `host:port`. None of them is connected yet. Options are those of
    aiokafka, but for the brokers and how they are spoken to. `copies`: how often brokers are to keep a topic that is
    made; 0: three times, or as often as there are brokers."""

    def __init__(self, servers: Sequence[str], how: Connection | None = None, copies: int = 0) -> None:
        self.servers = list(servers)
        self.copies = copies
        self._how = dict(how or {})

    @staticmethod
    @lru_cache(maxsize=8)
    def of(settings: Settings) -> ClientFactory:
        """The clients of a process with these settings, which are the same at each call. Raises `SettingsError`."""
        return ClientFactory(settings.bootstrap_servers, connection(settings), settings.replicas)

    @property
    def faust_credentials(self) -> Credentials | None:
        """How the clients that Faust makes connect; None: in the clear."""
        return faust_credentials(self._how)

    def producer(self, **options: Any) -> AIOKafkaProducer:
        return AIOKafkaProducer(bootstrap_servers=self.servers, **self._how, **options)

    def consumer(self, *topics: str, **options: Any) -> Consumer:
        return Consumer(*topics, bootstrap_servers=self.servers, **self._how, **options)

    def admin(self) -> AIOKafkaAdminClient:
        return AIOKafkaAdminClient(bootstrap_servers=self.servers, **self._how)

    @contextlib.asynccontextmanager
    async def administering(self) -> AsyncIterator[Any]:
        """An administrator, connected for the length of a block. Raises `KafkaError`, `OSError`."""
        admin = self.admin()
        try:
            await admin.start()
            yield admin
        finally:
            await admin.close()

    async def check(self) -> None:
        """Connect to a broker by the name that was given, and to one by the name that it gives.

        Raises `SettingsError` where brokers refuse and none takes this process; `KafkaError`, `OSError`,
        `TimeoutError` where none answers.
        """
        brokers = await self._first([(host, port) for host, port, _ in collect_hosts(self.servers)])
        if brokers:
            await self._first(brokers)

    async def _first(self, places: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
        """The brokers that the first of these that lets this process in knows. Raises as `check`."""
        refused, failed = "", None
        for host, port in places[:CHECKED_BROKERS]:
            try:
                return await self._ask(host, port)
            except BrokerRefuses as error:
                refused = refused or str(error)
            except (KafkaError, OSError, TimeoutError) as error:
                failed = error
        if refused:
            raise SettingsError(refused)
        assert failed is not None
        raise failed

    async def _ask(self, host: str, port: int) -> list[tuple[str, int]]:
        """The brokers that this one knows. A listener of another kind ends the connection, now or at the first request:
        in doubt it is one that starts."""
        try:
            connected = await connect(host, port, **self._how)
            try:
                known = await connected.send(MetadataRequest([]))
            finally:
                connected.close()
        except (BrokerRefuses, ConnectionRefusedError):
            raise
        except (KafkaConnectionError, ConnectionError, SSLError) as error:
            hint = "is it starting, or is KAFKA_SECURITY not that of this listener?"
            raise KafkaConnectionError(f"{host}:{port} ends the connection: {hint}") from error
        return [(host, port) for _, host, port, *_ in known.brokers]


async def connect(host: str, port: int, **options: Any) -> AIOKafkaConnection:
    """A connection as aiokafka makes it, by the secret as it is now. That a broker refuses is noted, and said once.

    Raises `BrokerRefuses`, and what aiokafka raises for a broker that does not answer.
    """
    password = options.get("sasl_plain_password")
    try:
        secret = {"sasl_plain_password": password.reveal()} if isinstance(password, Secret) else {}
        connected = await create_conn(host, port, **options | secret)
    except Exception as error:
        reason = refusal(error, host, port, options)
        if not reason:
            raise
        REFUSALS.refused(f"{host}:{port}", reason)
        raise BrokerRefuses(reason) from None
    REFUSALS.accepted(f"{host}:{port}")
    return connected


class PromptConnection(AIOKafkaConnection):  # type: ignore[misc]
    """A connection on which a broker is silent no longer than `ANSWER_MS`. As long as the connection was made for it
    waits for others, and for a large request or answer on a slow line."""

    _silent: ClassVar[dict[tuple[str, int], float]] = {}
    """By host and port of a broker when it was silent."""

    def __init__(self, host: str, port: int, **options: Any) -> None:
        super().__init__(host, port, **options)
        self._patience: float = options["request_timeout_ms"] / 1000
        self._prompt = self._patience

    async def connect(self) -> Any:
        """As aiokafka's."""
        place, now = (self.host, self.port), time.monotonic()
        was_silent = now < self._silent.get(place, float("-inf")) + SILENT_SECONDS
        self._request_timeout = self._prompt = min(self._patience, (SILENT_MS if was_silent else ANSWER_MS) / 1000)
        try:
            connected = await super().connect()
        except TimeoutError:
            if not was_silent:  # one that is slow is given its time now and then
                self._silent[place] = now
            raise
        self._silent.pop(place, None)
        self._prompt = min(self._patience, ANSWER_MS / 1000)
        return connected

    def send(self, request: Any, expect_response: bool = True) -> Any:
        """As aiokafka's."""
        # A broker answers in order: behind a request that waits for others all do.
        asked = [request, *(it for _, it, _ in self._requests if it is not None)]
        is_patient = any(it.API_KEY in _PATIENT for it in asked)
        self._request_timeout = self._patience
        answer = super().send(request, expect_response)
        self._request_timeout = self._prompt
        if is_patient or not expect_response:
            return answer
        answer.close()  # it would wait as long as for a request that moves
        return self._promptly(self._requests[-1][2])

    async def _promptly(self, answer: asyncio.Future[Any]) -> Any:
        """The answer. Raises `TimeoutError` where nothing moves for too long, or it takes too long in all."""
        until = time.monotonic() + self._patience
        try:
            while not answer.done():
                before = self._moved()
                await asyncio.wait((answer,), timeout=min(self._prompt, until - time.monotonic()))
                if not answer.done() and (before == self._moved() or time.monotonic() >= until):
                    raise TimeoutError
            return answer.result()
        finally:
            answer.cancel()

    def _moved(self) -> object:
        """Something else each time that something has come or gone."""
        if self._reader is None:
            return None
        first = self._requests[0][0] if self._requests else None
        return first, len(self._reader._buffer), self._writer.transport.get_write_buffer_size()

    def close(self, reason: Any = None, exc: Any = None) -> Any:
        """As aiokafka's, but without the broker's goodbye by TLS: it reads nothing while it keeps a request that waits
        for records, and who closes would wait as long, or for the 30 s after which asyncio gives up."""
        if reason == CloseReason.CONNECTION_TIMEOUT:
            self._silent[self.host, self.port] = time.monotonic()
        # One that the broker has ended, asyncio closes for good at the first word, and does not answer any more.
        transport: Any = None if self._writer is None else self._writer.transport
        by_tls = transport is not None and transport.get_extra_info("ssl_object") is not None
        unsent = transport.get_write_buffer_size() if by_tls else 0
        closed = super().close(reason, exc)
        if unsent:
            self._loop.call_later(LAST_WORDS_SECONDS, transport.abort)
        elif by_tls:
            transport.abort()
        return closed


aiokafka_client.create_conn = connect
aiokafka_conn.AIOKafkaConnection = PromptConnection
aiokafka_conn.OAuthAuthenticator = TokenLogin


class Client(Protocol):
    async def stop(self) -> object: ...


C = TypeVar("C", bound=Client)


class ClientsStopped(Exception):
    """A client was asked for when there are to be none any more."""


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
        """The present client. Raises the errors of `start`, and the former client stays then; `ClientsStopped` once it
        was stopped."""
        if self.current is None or self._spent:
            async with self._starting:
                if self.current is None or self._spent:
                    former, self.current, self._spent = self.current, await self._new(), False
                    self._end(former)
        return self.current

    async def _new(self) -> C:
        self._require_running()
        client = await self._start()
        try:
            self._require_running()
        except ClientsStopped:  # meanwhile, and nobody else knows this one
            await let_end(client)
            raise
        return client

    def _require_running(self) -> None:
        if self._stopped:
            raise ClientsStopped

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
    except BaseException as error:
        await client.stop()
        raise why(error) from error.__cause__
    return client


@contextlib.asynccontextmanager
async def connected(client: Any) -> AsyncIterator[Any]:
    """A client, started for the length of a block, for somebody who waits for it.

    Raises `KafkaError`, or `TimeoutError` after a few seconds.
    """
    try:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await client.start()
        except KafkaError as error:
            raise why(error) from None
        yield client
    finally:
        with contextlib.suppress(TimeoutError, KafkaError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await (client.close() if isinstance(client, AIOKafkaAdminClient) else client.stop())


def why(error: BaseException) -> BaseException:
    """The refusal behind an error of a client that finds no broker: aiokafka does not raise it. Else the error."""
    if isinstance(error, KafkaConnectionError) and REFUSALS.reason:
        return BrokerRefuses(REFUSALS.reason)
    return error
