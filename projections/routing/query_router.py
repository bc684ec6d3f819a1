"""Any worker answers: queries go to the worker that has the partition, or to all and are put together.

A worker in the middle of a rebalance or a recovery, or one that cannot be reached, gives 503 with Retry-After, never a
wrong or empty answer. The worker that is asked first says which table of a projection is to answer, and those that it
asks do as it says: so all of an answer is of one table, also while a new one takes over. It says, too, how far it has
read the orders, and who is behind reads on first: so whoever has seen the new table does not see the old one again.
"""

from __future__ import annotations

import contextlib
import inspect
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from projections.applying.control import Control
from projections.applying.source import ProjectionGroup
from projections.http.forwarding import (
    HANDED_BACK,
    HOP,
    HOP_SECONDS,
    SEEN,
    BadAnswer,
    Behind,
    NotNow,
    OldTable,
    Tables,
    not_now,
    passed_on,
    read_answer,
    read_seen,
    worker_of,
)
from projections.routing.read_your_writes import ReadYourWrites
from projections.routing.workers import Workers
from projections.stores.declaration import projection_name
from projections.stores.rows import Quarantined, StoreDown
from streams.concurrency.tasks import all_of
from streams.journal.port import stream_name
from streams.journal.position import parse_place
from streams.runtime.application import Application
from streams.web.health import json_response, problem

PASSED_ON = ("If-None-Match", "At-Least")
FIRST_SECONDS = 3.0
"""For so long a query waits for the very first table of a projection to be put in charge."""
SWITCHES = 3
"""So often a query is asked again because another table has come to answer."""

T = TypeVar("T")


