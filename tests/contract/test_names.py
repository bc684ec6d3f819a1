"""Servers that are named: a name that is not known yet is waited for, and one that leads elsewhere is followed."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka.errors import KafkaError

from streams.concurrency.retry import until_it_answers
from streams.journal.port import Unavailable
from streams.kafka.client_factory import ClientFactory
from streams.kafka.topics import look_at_topics
from streams.open_journal import open_journal
from tests.e2e.client import eventually
from tests.stores import drop_journals

NAME = "db.example"


class Names:
    """What a resolver says of one name, which may be nothing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.address = ""
        self.addresses: list[str] = []
        """In the place of `address`, if there are some."""
        self._ask = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self._answer)

    def _answer(self, host: Any, *rest: Any, **more: Any) -> Any:
        if host != NAME:
            return self._ask(host, *rest, **more)
        if self.addresses:
            return [info for address in self.addresses for info in self._ask(address, *rest, **more)]
        if not self.address:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return self._ask(self.address, *rest, **more)


class Door:
    """Another address of a server of this machine."""

    def __init__(self, address: str, port: int) -> None:
        self.address, self.port = address, port
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self.seen: list[str] = []
        """Who has come."""

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._pass_on, self.address, self.port)

    async def close(self) -> None:
        """As when the host is gone: nobody listens, and all connections are cut."""
        assert self._server is not None
        self._server.close()
        for writer in self._open:
            writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.seen.append(str(writer.get_extra_info("peername")))
        there, out = await asyncio.open_connection("127.0.0.1", self.port)
        self._open |= {writer, out}
        await asyncio.gather(_copy(reader, out), _copy(there, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """A resolver that does not know the name."""
    return Names(monkeypatch)


async def answers(ask: Callable[[], Any]) -> bool:
    try:
        await ask()
    except Unavailable:
        return False
    return True


@pytest.mark.parametrize("kind", ["cassandra", "postgres"])
async def test_a_host_comes_back_under_another_address(
    kind: str, names: Names, request: pytest.FixtureRequest, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is not known at first, which is one line; then it is found, goes, and is found where its name leads now."""
    url = request.getfixturevalue(f"{kind}_url")
    port = int(url.rpartition(":")[2].partition("/")[0])
    journal = open_journal(url.replace("127.0.0.1", NAME), namespace, "moved")

    async def start() -> None:
        await journal.create()
        await journal.open()

    with pytest.raises(Unavailable, match=NAME) as unknown:
        await start()
    assert "\n" not in str(unknown.value)
    doors = [Door("127.0.0.2", port), Door("127.0.0.3", port)]
    for door in doors:
        names.address = door.address
        await door.open()
        if door is doors[0]:
            await until_it_answers(start, "journal", Unavailable)
        await eventually(lambda: answers(lambda: journal.head("order-0")), 30, f"it is not found at {door.address}")
        await door.close()
        await eventually(lambda: _fails(journal), 30, "it answers where nobody is")
    names.address = "127.0.0.1"
    await eventually(lambda: answers(lambda: journal.head("order-0")), 30, "it is not found any more")
    await journal.close()
    await drop_journals(url, namespace, "moved")
    if kind == "cassandra":
        said = [it.getMessage() for it in caplog.records if it.levelno >= logging.WARNING and "host" in it.getMessage()]
        assert f"Cassandra: the host {NAME}:{port} is down" in said
        assert f"Cassandra: the host {NAME}:{port} is up again" in said
        assert len(said) <= 6


async def _fails(journal: Any) -> bool:
    return not await answers(lambda: journal.head("order-0"))


async def test_kafka_is_not_known_yet(names: Names) -> None:
    """That is an error of Kafka's, which a start waits for, and one line."""
    with pytest.raises(KafkaError) as unknown:
        await look_at_topics(ClientFactory([f"{NAME}:9092"]), [])
    assert "\n" not in str(unknown.value)
    names.address = "127.0.0.1"
    assert (await look_at_topics(ClientFactory([f"{NAME}:9092"]), []))[0]
