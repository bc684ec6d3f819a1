"""What `replay` puts on Kafka, what it waits for, and what it says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from aiokafka.partitioner import DefaultPartitioner

from streams.deciding.messages import Message, read_envelope
from streams.settings import Settings
from streams.shop.replay import Summary, message, partition_of, replay
from streams.shop.replay_wait import Door, Lag, Progressed, ReplayError, read_lag, wait_for_tables
from streams.shop.sales import Command, generate, plan, read_rows

SENT = {"order-0": (10, 19), "user-3": (0, 4)}


def stream(name: str, covered: int | None, head: int, applied: int) -> dict[str, Any]:
    places = {"committed_offset": covered, "head": head, "eventful": head, "published": head, "applied": applied}
    rest = {"epoch": 1, "owner": "a", "ahead": 0, "events": 0, "seconds": 0.0, "unpublished_events": 0}
    return {"stream": name, **places, **rest, "lag": 0, "projections": []}


def test_message() -> None:
    """A command is a CloudEvent in binary mode that the workers read as it was meant."""
    command = Command("order", "C1/é", "replay/C1/open", "OpenOrder", {"user_id": "é"})
    key, value, headers = message(command)
    envelope = read_envelope(Message(3, 5, key, value, headers, 0.0), "none")
    assert (envelope.aggregate_id, envelope.id, envelope.type) == ("C1/é", "replay/C1/open", "OpenOrder")
    assert ('{"user_id": "é"}'.encode(), "application/json") == (envelope.data, envelope.content_type)
    assert {"ce_specversion": b"1.0", "ce_source": b"/replay"}.items() <= dict(headers).items()


@pytest.mark.parametrize("key", [b"536365", b"C536379", b"85123A", b"POST", "é".encode()])
def test_partition(key: bytes) -> None:
    """A key goes where the Java client's partitioner puts it."""
    assert partition_of(key, 8) == DefaultPartitioner()(key, list(range(8)), None)


def test_read_lag() -> None:
    """`/lag` is read by stream; a stream without commands yet is below all offsets."""
    answer = {"streams": [stream("order-0", 19, 7, 6), stream("user-3", None, 0, 0)], "total": 0}
    assert read_lag(answer) == {"order-0": Lag(19, 7, 6), "user-3": Lag(-1, 0, 0)}


@pytest.mark.parametrize("answer", [{}, [], None, {"streams": [{"stream": "order-0"}]}])
def test_unknown_lag(answer: Any) -> None:
    """Another form of answer is an error with a message, not a crash."""
    with pytest.raises(ReplayError, match="/lag answers"):
        read_lag(answer)


def test_done_when_covered_then_applied() -> None:
    """A stream is done when its journal covers the last command and the tables have the head it had by then."""
    progress = Progressed(SENT)
    progress.see({"order-0": Lag(14, 3, 3)})
    assert (progress.undone, progress.processed, progress.total) == (["order-0", "user-3"], 5, 15)
    progress.see({"order-0": Lag(19, 9, 3), "user-3": Lag(4, 2, 2)})
    assert (progress.undone, progress.processed) == (["order-0"], 15)
    progress.see({"order-0": Lag(40, 30, 9), "user-3": Lag(4, 2, 2)})
    assert progress.undone == []


class Projections:
    """A door that plays a list of `/lag` answers, staying at the last."""

    def __init__(self, lags: list[Any]) -> None:
        self.lags = lags

    async def lag(self, _: web.Request) -> web.Response:
        return web.json_response({"streams": self.lags.pop(0) if len(self.lags) > 1 else self.lags[0], "total": 0})

    async def revenue(self, _: web.Request) -> web.Response:
        return web.json_response({"revenue": [{"period": "2010-12", "revenue": "554604.02"}]})

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/lag", self.lag)
        app.router.add_get("/analytics/revenue", self.revenue)
        return app


