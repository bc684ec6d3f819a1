"""Reading one's writes: a query waits until the tables that answer it have all positions of its headers `At-Least`.

The query waits here, or at the worker that has the partition. At most `HTTP_PENDING` requests wait at a worker; one
more is answered at once that the worker is busy.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from projections.applying.projection_group import ProjectionGroup
from projections.applying.waits import MostAtOnce
from projections.http.at_least import LONGEST_WAIT, BadPositionHeader, read_all_at_least, read_at_least, read_wait
from projections.http.forwarding import HOP_SECONDS, Busy, Tables, read_answer, worker_of
from projections.http.problems import HttpProblem, NotNow
from projections.routing.workers import Workers
from projections.stores.declaration import projection_name
from projections.stores.rows import Quarantined
from streams.concurrency.tasks import all_of
from streams.journal.position import parse_place, stream_name, stream_slice, stream_type
from streams.runtime.web_server import cancelled_with_client, most_outgoing
from streams.web.health import json_response
from streams.web.operation import describe


def group_of(groups: Mapping[str, ProjectionGroup], projection: str) -> ProjectionGroup:
    """The group that a projection is in."""
    return next(group for group in groups.values() if any(table.name == projection for table in group.kept))


class ReadYourWrites:
    """The requests that wait at this worker, at most `most` at a time, for partitions here and at other workers."""

    def __init__(self, workers: Workers, partitions: int, sources: Mapping[str, ProjectionGroup], most: int) -> None:
        self._workers = workers
        self._partitions = partitions
        self._sources = sources
        self._waiting = MostAtOnce(most)
        self._asking = MostAtOnce(max(most_outgoing() // 2, 1))  # each has a connection; event streams have as many

    async def wait(self, request: Any, projections: Sequence[str]) -> None:
        """Wait for all positions that the headers of a request name, for the time that they say, and while its client
        is connected.

        Raises `BadPositionHeader`, `Unavailable`, and `NotNow` when the time is up.
        """
        headers = request.headers
        wanted = self.wanted(headers)
        seconds = read_wait(",".join(headers.getall("Prefer", ())))
        waits = [(names, stream, nr) for stream, nr in wanted.items() for names in self._together(stream, projections)]
        with cancelled_with_client(request):
            await all_of(self._reached(*wait, seconds) for wait in waits)

    def wanted(self, headers: Any) -> Mapping[str, int]:
        """By stream the commit that the headers of a request name. Raises `BadPositionHeader`."""
        return read_all_at_least(headers.getall("At-Least"), self._partitions, self._sources)

    def _together(self, stream: str, projections: Sequence[str]) -> list[list[str]]:
        """The asked projections that read a stream, or all that read it, in groups that are on the same workers."""
        names = [table.name for table in self._sources[stream_type(stream)].kept]
        return self._workers.together([name for name in names if name in projections] or names)

    async def _reached(self, names: Sequence[str], stream: str, nr: int, seconds: float) -> None:
        """Wait until the tables have a commit. Raises `NotNow` when the time is up, or a worker cannot be asked."""
        workers, partition = self._workers, stream_slice(stream)
        if partition in workers.here(names[0]):
            return await self._reached_here(names, stream, nr, seconds)
        url = workers.url_of(names[0], partition)
        path = f"{url}/applied/{stream}/{nr}?seconds={seconds}&projections={','.join(names)}"
        worker = worker_of([partition])
        with self._waiting.one_more(), self._asking.one_more():
            async with workers.ask("GET", path, workers.hop({}), seconds + HOP_SECONDS, worker=worker) as response:
                if response.status == 429:
                    raise Busy(f"{worker} is busy: as many requests wait there for positions as may")
                if response.status != 200:
                    raise NotNow(_detail(await read_answer(response)) or f"{worker} cannot answer now")

    async def _reached_here(self, names: Sequence[str], stream: str, nr: int, seconds: float) -> None:
        source, partition = self._sources[stream_type(stream)], stream_slice(stream)
        if not await source.wait_for(partition, nr, names, seconds, self._waiting):
            why = source.why_not(partition, names)
            raise NotNow(f"{stream}:{nr} is not applied yet" + (f": {why}" if why else ""))

    # -- rows in quarantine -------------------------------------------------------------------------------------

    def refuse_quarantined_key(self, request: Any, partition: int, table: str, key: str) -> None:
        """Raise `NotNow` where a request asks to see a write and the row of its key is in quarantine: the row lacks
        events of its key."""
        if "At-Least" in request.headers and (quarantined := self._quarantined(partition, table).get(key)) is not None:
            raise NotNow(f"{key} waits in {table}: {quarantined.error}")

    def refuse_quarantined(self, request: Any, partitions: Sequence[int], tables: Tables) -> None:
        """Raise `NotNow` where a request asks to see a write, and a row of these partitions is in quarantine since the
        commit that the request names or an earlier one: its key may be the one that was written."""
        if "At-Least" not in request.headers:
            return
        wanted = self.wanted(request.headers)
        for table in tables.values():
            type = group_of(self._sources, projection_name(table)).type
            for partition in partitions:
                nr = wanted.get(stream_name(type, partition), 0)
                for key, quarantined in self._quarantined(partition, table).items():
                    if parse_place(quarantined.position)[0] <= nr:
                        raise NotNow(f"{key} waits in {table}: {quarantined.error}")

    def _quarantined(self, partition: int, table: str) -> Mapping[str, Quarantined]:
        fold = group_of(self._sources, projection_name(table)).table(partition, table)
        return {} if fold is None else fold.quarantined

    # -- asked by other workers ---------------------------------------------------------------------------------

    def add_view(self, app: Any) -> None:
        """The view that other workers use to wait for a position here."""

        @app.page("/applied/{stream}/{nr}")
        @describe(
            "projections",
            "Wait for a position here",
            hidden="workers wait at each other for a position; clients have At-Least",
        )
        async def applied(view: Any, request: Any, stream: str, nr: str) -> Any:
            stream, number = read_at_least(f"{stream}:{nr}", self._partitions, self._sources)
            seconds = _read_seconds(request.query.get("seconds", "0"))
            known = [table.name for table in self._sources[stream_type(stream)].kept]
            names = [name for name in request.query.get("projections", "").split(",") if name in known] or known
            try:
                with cancelled_with_client(request):
                    await self._reached_here(names, stream, number, seconds)
            except Busy as error:
                raise HttpProblem(429, "Busy", str(error)) from None
            return json_response(view, {"applied": True})


def _read_seconds(text: str) -> float:
    """Seconds to wait, `LONGEST_WAIT` at most. Raises `BadPositionHeader`."""
    try:
        seconds = float(text)
    except ValueError as error:
        raise BadPositionHeader(str(error)) from None
    if math.isnan(seconds):
        raise BadPositionHeader("seconds=nan: a number")
    return min(max(seconds, 0.0), LONGEST_WAIT)


def _detail(body: bytes) -> str:
    """The detail of a problem, empty for a body that is no problem."""
    try:
        return str(json.loads(body)["detail"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""
