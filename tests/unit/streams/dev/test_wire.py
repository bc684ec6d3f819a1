"""Bytes that are no request end a connection; and whoever speaks a newer protocol is told what is spoken here."""

from __future__ import annotations

import struct

import pytest
from aiokafka.protocol.admin import ApiVersionResponse_v0
from aiokafka.protocol.api import RequestHeader_v1
from aiokafka.protocol.fetch import FetchRequest_v11
from aiokafka.protocol.metadata import MetadataRequest_v5, MetadataResponse_v5

from streams.dev.broker.sessions import INVALID_EPOCH, NOT_FOUND, SessionRefused, Sessions
from streams.dev.broker.wire import NotUnderstood, decoded, versions, versions_for_strangers


def frame(request: object, client: str = "c") -> bytes:
    """A request without its size."""
    return RequestHeader_v1(request, 5, client).encode() + request.encode()  # type: ignore[arg-type, attr-defined]


def test_a_request_and_its_answer() -> None:
    """A request is decoded by its version, and the answer has its number and its size."""
    asked = decoded(frame(MetadataRequest_v5(["t"], False)))
    assert (3, 5, 5, "c", ["t"]) == (asked.key, asked.version, asked.correlation_id, asked.client_id, asked.body.topics)
    answer = asked.answer(0, [], "cluster", 0, [])
    assert (len(answer) - 4, 5) == struct.unpack(">ii", answer[:8])
    assert "cluster" == MetadataResponse_v5.decode(answer[8:]).cluster_id


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        frame(MetadataRequest_v5(["t"], False))[:-4],
        struct.pack(">hhih", 3, 9, 1, -1),
        struct.pack(">hhih", 999, 0, 1, -1),
    ],
    ids=["nothing", "http", "cut off", "a version between", "no such request"],
)
def test_no_request(sent: bytes) -> None:
    """It is said what it is, and nothing else happens."""
    with pytest.raises(NotUnderstood):
        decoded(sent)


def test_a_newer_client() -> None:
    """It gets the versions in the form that all can read, with the error by which it asks again."""
    asked = decoded(struct.pack(">hhih", 18, 4, 9, -1) + b"\0\4abc\4abc\0")
    answer = ApiVersionResponse_v0.decode(versions_for_strangers(asked)[8:])
    assert (35, versions()) == (answer.error_code, answer.api_versions)
    assert (1, 4, 11) in versions()


def test_sessions() -> None:
    """What is wanted is remembered, changed and forgotten; who is out of step, or unknown, begins anew."""
    sessions, one, two = Sessions(), ("t", 1), ("t", 2)
    session, is_whole = sessions.of(0, 0, {one: (0, 9), two: (0, 9)}, [])
    assert is_whole
    assert (session, False) == sessions.of(session.id, 1, {one: (5, 9)}, [two])
    assert {one: (5, 9)} == session.wanted
    for id, epoch, code in ((session.id, 1, INVALID_EPOCH), (999, 1, NOT_FOUND)):
        with pytest.raises(SessionRefused) as refused:
            sessions.of(id, epoch, {}, [])
        assert code == refused.value.code
    assert 0 == sessions.of(session.id, -1, {one: (0, 9)}, [])[0].id
    with pytest.raises(SessionRefused):
        sessions.of(session.id, 2, {}, [])


def test_what_a_fetch_wants() -> None:
    """Its offsets are found behind the epoch of the leader, which newer versions have."""
    asked = decoded(frame(FetchRequest_v11(-1, 0, 1, 1, 0, 0, -1, [("t", [(3, -1, 17, -1, 99)])], [], "")))
    assert [("t", [(3, -1, 17, -1, 99)])] == asked.body.topics
