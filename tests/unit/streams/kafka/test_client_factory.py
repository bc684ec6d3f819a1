"""How connections to brokers are made: by the secret as it is now, and a refusal is told from an outage."""

from __future__ import annotations

import asyncio
import logging
import ssl
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiokafka.client
import aiokafka.conn
import pytest
import trustme
from aiokafka import TopicPartition
from aiokafka.conn import CloseReason
from aiokafka.errors import (
    KafkaConnectionError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.group import JoinGroupRequest
from aiokafka.protocol.metadata import MetadataRequest

from streams.concurrency.supervisor import Supervisor
from streams.kafka import client_factory
from streams.kafka.client_factory import (
    ClientFactory,
    ClientsStopped,
    Consumer,
    PromptConnection,
    SharedClient,
    connect,
    started,
)
from streams.runtime.application import Application
from streams.security import refusals
from streams.security.refusals import REFUSALS, BrokerRefuses, TopicForbidden
from streams.security.secret import Secret
from streams.security.tokens import NoToken, TokenLogin, TokenRefused
from streams.settings import SettingsError

LOGIN = {"sasl_mechanism": "SCRAM-SHA-512", "sasl_plain_username": "orders"}
CANARY = "canary"


class Broker:
    """In the place of aiokafka's connections: what each meets, and by which password it was made."""

    def __init__(self) -> None:
        self.meets: list[BaseException] = []
        self.passwords: list[object] = []

    async def connect(self, host: str, port: int, **options: Any) -> object:
        self.passwords.append(options.get("sasl_plain_password"))
        if self.meets:
            raise self.meets.pop()
        return self


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Broker]:
    broker = Broker()
    monkeypatch.setattr(client_factory, "create_conn", broker.connect)
    REFUSALS.forget()
    yield broker
    REFUSALS.forget()


def test_all_connections_are_made_here() -> None:
    """By a name that aiokafka may change: its clients make theirs by ours, and so do Faust's, which are the same."""
    assert connect is aiokafka.client.create_conn
    assert PromptConnection is aiokafka.conn.AIOKafkaConnection
    assert TokenLogin is aiokafka.conn.OAuthAuthenticator


async def test_a_broker_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that takes connections and says nothing, as one that is stopped does, is given up soon; so is one that has
    answered before, and sooner still if it has just been silent. Who joins a group waits for its members, as long as he
    says."""
    monkeypatch.setattr(client_factory, "ANSWER_MS", 600)
    monkeypatch.setattr(client_factory, "SILENT_MS", 100)
    silent = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while size := await reader.read(4):
            request = await reader.readexactly(int.from_bytes(size, "big"))
            versions = struct.pack(">hi", 0, 2) + struct.pack(">hhhhhh", 3, 0, 0, 11, 0, 0)
            if not silent.is_set():
                writer.write(struct.pack(">i", 4 + len(versions)) + request[4:8] + versions)

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        connected = await connect("127.0.0.1", port, request_timeout_ms=60_000)
        joining = await connect("127.0.0.1", port, request_timeout_ms=2_000)
        silent.set()
        began = time.monotonic()
        join = asyncio.ensure_future(joining.send(JoinGroupRequest("g", 1, 1, "", "", "consumer", [])))
        with pytest.raises(TimeoutError):
            await connected.send(MetadataRequest([]))
        with pytest.raises(TimeoutError):
            await connect("127.0.0.1", port, request_timeout_ms=60_000)
        assert 1.1 < time.monotonic() - began < 20
        assert not join.done()
        behind = asyncio.ensure_future(joining.send(MetadataRequest([])))
        with pytest.raises(TimeoutError):
            await join
        assert not behind.done(), "a broker answers in order"
        joining.close()
        with pytest.raises(KafkaConnectionError):
            await behind
        assert time.monotonic() - began > 1.9
        connected.close(CloseReason.CONNECTION_TIMEOUT)  # as aiokafka's client closes it
        monkeypatch.setattr(client_factory, "ANSWER_MS", 60_000)
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            await connect("127.0.0.1", port, request_timeout_ms=60_000)
        assert time.monotonic() - began < 20
        silent.clear()
        (await connect("127.0.0.1", port, request_timeout_ms=2_000)).close()
        assert ("127.0.0.1", port) not in PromptConnection._silent


async def test_a_broker_that_ends_the_connection_first() -> None:
    """Then asyncio has marked it as closed already, and closes it for good at the first word; that is no error of its
    own: with TLS it stood in the place of the reason, such as a password that is not taken."""
    authority = trustme.CA()
    offered, trusted = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(offered)
    authority.configure_trust(trusted)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big"))
        versions = struct.pack(">hi", 0, 1) + struct.pack(">hhh", 3, 0, 0)
        writer.write(struct.pack(">i", 4 + len(versions)) + request[4:8] + versions)
        with suppress(ConnectionError):
            await reader.read()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=offered) as server:
        port = server.sockets[0].getsockname()[1]
        how = {"request_timeout_ms": 2_000, "security_protocol": "SSL", "ssl_context": trusted}
        connected = await connect("127.0.0.1", port, **how)
        connected._writer.transport.abort()
        await asyncio.wait_for(connected.close(CloseReason.AUTH_FAILURE), 20)


async def test_a_slow_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that goes on coming is waited for, and a request that goes on going, as long as he says who asks; not
    one that stands still in its middle."""
    monkeypatch.setattr(client_factory, "ANSWER_MS", 200)
    stands_still = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while size := await reader.read(4):
            request = await reader.readexactly(int.from_bytes(size, "big"))
            is_first = request[:2] == struct.pack(">h", 18)
            answer = struct.pack(">hi", 0, 2) + struct.pack(">hhhhhh", 3, 0, 0, 18, 0, 0) if is_first else bytes(8)
            answer = struct.pack(">i", 4 + len(answer)) + request[4:8] + answer
            for at in range(0, len(answer), 2):
                writer.write(answer[at : at + 2])
                await asyncio.sleep(0 if is_first else 0.07)
                if stands_still.is_set() and at == 10 and not is_first:
                    await reader.read()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        connected, began = await connect("127.0.0.1", port, request_timeout_ms=2_000), time.monotonic()
        await connected.send(MetadataRequest([]))
        assert time.monotonic() - began > 0.35
        connected.close()
        connected, began = await connect("127.0.0.1", port, request_timeout_ms=400), time.monotonic()
        with pytest.raises(TimeoutError):
            await connected.send(MetadataRequest([]))
        assert time.monotonic() - began > 0.35
        connected.close()
        stands_still.set()
        connected, began = await connect("127.0.0.1", port, request_timeout_ms=60_000), time.monotonic()
        with pytest.raises(TimeoutError):
            await connected.send(MetadataRequest([]))
        assert 0.6 < time.monotonic() - began < 20
        connected.close()


