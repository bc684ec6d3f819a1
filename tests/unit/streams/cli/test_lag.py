"""`faust lag`: the rows that it prints of an answer, and what it makes of anything else."""

from __future__ import annotations

import asyncio
import json

import pytest

from streams.cli import lag as lag_client
from streams.cli.http import Answer, ask, read
from streams.web.lag import Lag
from tests.unit.streams.cli.orders_context import code_of


def test_lag_rows() -> None:
    """Streams are in the order of their partition numbers, and the total stands below."""
    row = {"committed_offset": None, "head": 7, "eventful": 7, "published": 4, "applied": 4, "lag": 3}
    row |= {"ahead": 0, "events": 5, "seconds": 1.25, "epoch": 1, "owner": "a", "unpublished_events": 0}
    table = {"table": "orders-1", "serving": True, "applied": 4, "commits": 3, "events": 5, "seconds": 1.25}
    row["projections"] = [table]
    body = json.dumps({"streams": [{"stream": "order-10", **row}, {"stream": "order-2", **row}], "total": 6}).encode()
    lag = read(Answer("u", 200, body), Lag, "the /lag of the projections")
    rows = lag_client.rows(lag)
    told = [None, 7, 7, 4, 4, 3, 5, "1.2", 0]
    assert [["order-2", *told], ["order-10", *told]] == rows[:2]
    assert ("total", 6) == (rows[2][0], rows[2][lag_client.COLUMNS.index("lag")])
    assert ["order-10", "orders-1", True, 4, 3, 5, "1.2"] == lag_client.table_rows(lag)[0]


@pytest.mark.parametrize(
    ("status", "body"), [(503, b'{"detail": "no"}'), (404, b"\xff"), (200, b"<html>"), (200, b"{}"), (200, b"\xff")]
)
def test_other_answers_to_lag(status: int, body: bytes) -> None:
    """Whatever else answers ends with 2, because 1 means that the tables are behind."""
    assert 2 == code_of(lambda: read(Answer("http://x/lag", status, body), Lag, "the /lag of the projections"))


@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1", "http://127.0.0.1:1", "http://[::/"])
def test_lag_without_answer(url: str) -> None:
    """A URL that is none, or where nobody answers, ends with 2."""
    assert 2 == code_of(lambda: asyncio.run(ask(url, "/lag", "is it up?")))
