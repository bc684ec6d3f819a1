"""Which worker has a command: the one that has the partition of the command's id.

Whoever takes a request for another worker's command asks that worker in one hop, hands on its answer, and asks again
while the partition moves.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any
from urllib.parse import quote

from projections.gateway.replies import GatewayReplies
from projections.gateway.waiters import NOT_HERE, NotHere, TooMany
from projections.http.forwarding import HOP, HOP_SECONDS, handed_on, passed_on, worker_of
from projections.http.problems import NotNow
from projections.routing.workers import NO_WORKER, Workers
from streams.observability.traces import HEADER
from streams.runtime.web_server import most_outgoing

MOVING_SECONDS = 5.0
"""A partition without a worker is waited for as long, also when the client waits for less."""
AGAIN_SECONDS = 0.2
TOO_MANY = 429
PASSED_ON = ("Idempotency-Key", "If-Match", "If-None-Match", "X-Correlation-ID", HEADER)


class CommandRouter:
    """Asks the worker that has a command, unless that is this one: the commands that are here are those of `replies`.

    At most `most` requests wait for other workers at the same time.
    """

    def __init__(self, workers: Workers, replies: GatewayReplies, most: int) -> None:
        self._workers = workers
        self._replies = replies
        self._most = min(most, max(most_outgoing() // 2, 1))  # each has a connection
        self._asking: set[asyncio.Timeout] = set()
        self.ends = False

    def end(self) -> None:
        """End all requests to other workers but those to come: this worker ends."""
        self.ends = True
        for limit in self._asking:
            limit.reschedule(asyncio.get_running_loop().time())

    async def answer_elsewhere(
        self, view: Any, request: Any, id: str, seconds: float, body: bytes | None = None, traceparent: str = ""
    ) -> Any | None:
        """The answer of the worker that has a command, None when it is this one. `body` is that of a command to send,
        `traceparent` the span of the request, where that is not the sender's.
        It is no 429 once a worker was asked that may have sent the command: that would say that nothing was.

        Raises `NotHere` when no worker has it within `seconds`, `MOVING_SECONDS` at least, or this one ends.
        """
        if HOP in request.headers and not self._replies.has(id):
            raise NotHere("the partition has just moved")
        began = time.monotonic()
        headers = {"Idempotency-Key": id} | passed_on(request, PASSED_ON) if body is not None else {}
        if traceparent:
            headers[HEADER] = traceparent
        is_again = False
        while not self._replies.has(id):
            left = max(began + seconds - time.monotonic(), 0.0)
            try:
                return await self._ask(
                    view,
                    request.method,
                    request.rel_url.raw_path_qs,
                    id,
                    headers=headers,
                    seconds=left,
                    body=body,
                    is_again=is_again,
                )
            except NotHere:
                is_again = True
                if self.ends or time.monotonic() + AGAIN_SECONDS > began + max(seconds, MOVING_SECONDS):
                    raise
            await asyncio.sleep(AGAIN_SECONDS)
        return None

    async def status_elsewhere(self, view: Any, id: str) -> Any:
        """The status of a command, as the worker that has it knows it now. Raises `NotHere`."""
        return await self._ask(view, "GET", f"/commands/{quote(id, safe='')}", id, headers={}, seconds=0.0)

    async def _ask(
        self,
        view: Any,
        method: str,
        path: str,
        id: str,
        *,
        headers: dict[str, str],
        seconds: float,
        body: bytes | None = None,
        is_again: bool = False,
    ) -> Any:
        """The answer of the worker that has a command, which waits so many seconds. Raises `NotHere`, `TooMany`."""
        if len(self._asking) >= self._most:
            raise (NotHere if is_again else TooMany)(f"{self._most} requests wait for other workers already")
        workers = self._workers
        partition = workers.partition(id)
        headers = headers | workers.hop({}) | {"Prefer": f"wait={math.ceil(seconds)}"}
        worker, limit = worker_of([partition]), max(seconds, MOVING_SECONDS) + HOP_SECONDS
        ending = asyncio.timeout(None)
        try:
            if (url := workers.assigned_url(partition)) == workers.own_url:
                raise NotHere("the partition is about to be here")
            async with ending:
                self._asking.add(ending)
                async with workers.ask(method, url + path, headers, limit, worker=worker, body=body) as response:
                    if response.status in NO_WORKER or NOT_HERE in response.headers:
                        raise NotHere(f"{worker} does not have it any more")
                    if is_again and response.status == TOO_MANY:
                        raise NotHere(f"{worker} has no room")
                    return await handed_on(view, response)
        except TimeoutError:
            raise NotHere("this worker ends") from None
        except NotNow as error:
            raise NotHere(str(error)) from None
        finally:
            self._asking.discard(ending)