async def test_the_secret_as_it_is_now(broker: Broker, tmp_path: Path) -> None:
    """Clients hold what reveals it, and never it."""
    file = tmp_path / "password"
    secret = Secret(file=str(file), setting="KAFKA_PASSWORD")
    for password in ("first", "second"):
        file.write_text(password)
        await connect("b", 1, **LOGIN, sasl_plain_password=secret)
    assert ["first", "second"] == broker.passwords
    file.unlink()
    with pytest.raises(BrokerRefuses, match="KAFKA_PASSWORD_FILE=.*No such file"):  # noqa: RUF043
        await connect("b", 1, **LOGIN, sasl_plain_password=secret)


@pytest.mark.parametrize(
    ("error", "options", "said"),
    [
        (SaslAuthenticationFailed(CANARY), LOGIN, "does not let 'orders' in by SCRAM-SHA-512: are KAFKA_USER and"),
        (
            SaslAuthenticationFailed("it\nhas expired"),
            {"sasl_mechanism": "OAUTHBEARER"},
            "token .*: it has expired: is",
        ),
        (UnsupportedSaslMechanismError(), LOGIN, "does not offer SCRAM-SHA-512: set KAFKA_SASL_MECHANISM"),
        (ValueError(CANARY), LOGIN, "SCRAM-SHA-512 fails: ValueError"),
        (KeyError(CANARY), LOGIN, "SCRAM-SHA-512 fails: KeyError"),
        (TokenRefused("KAFKA_OAUTH_TOKEN_URL answers 401"), {}, "Kafka at b:1: KAFKA_OAUTH_TOKEN_URL answers 401"),
    ],
    ids=str,
)
async def test_a_refusal(broker: Broker, error: Exception, options: dict[str, Any], said: str) -> None:
    """An error of Kafka, which aiokafka lets pass to whoever waits, with one line in our words."""
    broker.meets = [error]
    with pytest.raises(BrokerRefuses, match=said) as refused:
        await connect("b", 1, **options)
    assert "\n" not in str(refused.value)
    assert CANARY not in str(refused.value)
    assert str(refused.value) == REFUSALS.reason


@pytest.mark.parametrize(
    "error",
    [ConnectionRefusedError("nobody"), KafkaConnectionError("closed"), NoToken("down"), TimeoutError()],
    ids=repr,
)
async def test_an_outage(broker: Broker, error: Exception) -> None:
    """It is none, and stays what it is."""
    broker.meets = [error]
    with pytest.raises(type(error)) as raised:
        await connect("b", 1, **LOGIN)
    assert raised.value is error
    assert "" == REFUSALS.reason


