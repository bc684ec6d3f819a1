"""The audit without servers: its events as they are kept, what is left out of them, and how refusals are bounded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from aiokafka.errors import KafkaError

from streams.access.principal import Identified, Principal
from streams.audit import records
from streams.audit import trail as trails
from streams.audit.reading import AuditEntry, AuditLog, Wanted
from streams.audit.records import (
    CODEC,
    MOST_OF_ALL,
    MOST_TEXT,
    ActionEnded,
    ActionRequested,
    Outcome,
    in_short,
    parameters_of,
    record,
)
from streams.audit.requests import action_of, ending_by, ending_of
from streams.audit.trail import REFUSALS_A_MINUTE, AuditTrail, NotAudited
from streams.kafka.client import ProducerRecord
from streams.kafka.client_factory import ClientFactory, ClientsStopped
from streams.moments import milliseconds
from streams.text import printable

DROP = ActionRequested(
    action="dead-letters drop",
    app="streams.shop.orders",
    who="os:alice@desk",
    address="desk",
    client="command line",
    parameters={"type": "order", "id": "536365"},
    reason="sent twice",
)
KEPT = {
    b'{"$schema":"urn:avro:engine.audit.ActionRequested:1:506acefbb2841f39","action":"dead-letters drop",'
    b'"app":"streams.shop.orders","who":"os:alice@desk","address":"desk","client":"command line",'
    b'"parameters":{"type":"order","id":"536365"},"reason":"sent twice"}': DROP,
    b'{"$schema":"urn:avro:engine.audit.ActionEnded:1:be8703246893cc9e","outcome":"refused","detail":"no"}':
    ActionEnded(Outcome.REFUSED, "no"),
}  # fmt: skip
"""By the bytes that version 1 has written what they say."""


class Topic:
    """Takes records, unless it is down."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.is_down = False

    async def send(self, records: Sequence[ProducerRecord]) -> None:
        if self.is_down:
            raise KafkaError("down")
        self.events += [CODEC.decode_one(value or b"") for _, value, _ in records]


@pytest.mark.parametrize("kept", KEPT, ids=["requested", "ended"])
def test_what_was_kept_is_read(kept: bytes) -> None:
    """The bytes of each version, for as long as there are some: a new version gets a file of its own."""
    assert KEPT[kept] == CODEC.decode_one(kept)


def test_what_is_left_out() -> None:
    """Secrets by their names, and the ends of long texts; what would move a cursor or is no text is replaced."""
    shown = parameters_of({"api_token": "x", "Password": "y", "none": None, "a": {"b": 1}, "c": "l\n\x1b[2J\ud800"})
    assert {"api_token": "(not shown)", "Password": "(not shown)", "a": '{"b":1}', "c": "l \\x1b[2J\\ud800"} == shown
    assert MOST_TEXT + 2 == len(in_short("x" * 100_000))
    record("id", DROP, "app")[1].decode()  # type: ignore[union-attr]


def test_what_is_written_is_bounded() -> None:
    """Whatever a request brings: many of its size are read at once."""
    many = parameters_of({"id": "17", **{f"{number}{'x' * 3_000}": "y" * 3_000 for number in range(60)}})
    assert "17" == many["id"]
    assert MOST_OF_ALL >= sum(len(name) + len(value) for name, value in many.items()) > MOST_OF_ALL / 2


def test_a_long_text_takes_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a million characters a worker looks at some thousands."""
    looked: list[int] = []

    def counted(text: str) -> str:
        looked.append(len(text))
        return printable(text)

    monkeypatch.setattr(records, "printable", counted)
    assert MOST_TEXT + 2 == len(in_short("x\x1b" * 500_000))
    assert in_short(" " * 500_000 + "x") == ".."
    assert 3 * MOST_TEXT > sum(looked)


async def test_others_have_their_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a long audit is looked through, a worker answers its queries."""
    size, turns = 20_000, [0]
    value = record("id", DROP, "app")[1]

    @asynccontextmanager
    async def consumer(log: AuditLog) -> AsyncIterator[Any]:
        yield None

    async def bounds(log: AuditLog, consumer: Any) -> tuple[int, int]:
        return 0, size

    async def read(log: AuditLog, consumer: Any, low: int, high: int) -> list[Any]:
        return [SimpleNamespace(value=value, key=b"id", offset=at, timestamp=0) for at in range(low, high)]

    for name, method in (("_consumer", consumer), ("_bounds", bounds), ("_read", read)):
        monkeypatch.setattr(AuditLog, name, method)

    async def others() -> None:
        while True:
            await asyncio.sleep(0)
            turns[0] += 1

    waiting = asyncio.create_task(others())
    await asyncio.sleep(0)
    assert ([], False) == await AuditLog(ClientFactory([]), "audit").newest(Wanted(who="bob"), 10)
    waiting.cancel()
    assert 5 < turns[0]


async def test_nothing_begins_that_cannot_be_written() -> None:
    """It is refused; that an end could not be written is said, and raises nothing."""
    topic = Topic()
    trail = AuditTrail(topic.send, "app")
    topic.is_down = True
    with pytest.raises(NotAudited, match="nothing is done"):
        await trail.begin(DROP)
    assert not await trail.end("id", ActionEnded(Outcome.ACCEPTED, ""))
    topic.is_down = False
    assert await trail.end(await trail.begin(DROP), ActionEnded(Outcome.ACCEPTED, "done"))
    assert [DROP, ActionEnded(Outcome.ACCEPTED, "done")] == topic.events


