"""Any worker answers: queries go to the worker that has the partition, or to all and are put together.

A worker in the middle of a rebalance or a recovery, or one that cannot be reached, gives 503 with Retry-After, never a
wrong or empty answer. The worker that is asked first says which table of a projection is to answer, and those that it
asks do as it says: so all of an answer is of one table, also while a new one takes over.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any

import aiohttp

from projections.at_least import LONGEST_WAIT, BadPosition, read_at_least, read_wait
from projections.control import Control
from projections.kept import projection_name
from projections.rows import StoreDown
from projections.source import Source
from streams.broker import partition_of
from streams.faust_app import Application
from streams.health import json_response, problem
from streams.journal import stream_type

log = logging.getLogger(__name__)

HOP = "X-Hop"
"""Says that a worker asks, and which table of each projection is to answer: `orders=orders-2,..`, or nothing."""
PASSED_ON = ("If-None-Match", "At-Least")
HOP_SECONDS = 5.0
FIRST_SECONDS = 3.0
"""For so long a query waits for the very first table of a projection to be put in charge."""

Tables = Mapping[str, str]
"""The table that answers, by projection."""


class NotNow(Exception):
    """This cannot be answered at the moment; the message says why."""


class Doors:
    """Where the partitions of local tables are, by the assignment that Faust's leader has made.

    `changelogs` has by projection the topic that is assigned together with its tables.
    """

    def __init__(
        self, app: Application, control: Control, changelogs: Mapping[str, str], sources: Mapping[str, Source]
    ) -> None:
        self._app = app
        self._control = control
        self._changelogs = changelogs
        self._sources = sources
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Disconnect."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    # -- where things are ---------------------------------------------------------------------------------

    def partition(self, key: str) -> int:
        """The partition of an aggregate."""
        return partition_of(key.encode(), self._app.settings.partitions)

    @property
    def all_partitions(self) -> list[int]:
        """All that there are."""
        return list(range(self._app.settings.partitions))

    @property
    def own_url(self) -> str:
        """That of this worker, as others know it."""
        return str(self._app.conf.canonical_url).rstrip("/")

    def here(self, projection: str) -> list[int]:
        """The partitions of a projection that this worker has."""
        self._require_ready()
        topic = self._changelogs[projection]
        return sorted(tp.partition for tp in self._app.assignor.assigned_actives() if tp.topic == topic)

    def _require_ready(self) -> None:
        if not self._app.is_ready:
            raise NotNow("a rebalance or a recovery is under way")

    def workers(self, projection: str) -> dict[str, list[int]]:
        """Partitions by the worker's URL. All of them, or `NotNow`."""
        self._require_ready()
        topic = self._changelogs[projection]
        workers = {
            str(url).rstrip("/"): sorted(topics[topic])
            for url, topics in self._app.router.tables_metadata().items()
            if topics.get(topic)
        }
        if sorted(p for ps in workers.values() for p in ps) != self.all_partitions:
            raise NotNow("not every partition has a worker yet")
        return workers

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

    def _told(self, request: Any, projections: Sequence[str]) -> Tables:
        """The tables that the asking worker named."""
        told = dict(part.split("=", 1) for part in request.headers[HOP].split(",") if "=" in part)
        if told.keys() != set(projections) or any(projection_name(told[name]) != name for name in projections):
            raise NotNow(f"{HOP}: the tables of {', '.join(projections)} are to be named")
        return told

    # -- asking -------------------------------------------------------------------------------------------

    async def at_owner(
        self,
        view: Any,
        request: Any,
        projection: str,
        key: str,
        answer: Callable[[int, str], Awaitable[Any]],
    ) -> Any:
        """Answer a query by key here, or have its owner answer. `answer` gets the partition and the table."""
        try:
            partition = self.partition(key)
            if HOP in request.headers:
                if partition not in self.here(projection):
                    raise NotNow("the partition has just moved")
                table = self._told(request, [projection])[projection]
                self._refuse_stale(request, partition, table, key)
                return await answer(partition, table)
            await self.read_your_writes(request, [projection])
            table = (await self.serving(projection))[projection]
            if partition in self.here(projection):
                self._refuse_stale(request, partition, table, key)
                return await answer(partition, table)
            url = next(url for url, ps in self.workers(projection).items() if partition in ps)
            return await self._pass_on(view, request, url, {projection: table})
        except (NotNow, StoreDown) as error:
            return problem(view, 503, "Not now", str(error))

    async def _pass_on(self, view: Any, request: Any, url: str, tables: Tables) -> Any:
        headers = hop(tables) | {name: request.headers[name] for name in PASSED_ON if name in request.headers}
        async with self.get(url + request.rel_url.raw_path_qs, headers) as response:
            body = await response.read()
            kept = {name: response.headers[name] for name in ("ETag", "Retry-After") if name in response.headers}
            return view.bytes(body, content_type=response.content_type, status=response.status, headers=kept)

    async def gather(
        self,
        view: Any,
        request: Any,
        projections: Sequence[str],
        answer: Callable[[list[int], Tables], Any],
        put: Callable[[list[Any]], Any],
    ) -> Any:
        """Have each worker answer for its partitions, and `put` the answers together. All of them, or 503.

        The projections are of one aggregate type, and kept in one kind of store.
        """
        try:
            first = projections[0]
            if HOP in request.headers:
                here = self.here(first)
                answered = answer(here, self._told(request, projections))
                return json_response(view, {"partitions": here, "answer": answered})
            await self.read_your_writes(request, projections)
            tables = await self.serving(*projections)
            answers = await self.each(
                first, request.rel_url.raw_path_qs, tables, lambda: answer(self.here(first), tables)
            )
            return json_response(view, put(answers))
        except (NotNow, StoreDown) as error:
            return problem(view, 503, "Not now", str(error))

    async def each(self, projection: str, path: str, tables: Tables, here: Callable[[], Any]) -> list[Any]:
        """The answer of every worker that has partitions of a projection; this one's own is `here()`.

        The others are asked for `path` with `X-Hop`, and answer with their `partitions` and their `answer`. All of
        them, within `HOP_SECONDS`, or `NotNow`.
        """

        async def ask(url: str, partitions: list[int]) -> Any:
            if url == self.own_url:
                return here()
            async with self.get(url + path, hop(tables)) as response:
                if response.status != 200:
                    raise NotNow(f"{url} answered {response.status}")
                body = json.loads(await response.read())
                if sorted(body["partitions"]) != partitions:
                    raise NotNow(f"{url} has other partitions now")
                return body["answer"]

        workers = self.workers(projection)
        return list(await asyncio.gather(*(ask(url, partitions) for url, partitions in workers.items())))

    def get(self, url: str, headers: dict[str, str], seconds: float | None = HOP_SECONDS) -> Asked:
        """Ask another worker; what goes wrong on the way is `NotNow`."""
        return self.ask("GET", url, headers, seconds)

    def ask(self, method: str, url: str, headers: dict[str, str], seconds: float | None = HOP_SECONDS) -> Asked:
        """Likewise, by another method."""
        if self._session is None:
            self._session = aiohttp.ClientSession()
        return Asked(self._session, method, url, headers, seconds)

    # -- read your writes ------------------------------------------------------------------------------------

    async def read_your_writes(self, request: Any, projections: Sequence[str]) -> None:
        """Wait for the position of the header `At-Least`. Raises `BadPosition`, and `NotNow` when the time is up."""
        position = request.headers.get("At-Least")
        if position is None or HOP in request.headers:
            return
        stream, nr = read_at_least(position, self._app.settings.partitions, self._sources)
        seconds = read_wait(request.headers.get("Prefer", ""))
        source = self._sources[stream_type(stream)]
        names = [it.name for it in source.kept if it.name in projections] or [it.name for it in source.kept]
        reached = await asyncio.gather(*(self._reached(its, stream, nr, seconds) for its in self._together(names)))
        if not all(reached):
            raise NotNow(f"{position} is not applied yet")

    def _refuse_stale(self, request: Any, partition: int, table: str, key: str) -> None:
        """A row in quarantine does not show what its key's events say, and so not what somebody wrote."""
        source = next(it for it in self._sources.values() for kept in it.kept if kept.name == projection_name(table))
        kept = source.table(partition, table)
        if "At-Least" in request.headers and kept is not None and key in kept.quarantined:
            raise NotNow(f"{key} waits in {table}: {kept.quarantined[key].error}")

    def _together(self, names: Collection[str]) -> list[list[str]]:
        """Projections by the topic that says where they are."""
        groups: dict[str, list[str]] = {}
        for name in dict.fromkeys(names):
            groups.setdefault(self._changelogs[name], []).append(name)
        return list(groups.values())

    async def _reached(self, names: Sequence[str], stream: str, nr: int, seconds: float) -> bool:
        partition = int(stream.rpartition("-")[2])
        if partition in self.here(names[0]):
            return await self._sources[stream_type(stream)].wait_for(partition, nr, names, seconds)
        url = next(url for url, ps in self.workers(names[0]).items() if partition in ps)
        path = f"{url}/applied/{stream}/{nr}?seconds={seconds}&projections={','.join(names)}"
        async with self.get(path, hop({}), seconds + HOP_SECONDS) as response:
            return response.status == 200

    def add_views(self) -> None:
        """The view that other workers use to wait for a position here."""

        @self._app.page("/applied/{stream}/{nr}")
        async def applied(view: Any, request: Any, stream: str, nr: str) -> Any:
            try:
                stream, number = read_at_least(f"{stream}:{nr}", self._app.settings.partitions, self._sources)
                seconds = min(max(float(request.query.get("seconds", "0")), 0.0), LONGEST_WAIT)
            except (BadPosition, ValueError) as error:
                return problem(view, 400, "Bad position", str(error))
            source, partition = self._sources[stream_type(stream)], int(stream.rpartition("-")[2])
            known = [it.name for it in source.kept]
            names = [name for name in request.query.get("projections", "").split(",") if name in known] or known
            if await source.wait_for(partition, number, names, seconds):
                return json_response(view, {"applied": True})
            return problem(view, 503, "Not now", f"{stream}:{nr} is not applied yet")


class Asked:
    """A request to another worker; what goes wrong on the way is `NotNow`."""

    def __init__(
        self, session: aiohttp.ClientSession, method: str, url: str, headers: dict[str, str], seconds: float | None
    ) -> None:
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=HOP_SECONDS)
        self._request = session.request(method, url, headers=headers, timeout=timeout)
        self._url = url

    async def __aenter__(self) -> aiohttp.ClientResponse:
        try:
            return await self._request.__aenter__()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise NotNow(f"{self._url} cannot be reached: {type(error).__name__}") from None

    async def __aexit__(self, *error: Any) -> None:
        await self._request.__aexit__(*error)


def hop(tables: Tables) -> dict[str, str]:
    """The header with which a worker asks another."""
    return {HOP: ",".join(f"{name}={table}" for name, table in tables.items()) or "1"}
