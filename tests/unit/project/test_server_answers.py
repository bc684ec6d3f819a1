"""When a development server counts as one that answers, and what stops its start."""

from __future__ import annotations

import socket
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from servers import control, tools
from servers.probe import Answer, probe
from servers.where import ServersError, Where
from tests.unit.listener import listener


def kafka_with(brokers: int) -> Callable[[socket.socket], None]:
    """Answers ApiVersions, then Metadata with that many brokers."""

    def answer(connection: socket.socket) -> None:
        for body in (struct.pack(">hi", 0, 0), struct.pack(">ii", 0, brokers)):
            correlation = connection.recv(1000)[8:12]
            connection.sendall(struct.pack(">i", 4 + len(body)) + correlation + body)

    return answer


@pytest.mark.parametrize(("brokers", "expected"), [(0, Answer.STARTING), (1, Answer.READY)])
def test_kafka_is_ready_when_it_lists_a_broker(brokers: int, expected: Answer) -> None:
    """ApiVersions alone is not enough: before the controller lets it serve, Kafka lists no broker."""
    with listener(kafka_with(brokers)) as port:
        assert expected is probe("kafka", port)


def test_cassandra_is_ready_when_options_are_answered() -> None:
    """SUPPORTED on the stream that asked."""
    with listener(
        lambda c: c.sendall(struct.pack(">BBhBi", 0x84, 0, struct.unpack(">BBhBi", c.recv(9))[2], 6, 0))
    ) as port:
        assert probe("cassandra", port) is Answer.READY


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"R\0\0\0\x08\0\0\0\0", Answer.READY),
        (b"E\0\0\0\x17SFATAL\0C57P03\0Mno\0\0", Answer.STARTING),
        (b"E\0\0\0\x17SFATAL\0C28000\0Mno\0\0", Answer.FOREIGN),
    ],
)
def test_postgres_is_ready_when_it_lets_our_user_in(answer: bytes, expected: Answer) -> None:
    """While it starts it answers with a certain error; one that does not know the user `shop` is a stranger."""
    with listener(lambda c: c.sendall(answer) if c.recv(1000) else None) as port:
        assert expected is probe("postgres", port)


@pytest.mark.parametrize(
    ("answer", "expected"), [(b"HTTP/1.1 200 OK", Answer.READY), (b"HTTP/1.0 404 Not Found", Answer.FOREIGN)]
)
def test_registry_is_ready_when_it_lists_its_subjects(answer: bytes, expected: Answer) -> None:
    """Another HTTP server has no such page."""
    with listener(lambda c: c.sendall(answer + b"\r\n\r\n[]") if c.recv(1000) else None) as port:
        assert expected is probe("registry", port)


@pytest.mark.parametrize("name", ["kafka", "cassandra", "postgres", "registry"])
def test_a_stranger_on_the_port_is_told_apart(name: str) -> None:
    """What closes, talks otherwise or stays silent is foreign; where nothing listens is closed."""
    with listener(lambda c: c.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")) as port:
        assert probe(name, port) is Answer.FOREIGN
    with listener(lambda c: None) as port:
        assert probe(name, port) is Answer.FOREIGN
    with listener(lambda c: time.sleep(0.5)) as port:
        assert probe(name, port, timeout=0.1) is Answer.FOREIGN
    assert probe(name, port) is Answer.CLOSED


def test_a_taken_port_stops_the_start(tmp_path: Path) -> None:
    """Nothing is fetched or started when something else has the port."""
    with listener(lambda c: None) as port, pytest.raises(ServersError, match="KAFKA_PORT to a free port"):
        control.start("kafka", Where(tmp_path, kafka_port=port))


def test_a_server_that_ends_early_is_noticed_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error shows the end of the log; the time limit is not waited for."""
    monkeypatch.setattr(tools, "java", lambda: Path(sys.executable))
    monkeypatch.setattr(tools, "fetch", lambda name, folder: folder)
    monkeypatch.setitem(
        control._JAVA_COMMANDS, "kafka", lambda *_: [sys.executable, "-c", "raise SystemExit('no luck')"]
    )
    with listener(lambda c: None) as port:
        free = port
    began = time.monotonic()
    with pytest.raises(ServersError, match=r"ended before it answered[\s\S]*no luck"):
        control.start("kafka", Where(tmp_path, kafka_port=free), seconds=60, say=lambda line: None)
    assert time.monotonic() - began < 30