async def _done(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


class QueryRouter(Workers):
    """Asks the workers that have what is asked for."""

    def __init__(
        self, app: Application, control: Control, changelogs: Mapping[str, str], sources: Mapping[str, ProjectionGroup]
    ) -> None:
        super().__init__(app, changelogs, control)
        self._sources = sources
        self._applied = ReadYourWrites(self, app.settings.partitions, sources, app.settings.http_pending)

    # -- which table ------------------------------------------------------------------------------------

    async def serving(self, *projections: str) -> Tables:
        """The tables that answer. Raises `NotNow` while the first one of a projection is being built."""
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
        """Whether its newest table is complete in all partitions here."""
        source = next(it for it in self._sources.values() if any(kept.name == projection for kept in it.kept))
        table = source.newest()[projection]
        return all(partition.is_current(table) for partition in source.partitions.values())

    async def told(self, request: Any, projections: Sequence[str]) -> Tables:
        """The tables that the asking worker named. Raises `OldTable` when this one knows better."""
        told = dict(part.split("=", 1) for part in request.headers[HOP].split(",") if "=" in part)
        if told.keys() != set(projections) or any(projection_name(told[name]) != name for name in projections):
            raise NotNow(f"{HOP}: the tables of {', '.join(projections)} are to be named")
        seen = read_seen(request.headers)
        if seen is not None:
            await self.read_orders(seen)
            if self._control.offset > seen and any(self._control.serving(name) != it for name, it in told.items()):
                raise OldTable(f"{', '.join(told.values())}: there is a newer one")
        for name, table in told.items():
            if not self._is_known(name, table):  # to look into one that is not there would make it
                raise OldTable(f"there is no table {table}")
        return told

    def _is_known(self, projection: str, table: str) -> bool:
        """Whether a table answers, or is kept here."""
        if table == self._control.serving(projection):
            return True
        source = next(it for it in self._sources.values() if any(kept.name == projection for kept in it.kept))
        return any(source.table(partition, table) is not None for partition in self.here(projection))

    async def _again(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask; and again when another table has come to answer meanwhile."""
        for _ in range(SWITCHES):
            with contextlib.suppress(Behind):
                return await ask()
        return await ask()

    # -- asking -------------------------------------------------------------------------------------------

    async def route(self, request: Any, projection: str, key: str) -> tuple[int, str, str | None]:
        """Where a query by key is answered: partition, table, and the worker's URL, None for here.

        Raises `NotNow` and `OldTable`.
        """
        partition = self.partition(key)
        if HOP in request.headers:
            table = (await self.told(request, [projection]))[projection]
            if partition not in self.here(projection):
                raise NotNow("the partition has just moved")
        else:
            table = (await self.serving(projection))[projection]
            if partition not in self.here(projection):
                return partition, table, next(url for url, ps in self.workers(projection).items() if partition in ps)
        self._refuse_stale(request, partition, table, key)
        return partition, table, None

    async def at_owner(
        self, view: Any, request: Any, projection: str, key: str, answer: Callable[[int, str], Awaitable[Any]]
    ) -> Any:
        """Answer a query by key here, or have its owner answer. `answer` gets the partition and the table."""

        async def ask() -> Any:
            partition, table, url = await self.route(request, projection, key)
            if url is None:
                return await answer(partition, table)
            return await self._pass_on(view, request, url, {projection: table}, worker_of([partition]))

        try:
            await self.read_your_writes(request, [projection])
            return await self._again(ask)
        except OldTable as error:
            return self.old_table(view, error)
        except (NotNow, StoreDown) as error:
            return not_now(view, error)

    def old_table(self, view: Any, error: OldTable) -> Any:
        """What a worker is answered that names a table which does not answer any more."""
        return problem(view, 503, "Not now", str(error), {SEEN: str(self._control.offset)})

    async def _pass_on(self, view: Any, request: Any, url: str, tables: Tables, worker: str) -> Any:
        asked = passed_on(request, PASSED_ON)
        async with self.get(url + request.rel_url.raw_path_qs, self.hop(tables) | asked, worker=worker) as response:
            await self.knows_better(response)
            if not (response.status == 200 or response.status == 304 or response.status >= 400):
                raise BadAnswer(f"status {response.status}")
            body = await read_answer(response)
            kept = {name: response.headers[name] for name in HANDED_BACK if name in response.headers}
            return view.bytes(body, content_type=response.content_type, status=response.status, headers=kept)

    async def gather(
        self,
        view: Any,
        request: Any,
        projections: Sequence[str],
        answer: Callable[[list[int], Tables], Any],
        put: Callable[[list[Any]], Any],
        headers: dict[str, str] | None = None,
    ) -> Any:
        """Have each worker answer for its partitions, and `put` the answers together, with these headers. All of them,
        or 503.

        What takes longer than some milliseconds is to be awaited of both.

        The projections are of one aggregate type, and kept in one kind of store.
        """
        first = projections[0]

        async def answer_here(partitions: list[int], tables: Tables) -> Any:
            answered = await _done(answer(partitions, tables))
            self._refuse_what_waits(request, partitions, tables)
            if self.here(first) != partitions:  # of one that is not here any more there is nothing, and so no error
                raise NotNow("the partitions have just moved")
            return answered

        try:
            asked = passed_on(request, ("At-Least",))
            if HOP in request.headers:
                here = self.here(first)
                answered = await answer_here(here, await self.told(request, projections))
                return json_response(view, {"partitions": here, "answer": answered})
            await self.read_your_writes(request, projections)

            async def ask() -> list[Any]:
                tables = await self.serving(*projections)
                path = request.rel_url.raw_path_qs
                return await self.each(
                    first, path, tables, lambda: answer_here(self.here(first), tables), headers=asked
                )

            return json_response(view, await _done(put(await self._again(ask))), headers=headers)
        except OldTable as error:
            return self.old_table(view, error)
        except (NotNow, StoreDown) as error:
            return not_now(view, error)

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
        """The answer of every worker that has partitions of a projection; this one's own is `here()`, or awaited of it.

        The others are asked for `path` with `X-Hop` and these headers, and answer with their `partitions` and their
        `answer`. All of them, within so many seconds, or `NotNow`.
        """

        async def ask(url: str, partitions: list[int]) -> Any:
            if url == self.own_url:
                return await _done(here())
            worker = worker_of(partitions)
            told = self.hop(tables) | dict(headers or {})
            async with self.ask(method, url + path, told, seconds, worker) as response:
                await self.knows_better(response)
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

        workers = self.workers(projection)
        return await all_of(ask(url, partitions) for url, partitions in workers.items())

    # -- read your writes ------------------------------------------------------------------------------------

    async def read_your_writes(self, request: Any, projections: Sequence[str]) -> None:
        """Wait for all positions of the headers `At-Least`. Raises `BadPositionHeader`, and `NotNow` when the
        time is up."""
        if "At-Least" in request.headers and HOP not in request.headers:
            await self._applied.wait(request, projections)

    def _refuse_stale(self, request: Any, partition: int, table: str, key: str) -> None:
        """A row in quarantine does not show what its key's events say, and so not what somebody wrote."""
        if "At-Least" in request.headers and (waits := self._waits(partition, table).get(key)) is not None:
            raise NotNow(f"{key} waits in {table}: {waits.error}")

    def _refuse_what_waits(self, request: Any, partitions: Sequence[int], tables: Tables) -> None:
        """Likewise of all rows of these partitions: a key that waits since a commit that is asked for, or one before,
        may be the one that was written."""
        if "At-Least" not in request.headers:
            return
        wanted = self._applied.wanted(request.headers)
        for table in tables.values():
            type = self._source_of(table).type
            for partition in partitions:
                nr = wanted.get(stream_name(type, partition), 0)
                for key, waits in self._waits(partition, table).items():
                    if parse_place(waits.position)[0] <= nr:
                        raise NotNow(f"{key} waits in {table}: {waits.error}")

    def _waits(self, partition: int, table: str) -> Mapping[str, Quarantined]:
        kept = self._source_of(table).table(partition, table)
        return {} if kept is None else kept.quarantined

    def _source_of(self, table: str) -> ProjectionGroup:
        return next(it for it in self._sources.values() for kept in it.kept if kept.name == projection_name(table))

    def add_views(self) -> None:
        """The view that other workers use to wait for a position here."""
        self._applied.add_view(self._app)