async def test_an_order_while_the_worker_ends(caplog: pytest.LogCaptureFixture) -> None:
    """What was done is answered as done, and the log has what came of it; nothing more begins."""

    async def stopped(records: Sequence[ProducerRecord]) -> None:
        raise ClientsStopped

    trail = AuditTrail(stopped, "app")
    assert not await trail.end("id17", ActionEnded(Outcome.ACCEPTED, "paused"))
    assert ("id17" in caplog.text, "paused" in caplog.text) == (True, True)
    with pytest.raises(NotAudited, match=r"nothing is done.*ClientsStopped"):
        await trail.begin(DROP)


async def test_nothing_begins_that_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kafka has some seconds."""
    monkeypatch.setattr(trails, "WRITE_SECONDS", 0.01)
    trail = AuditTrail(lambda records: asyncio.sleep(10), "app")
    with pytest.raises(NotAudited, match=r"no answer within 0.01 s"):
        await trail.begin(DROP)


async def test_refusals_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one who tries again and again some are written in a minute, and later how many there were."""
    topic, now = Topic(), [1_000.0]
    monkeypatch.setattr(trails, "time", SimpleNamespace(monotonic=lambda: now[0]))
    trail = AuditTrail(topic.send, "app")
    for _ in range(REFUSALS_A_MINUTE + 7):
        trail.refused(DROP, "may not")
    await trail.close()
    assert 2 * REFUSALS_A_MINUTE == len(topic.events)
    assert ActionEnded(Outcome.REFUSED, "may not") == topic.events[-1]
    now[0] += 61
    trail.refused(DROP, "may not")
    await trail.close()
    assert topic.events[-1].detail == "may not; 7 more of os:alice@desk are not written down"
    monkeypatch.setattr(trails, "MOST_REFUSED", 2)
    for number in range(5):
        trail.refused(ActionRequested(**{**vars(DROP), "who": str(number)}), "may not")
    await trail.close()
    assert 2 == len(trail._refused)


async def test_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """The path without its variables is the action; these and the body are its parameters."""

    async def view(request: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.router.add_post("/projections/{name}/rows/{key}/rebuild", view)
    request = make_mocked_request("POST", "/projections/orders/rows/a%20b/rebuild", {"User-Agent": "curl/8"}, app=app)
    monkeypatch.setattr(request, "_match_info", await app.router.resolve(request))
    body = b'{"reason": "why", "again": true, "name": "another", "token": "canary"}'
    asked = action_of(request, Identified(Principal("oidc", "alice")), "app", body)
    assert ("projections rows rebuild", "oidc:alice", "why", "curl/8") == (
        asked.action, asked.who, asked.reason, asked.client
    )  # fmt: skip
    assert {"name": "orders", "key": "a b", "again": "true", "token": "(not shown)"} == asked.parameters
    for other in (b"", b"[1]", b"\xff", b"[" * 50_000, b'{"reason": 7}'):
        asked = action_of(request, None, "app", other)
        assert ("nobody", "") == (asked.who, asked.reason)


def test_what_came_of_a_request() -> None:
    """By its status, or by what was raised; what nobody has foreseen is named, and not shown."""
    assert ActionEnded(Outcome.ACCEPTED, '{"a":1}') == ending_of(web.Response(body=b'{"a":1}', status=202))
    assert ActionEnded(Outcome.REFUSED, "409: no") == ending_of(web.Response(body=b'{"detail":"no"}', status=409))
    assert ActionEnded(Outcome.FAILED, "503:") == ending_of(web.Response(body=b"x", status=503))
    assert ActionEnded(Outcome.FAILED, "ValueError") == ending_by(ValueError("canary"))
    assert ActionEnded(Outcome.FAILED, "CancelledError") == ending_by(asyncio.CancelledError())
    assert Outcome.REFUSED == ending_by(web.HTTPNotFound()).outcome


@pytest.mark.parametrize(
    ("wanted", "takes"),
    [
        ({}, True),
        ({"who": "ALICE"}, True),
        ({"who": "bob"}, False),
        ({"what": "Drop"}, True),
        ({"what": "5363"}, True),
        ({"what": "retry"}, False),
        ({"type": "order", "id": "536365"}, True),
        ({"type": "order", "id": "5363"}, False),
        ({"type": "product"}, False),
    ],
)
def test_which_are_wanted(wanted: dict[str, Any], takes: bool) -> None:
    """Texts by what stands in them, an aggregate by its whole name."""
    entry = AuditEntry(offset=1, time="", **{**vars(DROP), "parameters": dict(DROP.parameters)})
    assert takes == Wanted(**wanted).takes(entry)


def test_since_when() -> None:
    """By the time of the broker."""
    moment = datetime(2026, 11, 30, tzinfo=UTC)
    before = SimpleNamespace(timestamp=milliseconds(moment - timedelta(milliseconds=1)))
    assert Wanted(since=moment).begins_after(before)
    assert not Wanted().begins_after(before)
    assert not Wanted(since=moment).begins_after(SimpleNamespace(timestamp=milliseconds(moment)))
