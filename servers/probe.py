"""Whether a server answers in its own protocol: one request over a raw socket, without a client library."""

from __future__ import annotations

import socket
import ssl
import struct
from enum import Enum
from pathlib import Path

from servers.where import HOST, REGISTRY_PATH


class Answer(Enum):
    """The kind of answer from a port."""

    CLOSED = "nothing listens"
    FOREIGN = "something listens and does not answer in this protocol"
    STARTING = "the protocol is spoken, the server is not yet in service"
    READY = "in service"


def probe(name: str, port: int, timeout: float = 2.0, host: str = HOST, tls: Path | None = None) -> Answer:
    """Ask what listens on a port of this machine, at one of its addresses. `timeout` in seconds covers each step. With
    `tls` it speaks TLS, to whomever, and shows the certificate in this file if it is there."""
    try:
        with socket.create_connection((host, port), timeout) as connection:
            connection.settimeout(timeout)
            if tls:
                if name == "postgres":
                    connection.sendall(struct.pack(">ii", 8, 80877103))  # an SSLRequest, answered by S
                    _exactly(connection, 1)
                context = ssl._create_unverified_context()
                if tls.exists():
                    context.load_cert_chain(tls)
                with context.wrap_socket(connection) as secured:
                    return _PROBES[name](secured)
            return _PROBES[name](connection)
    except ConnectionRefusedError:
        return Answer.CLOSED
    except OSError:  # timed out, reset: it listens, but this is not an answer
        return Answer.FOREIGN


def _kafka(connection: socket.socket) -> Answer:
    """ApiVersions says that it is Kafka; Metadata lists the broker once the controller lets it serve."""
    versions = _kafka_request(connection, api=18, version=0, body=b"")
    if versions is None or versions[:2] != b"\x00\x00":  # error code 0
        return Answer.FOREIGN
    metadata = _kafka_request(connection, api=3, version=5, body=struct.pack(">ib", 0, 0))  # no topics, create none
    if metadata is None or len(metadata) < 8:
        return Answer.STARTING
    brokers: int = struct.unpack_from(">i", metadata, 4)[0]  # after the throttle time
    return Answer.READY if brokers > 0 else Answer.STARTING


def _kafka_request(connection: socket.socket, api: int, version: int, body: bytes) -> bytes | None:
    """Send one request, return the response without its header; None when it is not one."""
    client, correlation = b"probe", 77
    request = struct.pack(">hhih", api, version, correlation, len(client)) + client + body
    connection.sendall(struct.pack(">i", len(request)) + request)
    head = _exactly(connection, 8)
    if head is None:
        return None
    size, echoed = struct.unpack(">ii", head)
    return _exactly(connection, size - 4) if echoed == correlation and 4 <= size < 1 << 24 else None


def _cassandra(connection: socket.socket) -> Answer:
    """An OPTIONS frame is answered by SUPPORTED. Cassandra opens this port last, so an answer means in service."""
    connection.sendall(struct.pack(">BBhBi", 4, 0, 7, 0x05, 0))
    head = _exactly(connection, 9)
    if head is None:
        return Answer.FOREIGN
    version, _, stream, opcode, _ = struct.unpack(">BBhBi", head)
    return Answer.READY if (version, stream, opcode) == (0x84, 7, 0x06) else Answer.FOREIGN


def _postgres(connection: socket.socket) -> Answer:
    """A startup message for our user and database: anything but an authentication request is an error, with a code."""
    parameters = b"user\0shop\0database\0shop\0\0"
    connection.sendall(struct.pack(">ii", 8 + len(parameters), 3 << 16) + parameters)
    head = _exactly(connection, 5)
    if head is None:
        return Answer.FOREIGN
    kind, size = struct.unpack(">ci", head)
    if kind == b"R":
        connection.sendall(struct.pack(">ci", b"X", 4))  # a farewell, so that the server logs no lost client
        return Answer.READY
    error = (_exactly(connection, size - 4) or b"") if kind == b"E" and 4 <= size < 1 << 16 else b""
    return Answer.STARTING if b"\0C57P03\0" in error else Answer.FOREIGN  # "the database system is starting up"


def _registry(connection: socket.socket) -> Answer:
    """The list of subjects. It opens its port last, so another answer is that of something else."""
    connection.sendall(f"GET {REGISTRY_PATH}/subjects HTTP/1.0\r\n\r\n".encode())
    status = _exactly(connection, len(_HTTP_OK)) or b""
    return Answer.READY if status[:5] == _HTTP_OK[:5] and status[8:] == _HTTP_OK[8:] else Answer.FOREIGN


_HTTP_OK = b"HTTP/1.x 200 "
_PROBES = {"kafka": _kafka, "cassandra": _cassandra, "postgres": _postgres, "registry": _registry}


def _exactly(connection: socket.socket, size: int) -> bytes | None:
    """That many bytes, or None when the peer closed before."""
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            return None
        data += part
    return data
