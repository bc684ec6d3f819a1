"""Any worker answers any query: it asks the worker that has the partition, or all workers, and puts the parts together.

A rebalance, a recovery and a worker that cannot be reached give 503 with Retry-After, never a wrong or empty answer.
The worker that a client asks names the tables that answer, and the workers that it asks use these tables, so that an
answer is of one table, also in a cutover. It also says how far it has read the control topic, and a worker that is
behind reads on first, so that a client that has seen the new table does not see the old one again.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import wraps
from typing import Any, NamedTuple, ParamSpec, TypeVar

from projections.applying.control import Control
from projections.applying.projection_group import ProjectionGroup
from projections.http.forwarding import (
    HOP,
    HOP_SECONDS,
    BadAnswer,
    Behind,
    OldTable,
    Tables,
    handed_on,
    passed_on,
    read_answer,
    read_seen,
    worker_of,
)
from projections.http.problems import NotNow
from projections.routing.read_your_writes import ReadYourWrites, group_of
from projections.routing.workers import Workers
from projections.stores.declaration import projection_name
from streams.concurrency.tasks import all_of
from streams.runtime.application import Application
from streams.web.health import json_response

PASSED_ON = ("If-None-Match", "At-Least")
FIRST_SECONDS = 3.0
"""The time that a query waits for the first table of a projection to become active."""
SWITCHES = 3
"""The most repetitions of a query because another table has become active."""

P = ParamSpec("P")
T = TypeVar("T")


class RowLocation(NamedTuple):
    """The partition of a key, the active table, and the URL of the worker that has the row, None for this worker."""

    partition: int
    table: str
    url: str | None = None


async def _result(function: Callable[..., Any], *arguments: Any) -> Any:
    """The result of a function, awaited if it is awaitable."""
    result = function(*arguments)
    return await result if inspect.isawaitable(result) else result


def _again_when_behind(ask: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """The method, called again, `SWITCHES` times at most, when another table has become active meanwhile."""

    @wraps(ask)
    async def asked(*args: P.args, **kwargs: P.kwargs) -> T:
        for _ in range(SWITCHES):
            with suppress(Behind):
                return await ask(*args, **kwargs)
        return await ask(*args, **kwargs)

    return asked


class QueryRouter(Workers):
    """Answers queries, with the help of the other workers."""

    def __init__(
        self, app: Application, control: Control, changelogs: Mapping[str, str], sources: Mapping[str, ProjectionGroup]
    ) -> None:
        super().__init__(app, changelogs, control)
        self._sources = sources
        self._applied = ReadYourWrites(self, app.settings.partitions, sources, app.settings.http_pending)

    # -- which table ------------------------------------------------------------------------------------

    async def serving(self, *projections: str) -> Tables:
        """The active tables. Raises `NotNow` while the first one of a projection is being built."""
        tables: dict[str, str] = {}
        for name in projections:
            table = self._control.serving(name)
            if table is None and self._is_complete(name):  # the leader is about to say so
                table = await self._control.first_serving(name, FIRST_SECONDS)
            if table is None:
                raise NotNow(f"{name} is being built: /projections says how far it is")
            tables[name] = table
        return tables

    def _is_complete(self, projection: str) -> bool:
        """Whether the newest table of a projection is complete in all partitions here."""
        group = group_of(self._sources, projection)
        table = group.newest()[projection]
        return all(partition.is_current(table) for partition in group.partitions.values())

    async def tables_of_request(self, request: Any, projections: Sequence[str]) -> Tables:
        """The tables that the asking worker names, by projection. Raises `NotNow`, and `OldTable` for one that is not
        active any more."""
        control = self._control
        tables = dict(part.split("=", 1) for part in request.headers[HOP].split(",") if "=" in part)
        if tables.keys() != set(projections) or any(projection_name(tables[name]) != name for name in projections):
            raise NotNow(f"{HOP}: the tables of {', '.join(projections)} are to be named")
        seen = read_seen(request.headers)
        if seen is not None:
            await self.read_orders(seen)
            if control.offset > seen and any(control.serving(name) != table for name, table in tables.items()):
                raise OldTable(f"{', '.join(tables.values())}: there is a newer one", control.offset)
        for name, table in tables.items():
            if not self._is_known(name, table):  # to look into one that is not there would make it
                raise OldTable(f"there is no table {table}", control.offset)
        return tables

    def _is_known(self, projection: str, table: str) -> bool:
        """Whether a table is active, or is here."""
        if table == self._control.serving(projection):
            return True
        group = group_of(self._sources, projection)
        return any(group.table(partition, table) is not None for partition in self.here(projection))

    # -- asking -------------------------------------------------------------------------------------------

    async def route(self, request: Any, projection: str, key: str) -> RowLocation:
        """The place where a query by key is answered. Raises `NotNow` and `OldTable`."""
        partition = self.partition(key)
        if HOP in request.headers:
            table = (await self.tables_of_request(request, [projection]))[projection]
            if partition not in self.here(projection):
                raise NotNow("the partition has just moved")
        else:
            table = (await self.serving(projection))[projection]
            if partition not in self.here(projection):
                return RowLocation(partition, table, self.url_of(projection, partition))
        self._applied.refuse_quarantined_key(request, partition, table, key)
        return RowLocation(partition, table)

    async def ask_owner(
        self, view: Any, request: Any, projection: str, key: str, answer: Callable[[int, str], Awaitable[Any]]
    ) -> Any:
        """Answer a query by key here, or hand on the answer of its owner. `answer` gets the partition and the table.

        Raises `NotNow`, `OldTable` and `BadPositionHeader`.
        """
        await self.read_your_writes(request, [projection])
        return await self._answer_by_key(view, request, projection, key, answer)

    @_again_when_behind
    async def _answer_by_key(
        self, view: Any, request: Any, projection: str, key: str, answer: Callable[[int, str], Awaitable[Any]]
    ) -> Any:
        partition, table, url = await self.route(request, projection, key)
        if url is None:
            return await answer(partition, table)
        headers = self.hop({projection: table}) | passed_on(request, PASSED_ON)
        path = request.rel_url.raw_path_qs
        async with self.ask("GET", url + path, headers, worker=worker_of([partition])) as response:
            await self.raise_if_behind(response)
            if not (response.status == 200 or response.status == 304 or response.status >= 400):
                raise BadAnswer(f"status {response.status}")
            return await handed_on(view, response)

    async def gather(
        self,
        view: Any,
        request: Any,
        projections: Sequence[str],
        answer: Callable[[list[int], Tables], Any],
        put: Callable[[list[Any]], Any],
        headers: dict[str, str] | None = None,
    ) -> Any:
        """Have each worker `answer` for its partitions, and `put` the parts together as JSON, with these headers. A
        request of a worker gets the part of this one. Raises `NotNow` unless all parts are there.

        `answer` and `put` may return awaitables, and should where they take more than some milliseconds. The
        projections belong to one aggregate type and are in one kind of store.
        """
        if HOP in request.headers:
            return await self.part_here(view, request, projections, answer)
        await self.read_your_writes(request, projections)
        parts = await self.parts(request, projections, answer)
        return json_response(view, await _result(put, parts), headers=headers)

    async def part_here(
        self, view: Any, request: Any, projections: Sequence[str], answer: Callable[[list[int], Tables], Any]
    ) -> Any:
        """Answer another worker for the partitions here. Raises `NotNow`, `OldTable`."""
        partitions = self.here(projections[0])
        tables = await self.tables_of_request(request, projections)
        return self.part(view, projections[0], await self._part_of(request, partitions, tables, answer))

    @_again_when_behind
    async def parts(
        self, request: Any, projections: Sequence[str], answer: Callable[[list[int], Tables], Any]
    ) -> list[Any]:
        """What each worker has to `answer` for its partitions. The projections are as in `gather`, which puts the parts
        together; who has to put those of several together asks here. Raises `NotNow` unless all parts are there."""
        first, tables = projections[0], await self.serving(*projections)
        return await self.each(
            first,
            request.rel_url.raw_path_qs,
            tables,
            lambda: self._part_of(request, self.here(first), tables, answer),
            headers=passed_on(request, ("At-Least",)),
        )

    async def _part_of(
        self, request: Any, partitions: list[int], tables: Tables, answer: Callable[[list[int], Tables], Any]
    ) -> Any:
        """The answer for the partitions that are here. Raises `NotNow` when they move meanwhile."""
        part = await _result(answer, partitions, tables)
        self._applied.refuse_quarantined(request, partitions, tables)
        if self.here(next(iter(tables))) != partitions:  # a partition that has left is empty, and raises nothing
            raise NotNow("the partitions have just moved")
        return part

    def part(self, view: Any, projection: str, answer: Any) -> Any:
        """The part of this worker, in the form that `each` of another worker reads."""
        return json_response(view, {"partitions": self.here(projection), "answer": answer})

    async def each(
        self,
        projection: str,
        path: str,
        tables: Tables,
        here: Callable[[], Any],
        method: str = "GET",
        seconds: float = HOP_SECONDS,
        headers: Mapping[str, str] | None = None,
    ) -> list[Any]:
        """The part of every worker that has partitions of a projection. The part of this worker is `here()`, awaited if
        it is awaitable.

        The other workers are asked for `path` with `X-Hop` and these headers, and answer with their `part`. Raises
        `NotNow` unless all parts are there within `seconds`.
        """
        asked = self.hop(tables) | dict(headers or {})
        return await all_of(
            _result(here) if url == self.own_url else self._ask_part(partitions, method, url + path, asked, seconds)
            for url, partitions in self.workers(projection).items()
        )

    async def _ask_part(
        self, partitions: list[int], method: str, url: str, headers: dict[str, str], seconds: float
    ) -> Any:
        """The part of another worker, which must have these partitions. Raises `NotNow`."""
        worker = worker_of(partitions)
        async with self.ask(method, url, headers, seconds, worker=worker) as response:
            await self.raise_if_behind(response)
            if response.status in (429, 503):
                raise NotNow(f"{worker} cannot answer now")
            if response.status != 200:
                raise BadAnswer(f"status {response.status}")
            try:
                body = json.loads(await read_answer(response))
                theirs, answer = sorted(body["partitions"]), body["answer"]
            except (ValueError, TypeError, KeyError, RecursionError) as error:
                raise BadAnswer(f"no answer of a worker: {error!r}") from None
            if theirs != partitions:
                raise NotNow(f"{worker} has others now")
            return answer

    # -- read your writes ------------------------------------------------------------------------------------

    async def read_your_writes(self, request: Any, projections: Sequence[str]) -> None:
        """Wait for all positions of the headers `At-Least`. Raises `BadPositionHeader`, and `NotNow` when the
        time is up."""
        if "At-Least" in request.headers and HOP not in request.headers:
            await self._applied.wait(request, projections)

    def add_views(self) -> None:
        """Serve the path at which other workers wait for a position here."""
        self._applied.add_view(self._app)
