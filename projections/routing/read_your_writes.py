"""Reading one's writes: a query waits until the tables that answer it have all positions of its headers `At-Least`.

Here, or at the worker that has the partition. As many requests may wait at a worker as `HTTP_PENDING` says; one more is
told at once that the worker is busy.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from projections.applying.source import ProjectionGroup
from projections.applying.waits import MostAtOnce
from projections.http.at_least import LONGEST_WAIT, BadPositionHeader, read_all_at_least, read_at_least, read_wait
from projections.http.forwarding import HOP_SECONDS, Busy, NotNow, not_now, read_answer, worker_of
from projections.routing.workers import Workers
from projections.stores.rows import StoreDown
from streams.concurrency.tasks import all_of
from streams.journal.port import stream_type
from streams.journal.position import stream_partition
from streams.runtime.web_server import cancelled_with_client, most_outgoing
from streams.web.health import json_response, problem


class ReadYourWrites:
    """Who waits at this worker, for partitions here and elsewhere; `most` at the same time."""

    def __init__(self, workers: Workers, partitions: int, sources: Mapping[str, ProjectionGroup], most: int) -> None:
        self._workers = workers
        self._partitions = partitions
        self._sources = sources
        self._waiting = MostAtOnce(most)
        self._asking = MostAtOnce(max(most_outgoing() // 2, 1))  # each has a connection; event streams have as many

    async def wait(self, request: Any, projections: Sequence[str]) -> None:
        """Wait for all positions that the headers of a request name, as long as they say and its client is there.
        Raises `BadPositionHeader`, `StoreDown`, and `NotNow` when the time is up."""
        headers = request.headers
        wanted = self.wanted(headers)
        seconds = read_wait(",".join(headers.getall("Prefer", ())))
        waits = [(names, stream, nr) for stream, nr in wanted.items() for names in self._together(stream, projections)]
        with cancelled_with_client(request):
            await all_of(self._reached(*it, seconds) for it in waits)

    def wanted(self, headers: Any) -> Mapping[str, int]:
        """By stream the commit that the headers of a request name. Raises `BadPositionHeader`."""
        return read_all_at_least(headers.getall("At-Least"), self._partitions, self._sources)

    def _together(self, stream: str, projections: Sequence[str]) -> list[list[str]]:
        """Those of the projections that are made of a stream, or all if none is, by where they are."""
        kept = [it.name for it in self._sources[stream_type(stream)].kept]
        return self._workers.together([name for name in kept if name in projections] or kept)

    async def _reached(self, names: Sequence[str], stream: str, nr: int, seconds: float) -> None:
        """Raises `NotNow` when the tables do not have the commit in time, and when they cannot be asked."""
        workers, partition = self._workers, stream_partition(stream)
        if partition in workers.here(names[0]):
            return await self._reached_here(names, stream, nr, seconds)
        url = next(url for url, ps in workers.workers(names[0]).items() if partition in ps)
        path = f"{url}/applied/{stream}/{nr}?seconds={seconds}&projections={','.join(names)}"
        worker = worker_of([partition])
        with self._waiting.one_more(), self._asking.one_more():
            async with workers.get(path, workers.hop({}), seconds + HOP_SECONDS, worker) as response:
                if response.status == 429:
                    raise Busy(f"{worker} is busy: as many requests wait there for positions as may")
                if response.status != 200:
                    raise NotNow(_detail(await read_answer(response)) or f"{worker} cannot answer now")

    async def _reached_here(self, names: Sequence[str], stream: str, nr: int, seconds: float) -> None:
        source, partition = self._sources[stream_type(stream)], stream_partition(stream)
        if not await source.wait_for(partition, nr, names, seconds, self._waiting):
            why = source.why_not(partition, names)
            raise NotNow(f"{stream}:{nr} is not applied yet" + (f": {why}" if why else ""))

    def add_view(self, app: Any) -> None:
        """The view that other workers use to wait for a position here."""

        @app.page("/applied/{stream}/{nr}")
        async def applied(view: Any, request: Any, stream: str, nr: str) -> Any:
            try:
                stream, number = read_at_least(f"{stream}:{nr}", self._partitions, self._sources)
                seconds = min(max(float(request.query.get("seconds", "0")), 0.0), LONGEST_WAIT)
                if math.isnan(seconds):
                    raise ValueError("seconds=nan: a number")
            except (BadPositionHeader, ValueError) as error:
                return problem(view, 400, "Bad position", str(error))
            known = [it.name for it in self._sources[stream_type(stream)].kept]
            names = [name for name in request.query.get("projections", "").split(",") if name in known] or known
            try:
                with cancelled_with_client(request):
                    await self._reached_here(names, stream, number, seconds)
            except Busy as error:
                return problem(view, 429, "Busy", str(error))
            except (NotNow, StoreDown) as error:
                return not_now(view, error)
            return json_response(view, {"applied": True})


def _detail(body: bytes) -> str:
    """What a problem says; nothing for what is none."""
    try:
        return str(json.loads(body)["detail"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""
