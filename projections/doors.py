"""Any worker answers: queries go to the worker that has the partition, or to all and are put together.

A worker in the middle of a rebalance or a recovery, or one that cannot be reached, gives 503 with
Retry-After, never a wrong or empty answer.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from projections.applier import Applier
from projections.local_store import TableError
from projections.tables import Table
from streams.broker import partition_of
from streams.faust_app import Application
from streams.health import PROBLEM, json_response, problem
from streams.journal import stream_type

log = logging.getLogger(__name__)

HOP = "X-Hop"
HOP_SECONDS = 5.0
DEFAULT_WAIT = 5.0
LONGEST_WAIT = 60.0


class NotNow(Exception):
    """This cannot be answered at the moment; the message says why."""


class Doors:
    """Where the partitions of the tables are, by the assignment that Faust's leader has made."""

    def __init__(self, app: Application, anchor: Table, appliers: dict[str, Applier]) -> None:
        self._app = app
        self._anchor = anchor
        self._appliers = appliers
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Disconnect."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def partition(self, key: str) -> int:
        """The partition of an aggregate."""
        return partition_of(key.encode(), self._app.settings.partitions)

    def here(self) -> list[int]:
        """The partitions whose tables this worker serves."""
        self._require_ready()
        return sorted(
            tp.partition for tp in self._app.assignor.assigned_actives() if tp.topic == self._anchor.changelog
        )

    def _require_ready(self) -> None:
        if not self._app.is_ready:
            raise NotNow("a rebalance or a recovery is under way")

    def _workers(self) -> dict[str, list[int]]:
        """Partitions by the worker's URL. All of them, or `NotNow`."""
        self._require_ready()
        topic = self._anchor.changelog
        workers = {
            str(url): list(topics[topic])
            for url, topics in self._app.router.tables_metadata().items()
            if topics.get(topic)
        }
        if sorted(p for ps in workers.values() for p in ps) != list(range(self._app.settings.partitions)):
            raise NotNow("not every partition has a worker yet")
        return workers

    async def at_owner(self, view: Any, request: Any, key: str, answer: Callable[[int], Awaitable[Any]]) -> Any:
        """Answer a query by key here, or have its owner answer."""
        try:
            await self._read_your_writes(request)
            partition = self.partition(key)
            if partition in self.here():
                return await answer(partition)
            if HOP in request.headers:
                raise NotNow("the partition has just moved")
            url = next((url for url, ps in self._workers().items() if partition in ps), None)
            if url is None:
                raise NotNow("the partition has no worker yet")
            return await self._pass_on(view, request, url)
        except (NotNow, TableError) as error:
            return problem(view, 503, "Not now", str(error))

    async def _pass_on(self, view: Any, request: Any, url: str) -> Any:
        headers = {HOP: "1"} | {name: request.headers[name] for name in ("If-None-Match",) if name in request.headers}
        async with self._get(url.rstrip("/") + request.rel_url.raw_path_qs, headers) as response:
            body = await response.read()
            kept = {name: response.headers[name] for name in ("ETag", "Retry-After") if name in response.headers}
            return view.bytes(body, content_type=response.content_type, status=response.status, headers=kept)

    async def gather(
        self, view: Any, request: Any, answer: Callable[[list[int]], Any], put: Callable[[list[Any]], Any]
    ) -> Any:
        """Have each worker answer for its partitions, and `put` the answers together. All of them, or 503."""
        try:
            if HOP in request.headers:
                return json_response(view, {"partitions": self.here(), "answer": answer(self.here())})
            await self._read_your_writes(request)
            workers = self._workers()
            own = str(self._app.conf.canonical_url).rstrip("/")

            async def ask(url: str, partitions: list[int]) -> Any:
                if url.rstrip("/") == own:
                    return answer(self.here())
                async with self._get(url.rstrip("/") + request.rel_url.raw_path_qs, {HOP: "1"}) as response:
                    if response.status != 200:
                        raise NotNow(f"{url} answered {response.status}")
                    body = json.loads(await response.read())
                    if sorted(body["partitions"]) != sorted(partitions):
                        raise NotNow(f"{url} has other partitions now")
                    return body["answer"]

            answers = await asyncio.gather(*(ask(url, ps) for url, ps in workers.items()))
            return json_response(view, put(list(answers)))
        except (NotNow, TableError) as error:
            return problem(view, 503, "Not now", str(error))

    def _get(self, url: str, headers: dict[str, str], seconds: float = HOP_SECONDS) -> _Asked:
        if self._session is None:
            self._session = aiohttp.ClientSession()
        return _Asked(self._session, url, headers, seconds)

    # -- read your writes ----------------------------------------------------------------------------

    async def _read_your_writes(self, request: Any) -> None:
        position = request.headers.get("At-Least")
        if position is None or HOP in request.headers:
            return
        stream, nr = read_at_least(position, self._app.settings.partitions, self._appliers)
        seconds = read_wait(request.headers.get("Prefer", ""))
        partition = int(stream.rpartition("-")[2])
        workers = self._workers()
        url = next(url for url, ps in workers.items() if partition in ps).rstrip("/")
        if partition in self.here():
            reached = await self._appliers[stream_type(stream)].wait_for(partition, nr, seconds)
        else:
            path = f"{url}/applied/{stream}/{nr}?seconds={seconds}"
            async with self._get(path, {HOP: "1"}, seconds + HOP_SECONDS) as response:
                reached = response.status == 200
        if not reached:
            raise NotNow(f"{position} is not applied yet")

    def add_views(self) -> None:
        """The view that other workers use to wait for a position here."""

        @self._app.page("/applied/{stream}/{nr}")
        async def applied(view: Any, request: Any, stream: str, nr: str) -> Any:
            try:
                stream, number = read_at_least(f"{stream}:{nr}", self._app.settings.partitions, self._appliers)
                seconds = min(max(float(request.query.get("seconds", "0")), 0.0), LONGEST_WAIT)
            except (BadPosition, ValueError) as error:
                return problem(view, 400, "Bad position", str(error))
            partition = int(stream.rpartition("-")[2])
            if await self._appliers[stream_type(stream)].wait_for(partition, number, seconds):
                return json_response(view, {"applied": True})
            return problem(view, 503, "Not now", f"{stream}:{nr} is not applied yet")