def ask(projections: Projections, question: Callable[[Door], Any]) -> Any:
    async def run() -> Any:
        async with TestServer(projections.app()) as server, Door(str(server.make_url(""))) as door:
            return await question(door)

    return asyncio.run(run())


def test_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting ends when the tables are there."""
    monkeypatch.setattr("streams.shop.replay_wait.PAUSE", 0.001)
    late, done = [stream("order-0", 12, 2, 1)], [stream("order-0", 19, 9, 9), stream("user-3", 4, 2, 2)]
    projections = Projections([late, late, done])
    ask(projections, lambda door: wait_for_tables(door, SENT, 60))
    assert [done] == projections.lags


def test_wait_too_long() -> None:
    """When the time is up, the message names the streams that are late and how far they are."""
    projections = Projections([[stream("order-0", 12, 2, 1)]])
    with pytest.raises(ReplayError, match=r"after 0 s.*order-0 \(12, 2, 1\), user-3 \(unknown\)"):
        ask(projections, lambda door: wait_for_tables(door, SENT, 0))


class Busy(Projections):
    """A door that answers only the last question in time."""

    async def lag(self, request: web.Request) -> web.Response:
        if len(self.lags) > 1:
            self.lags.pop(0)
            await asyncio.sleep(5)
        return await super().lag(request)


def test_a_busy_door(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that takes questions and is late with its answers is not gone, however soon a shut one would be; but for so
    long alone."""
    monkeypatch.setattr("streams.shop.replay_wait.PATIENCE", 0)
    monkeypatch.setattr("streams.shop.replay_wait.PAUSE", 0.001)
    monkeypatch.setattr("streams.shop.replay_wait.ANSWER_SECONDS", 0.5)
    done = [stream("order-0", 19, 9, 9), stream("user-3", 4, 2, 2)]
    ask(Busy([[], done]), lambda door: wait_for_tables(door, SENT, 60))
    monkeypatch.setattr("streams.shop.replay_wait.BUSY_PATIENCE", 0)
    with pytest.raises(ReplayError, match=r"no answer from .*/lag: nothing in 0.5 s"):
        ask(Busy([[], done]), lambda door: wait_for_tables(door, SENT, 60))


def test_revenue() -> None:
    """The tables' revenue is read as exact decimals by month."""
    assert ask(Projections([[]]), Door.revenue) == {"2010-12": Decimal("554604.02")}


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "nonsense"])
def test_nobody_there(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --wait, projections that do not answer stop the replay before anything is sent."""
    monkeypatch.setattr("streams.shop.replay_wait.PATIENCE", 0)
    file = tmp_path / "sales.csv"
    generate(file, 1, 1, date(2010, 12, 1))
    with pytest.raises(ReplayError, match="--url"):
        asyncio.run(replay(Settings(kafka_brokers="kafka://127.0.0.1:9"), file, wait=True, url=url))


def test_no_kafka(tmp_path: Path) -> None:
    """Kafka that does not answer is one sentence with the address."""
    file = tmp_path / "sales.csv"
    generate(file, 1, 1, date(2010, 12, 1))
    with pytest.raises(ReplayError, match=r"Kafka at 127\.0\.0\.1:9: .*make up"):
        asyncio.run(replay(Settings(kafka_brokers="kafka://127.0.0.1:9"), file))


def test_summary(tmp_path: Path) -> None:
    """The summary sets the expected revenue beside the tables' and says where they differ."""
    file = tmp_path / "sales.csv"
    generate(file, 4, 1, date(2011, 1, 30))
    summary = Summary(plan(read_rows(file)), commands=10, seconds=2)
    assert "5 a second\n" in str(summary)
    months = summary.plan.revenue()
    summary.shown = {"2011-01": months["2011-01"], "2011-02": months["2011-02"] + 1}
    january, february = str(summary).splitlines()[-2:]
    assert january.endswith("equal")
    assert "differs by +1.0000" in february
