"""Whatever a handler raises is a problem, the same from every view."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from projections.http.at_least import BadPositionHeader
from projections.http.forwarding import SEEN, Behind, Busy, OldTable
from projections.http.problems import HttpProblem, NotNow, problems, reading_from
from streams.journal.event_decoding import NotReadableYet
from streams.journal.port import Unavailable

REQUEST: Any = SimpleNamespace(method="GET", raw_path="/orders/7")


async def answer_to(error: Exception, store: str = "") -> web.Response:
    """The answer for a handler that raises, as it reads from a store of this name."""

    async def handler(request: Any) -> Any:
        if not store:
            raise error
        with reading_from(store):
            raise error

    return await problems(REQUEST, handler)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("error", "status", "title", "detail", "headers"),
    [
        (HttpProblem(409, "No", "why", {"A": "b"}), 409, "No", "why", {"A": "b"}),
        (HttpProblem(429, "Busy", "why"), 429, "Busy", "why", {"Retry-After": "1"}),
        (BadPositionHeader("which"), 400, "Bad position", "which", {}),
        (NotNow("later"), 503, "Not now", "later", {"Retry-After": "1"}),
        (Busy("later"), 503, "Not now", "later", {"Retry-After": "1"}),
        (Behind("later"), 503, "Not now", "later", {"Retry-After": "1"}),
        (OldTable("newer", 7), 503, "Not now", "newer", {"Retry-After": "1", SEEN: "7"}),
        (NotReadableYet("newer"), 503, "Not now", "newer", {"Retry-After": "1"}),
        (aiohttp.ClientPayloadError(), 400, "Bad request",
         "the body is not what its headers say: ClientPayloadError", {}),
        (HttpProblem(404, "Not found", "there is no \udcff"), 404, "Not found", "there is no ?", {}),
    ],
)  # fmt: skip
async def test_what_is_raised_is_answered(
    error: Exception, status: int, title: str, detail: str, headers: dict[str, str]
) -> None:
    """Status, title, detail and headers are those of the exception; 429 and 503 say when to try again."""
    answer = await answer_to(error)
    told = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    assert (status, "application/problem+json") == (answer.status, answer.content_type)
    assert told == msgspec.json.decode(answer.body)  # type: ignore[arg-type]
    assert headers == {name: value for name, value in answer.headers.items() if not name.startswith("Content-")}


async def test_members_of_a_problem() -> None:
    """They stand beside those that every problem has."""
    answer = await answer_to(HttpProblem(503, "Not taken", "try", command_id="c-1"))
    assert "c-1" == msgspec.json.decode(answer.body)["command_id"]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "store", "said"),
    [
        (Unavailable("db:9042"), "", "what this is read from does not answer"),
        (Unavailable("db:9042"), "a store", "a store does not answer"),
        (Unavailable("db:9042"), "the read model", "the read model does not answer"),
    ],
)
async def test_where_a_store_is(error: Exception, store: str, said: str, caplog: pytest.LogCaptureFixture) -> None:
    """What a store or a journal says of itself, with its address, is in the log and not in the answer."""
    with caplog.at_level(logging.INFO):
        answer = await answer_to(error, store)
    assert (503, "1") == (answer.status, answer.headers["Retry-After"])
    assert said == msgspec.json.decode(answer.body)["detail"]  # type: ignore[arg-type]
    assert f"{said}: db:9042" in caplog.text


async def test_a_bug(caplog: pytest.LogCaptureFixture) -> None:
    """Is a 500 that says nothing of itself; its trace is in the log."""
    answer = await answer_to(ZeroDivisionError("secret"))
    assert 500 == answer.status
    assert b"secret" not in answer.body  # type: ignore[operator]
    assert "ZeroDivisionError: secret" in caplog.text


async def test_aiohttps_own() -> None:
    """Pass on to the guard of the worker."""
    with pytest.raises(web.HTTPNotFound):
        await answer_to(web.HTTPNotFound())