class BadPosition(Exception):
    """A header `At-Least` that names no stream and commit; the message says how one looks."""


class _Asked:
    """A GET of another worker; what goes wrong on the way is `NotNow`."""

    def __init__(self, session: aiohttp.ClientSession, url: str, headers: dict[str, str], seconds: float) -> None:
        self._request = session.get(url, headers=headers, timeout=aiohttp.ClientTimeout(total=seconds))
        self._url = url

    async def __aenter__(self) -> aiohttp.ClientResponse:
        try:
            return await self._request.__aenter__()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise NotNow(f"{self._url} cannot be reached: {type(error).__name__}") from None

    async def __aexit__(self, *error: Any) -> None:
        await self._request.__aexit__(*error)


def read_at_least(text: str, partitions: int, types: Any) -> tuple[str, int]:
    """Stream and commit number of a position. Raises `BadPosition`."""
    parts = text.split(":")
    type_, _, partition = parts[0].rpartition("-")
    known = len(parts) in (2, 3) and type_ in types and partition.isdecimal() and int(partition) < partitions
    if known and all(part.isdecimal() and len(part) < 19 for part in parts[1:]):
        return f"{type_}-{int(partition)}", int(parts[1])
    raise BadPosition(f"At-Least: {text!r} is not a position like order-3:125, as a reply names it")


def read_wait(prefer: str) -> float:
    """Seconds of a header `Prefer: wait=SECONDS`; 5 without, 60 at most."""
    for part in prefer.replace(";", ",").split(","):
        name, _, value = part.strip().partition("=")
        if name.lower() == "wait" and value.isdecimal():
            return min(float(value), LONGEST_WAIT)
    return DEFAULT_WAIT


def problems_middleware() -> Any:
    """Errors of aiohttp itself, and bugs, as problem details."""
    from aiohttp import web

    def answer(status: int, title: str, detail: str) -> web.Response:
        body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
        return web.Response(body=json.dumps(body).encode(), status=status, content_type=PROBLEM)

    @web.middleware
    async def middleware(request: web.Request, handler: Any) -> Any:
        try:
            return await handler(request)
        except BadPosition as error:
            return answer(400, "Bad position", str(error))
        except web.HTTPException as error:
            if error.status < 400:
                raise
            return answer(error.status, error.reason, f"{request.method} {request.path}")
        except Exception:
            log.exception("%s %s raised", request.method, request.path)
            return answer(500, "Internal error", "a bug; the log of this worker has its trace")

    return middleware