async def test_a_refusal_is_said_once(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    """Once for each broker and reason, and that it is over."""
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            broker.meets = [SaslAuthenticationFailed("no")]
            with pytest.raises(BrokerRefuses):
                await connect("b", 1, **LOGIN)
        await connect("other", 1, **LOGIN)
        assert REFUSALS.reason
        for _ in range(2):
            await connect("b", 1, **LOGIN)
    assert "" == REFUSALS.reason
    assert ["ERROR", "WARNING"] == [record.levelname for record in caplog.records]
    assert caplog.messages[1].endswith("Kafka at b:1 takes connections of this process again")


async def test_a_broker_that_has_left(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody tries it any more: what it said is forgotten after a while."""
    broker.meets = [SaslAuthenticationFailed("no")]
    with pytest.raises(BrokerRefuses):
        await connect("b", 1, **LOGIN)
    assert REFUSALS.reason
    monkeypatch.setattr(refusals, "FORGOTTEN_SECONDS", -1.0)
    assert "" == REFUSALS.reason


async def test_at_start(broker: Broker) -> None:
    """A refusal is a setting to be mended. Where nobody answers, that is waited for."""
    several = ClientFactory(["a:1", "b:1"], LOGIN)
    broker.meets = [SaslAuthenticationFailed("no"), ConnectionRefusedError()]
    with pytest.raises(SettingsError, match="does not let 'orders' in"):
        await several.check()
    broker.meets = [ConnectionRefusedError("b"), ConnectionRefusedError("a")]
    with pytest.raises(ConnectionRefusedError):
        await several.check()


async def test_the_reason_behind_a_client_that_finds_no_broker(broker: Broker) -> None:
    """aiokafka only says that it has found none."""
    broker.meets = [SaslAuthenticationFailed("no")]
    with pytest.raises(BrokerRefuses, match="does not let 'orders' in"):
        await started(
            ClientFactory(
                ["b:1"], {"security_protocol": "SASL_PLAINTEXT", **LOGIN, "sasl_plain_password": "x"}
            ).consumer()
        )


async def test_health_shows_a_refusal(broker: Broker) -> None:
    """For as long as it lasts; nothing else is to notice it."""
    app: Any = SimpleNamespace(supervisor=Supervisor())
    REFUSALS.refused("b:1", "Kafka at b:1 does not let 'orders' in")
    watch = asyncio.create_task(Application._watch_refusals(app))
    await asyncio.sleep(0)
    assert {"Kafka": "Kafka at b:1 does not let 'orders' in"} == app.supervisor.troubles
    watch.cancel()
    REFUSALS.accepted("b:1")
    watch = asyncio.create_task(Application._watch_refusals(app))
    await asyncio.sleep(0)
    assert {} == app.supervisor.troubles
    watch.cancel()


class Silent(Consumer):  # type: ignore[misc]
    """A consumer of a topic that it may not look at: aiokafka finds nothing, and says nothing."""

    def __init__(self) -> None:
        self._client = SimpleNamespace(cluster=SimpleNamespace(unauthorized_topics={"order-events"}))

    def assignment(self) -> frozenset[TopicPartition]:
        return frozenset({TopicPartition("order-events", 0)})

    def __del__(self) -> None:
        """Nothing is open."""


async def test_a_topic_that_may_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is raised, whether the broker has refused it or aiokafka does not even ask any more."""
    errors: list[Exception] = [TopicAuthorizationFailedError("order-events")]

    async def getmany(self: Consumer, *partitions: TopicPartition, **limits: Any) -> dict[Any, Any]:
        if errors:
            raise errors.pop()
        return {}

    monkeypatch.setattr(Consumer.__base__, "getmany", getmany)
    with pytest.raises(TopicForbidden, match="order-events: this process may not read it: grant Read"):
        await Silent().getmany()
    with pytest.raises(TopicForbidden, match="order-events: this process may not look at it: grant Describe"):
        await Silent().getmany(timeout_ms=5)


class Shared:
    """A client that is stopped once."""

    def __init__(self) -> None:
        self.stopped = 0

    async def stop(self) -> None:
        self.stopped += 1


async def test_a_client_that_is_being_made_when_all_are_stopped() -> None:
    """It is stopped as soon as it is there, and whoever waits for it is told, as is whoever asks later."""
    may_start, made = asyncio.Event(), Shared()

    async def start() -> Shared:
        await may_start.wait()
        return made

    clients = SharedClient(start, asyncio.create_task)
    asked = [asyncio.create_task(clients.get()) for _ in range(2)]
    await asyncio.sleep(0)
    await clients.stop()
    may_start.set()
    for task in asked:
        with pytest.raises(ClientsStopped):
            await task
    assert (1, None) == (made.stopped, clients.current)
    with pytest.raises(ClientsStopped):
        await clients.get()
