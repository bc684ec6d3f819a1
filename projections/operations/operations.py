"""Projections over HTTP: what they are doing, and orders to them. Any worker takes an order.

An order is a fact on the control topic, and stands when Kafka has it. Then the workers are asked to follow it at once,
so that who has got 200 sees it done. Where that cannot be asked for just now the answer is 202, and they follow by
themselves.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from projections.app import ReadSide
from projections.applying.refolding import RefoldedRow, fold_key, fold_waiting
from projections.applying.source import ProjectionGroup
from projections.http.bodies import Post, read_body
from projections.http.forwarding import HOP, HOP_SECONDS
from projections.http.problems import HttpProblem, NotNow, reading_from
from projections.operations import status
from projections.operations.orders import (
    DropOrder,
    Dropped,
    NoParameters,
    Paused,
    PauseOrder,
    RebuildOrder,
    Rebuilt,
    RowOfTable,
    RowRebuilt,
    SkipOrder,
    Skipped,
)
from projections.operations.worker_status import tell
from projections.stores.declaration import Table, projection_name, version_of
from schemas.codec import Undecodable
from streams.journal.port import Unavailable, stream_name
from streams.journal.position import BadPosition, Position
from streams.kafka.published_through import JournalBehind
from streams.web.health import json_response
from streams.web.operation import Response, describe

log = logging.getLogger(__name__)

FOLD_SECONDS = 600.0
"""For so long another worker may fold rows anew: a local one from the whole log of a partition."""


def add_operations(side: ReadSide) -> None:
    """Serve `/projections`, and take orders beneath it."""
    operations = Operations(side)

    @side.app.page("/projections", name="projections")
    @describe("projections", "What every projection is doing", status.Projections, reads=True)
    async def all_of_them(view: Any, request: Any) -> Any:
        return await _answered(operations.all(view, request))

    @side.app.page("/projections/{name}", name="projection")
    @describe("projections", "What one projection is doing", status.ProjectionStatus, reads=True, problems=(404,))
    async def one(view: Any, request: Any, name: str) -> Any:
        return await _answered(operations.one(view, request, name))

    def takes(
        order: str, take: Callable[..., Awaitable[Any]], summary: str, body: type, answer: type, done: bool = True
    ) -> None:
        ordered_only = Response("Ordered: the workers follow by themselves", answer, headers=("Location",))

        @side.app.page(f"/projections/{{name}}/{order}", base=Post, name=f"projection-{order}")
        @describe(
            "projections",
            summary,
            Response("Done", answer) if done else None,
            body=body,
            others={202: ordered_only},
            problems=(404, 409, 503) if order == "drop" else (404, 503),
        )
        async def ordered(view: Any, request: Any, **of: str) -> Any:
            return await _answered(take(view, request, **of))

    takes("rebuild", operations.rebuild, "Build its table anew", RebuildOrder, Rebuilt, done=False)
    takes("pause", operations.pause, "Let it stand still", PauseOrder, Paused)
    takes("resume", operations.resume, "Let it go on", NoParameters, Paused)
    takes("skip", operations.skip, "Leave out an event that cannot be applied", SkipOrder, Skipped)
    takes("drop", operations.drop, "Remove a table that nobody needs", DropOrder, Dropped, done=False)

    @side.app.page("/projections/{name}/rows/{key}/rebuild", base=Post, name="row-rebuild")
    @describe("projections", "Fold one row anew", RowRebuilt, body=NoParameters, problems=(404, 409, 503))
    async def row_rebuild(view: Any, request: Any, name: str, key: str) -> Any:
        return await _answered(operations.rebuild_row(view, request, name, key))


async def _answered(answer: Awaitable[Any]) -> Any:
    """The answer. Raises `NotNow` where an order cannot be followed, or is not known to have arrived."""
    try:
        with reading_from("a store"):
            return await answer
    except (Undecodable, JournalBehind) as error:
        raise NotNow(str(error)) from None
    except TimeoutError:
        detail = "Kafka does not answer; the order may have arrived all the same: /projections says so"
        raise NotNow(detail) from None


class Operations:
    """The views; all of them raise what `_answered` knows."""

    def __init__(self, side: ReadSide) -> None:
        self._side = side

    async def all(self, view: Any, request: Any) -> Any:
        side, doors = self._side, self._side.doors
        if HOP in request.headers:
            name = request.query.get("of", "")
            self._find(name)
            [names] = [its for its in doors.together(self._names) if name in its]
            return doors.part(view, name, await tell(side, names))
        await doors.read_your_writes(request, [])
        return json_response(view, status.Projections(await status.gather(side)))

    async def one(self, view: Any, request: Any, name: str) -> Any:
        await self._side.doors.read_your_writes(request, [])
        return json_response(view, await self._status(name))

    async def rebuild(self, view: Any, request: Any, name: str) -> Any:
        _, kept = self._find(name)
        body, control = await read_body(request, RebuildOrder), self._side.control
        version, serving = kept.projection.version, control.serving(name)
        former = control.wanted(name, version)
        if body.again or former == serving:
            await control.build_again(name, version)
            if former != serving:  # it would never be complete, and nobody would name it
                await control.drop(former)
            _say(request, "rebuild", name, again=body.again)
        rebuilt = Rebuilt(name, control.wanted(name, version), serving)
        return json_response(view, rebuilt, 202, {"Location": f"/projections/{name}"})

    async def pause(self, view: Any, request: Any, name: str) -> Any:
        self._find(name)
        if HOP in request.headers:
            return await self._follow(view, request, name)
        body = await read_body(request, PauseOrder)
        offset = await self._side.control.pause(name, body.reason)
        _say(request, "pause", name, reason=body.reason)
        return await self._ordered(view, request, name, offset, Paused(name, body.reason))

    async def resume(self, view: Any, request: Any, name: str) -> Any:
        self._find(name)
        if HOP in request.headers:
            return await self._follow(view, request, name)
        await read_body(request, NoParameters)
        offset = await self._side.control.resume(name)
        _say(request, "resume", name)
        return await self._ordered(view, request, name, offset, Paused(name, None))

    async def skip(self, view: Any, request: Any, name: str) -> Any:
        source, _ = self._find(name)
        if HOP in request.headers:
            return await self._follow(view, request, name)
        body = await read_body(request, SkipOrder)
        position = str(await self._event(source, body.position))
        offset = await self._side.control.skip(name, position, body.reason)
        _say(request, "skip", name, position=position, reason=body.reason)
        return await self._ordered(view, request, name, offset, Skipped(name, position, body.reason), position)

    async def drop(self, view: Any, request: Any, name: str) -> Any:
        projection = await self._status(name)
        table = (await read_body(request, DropOrder)).table
        try:
            is_its = projection_name(table) == name and version_of(table) >= 0
        except ValueError:
            is_its = False
        if not is_its:
            raise HttpProblem(422, "Not valid", f"{table!r} is no table of {name} - at `$.table`")
        state = next((it.state for it in projection.tables if it.table == table), None)
        if state is None and table not in self._side.control.dropped():
            raise HttpProblem(404, "Not found", f"there is no table {table}")
        if state not in (None, "to drop"):
            raise HttpProblem(409, "Still needed", f"{table} is {state}: only what nobody needs any more is removed")
        await self._side.control.drop(table)
        _say(request, "drop", name, table=table)
        return json_response(view, Dropped(name, table), 202, {"Location": f"/projections/{name}"})

    async def rebuild_row(self, view: Any, request: Any, name: str, key: str) -> Any:
        source, kept = self._find(name)
        doors = self._side.doors

        async def here() -> list[RefoldedRow]:
            found: list[RefoldedRow] = []
            for partition in doors.here(name):
                if kept.projection.local or partition == doors.partition(key):
                    its = self._partition(source, partition)
                    found += await its.while_open(fold_key(its, name, key))
            return found

        if HOP in request.headers:
            return doors.part(view, name, await here())
        await read_body(request, NoParameters)
        answers = await doors.each(name, request.rel_url.raw_path, {}, here, "POST", FOLD_SECONDS)
        rows = [msgspec.convert(row, RefoldedRow) for answer in answers for row in answer]
        if not rows:
            raise HttpProblem(404, "Not found", f"there is no row {key} in {name}")
        waiting = [f"{row.table}: {row.waits.error}, at {row.waits.position}" for row in rows if row.waits is not None]
        if waiting:
            raise HttpProblem(409, "It raises still", "; ".join(waiting))
        _say(request, "rebuild", name, key=key)
        rebuilt = [RowOfTable(row.table, row.partition, row.position) for row in rows]
        return json_response(view, RowRebuilt(name, key, rebuilt))

    # -- following ------------------------------------------------------------------------------------------------

    async def _ordered(
        self, view: Any, request: Any, name: str, offset: int, answer: Paused | Skipped, skipped: str = ""
    ) -> Any:
        """Have all follow an order, and answer."""
        path = f"{request.rel_url.raw_path}?offset={offset}&skipped={skipped}"
        seconds = FOLD_SECONDS if skipped else HOP_SECONDS
        try:
            answers = await self._side.doors.each(
                name, path, {}, lambda: self._followed(name, offset, skipped), "POST", seconds
            )
        except (NotNow, Unavailable, JournalBehind, TimeoutError):
            return json_response(view, answer, 202, {"Location": f"/projections/{name}"})
        if isinstance(answer, Skipped):
            rows = [msgspec.convert(row, RefoldedRow) for of_worker in answers for row in of_worker]
            answer = msgspec.structs.replace(answer, rows=rows)
        return json_response(view, answer)

    async def _follow(self, view: Any, request: Any, name: str) -> Any:
        offset, skipped = request.query.get("offset", ""), request.query.get("skipped", "")
        if not (offset.isdecimal() and len(offset) < 19):
            raise HttpProblem(400, "Bad request", f"offset={offset!r}: the offset of an order")
        return self._side.doors.part(view, name, await self._followed(name, int(offset), skipped))

    async def _followed(self, name: str, offset: int, skipped: str) -> list[RefoldedRow]:
        """This worker does as it was ordered; the rows that it has folded anew for that."""
        source, _ = self._find(name)
        await self._side.control.wait_for(offset)
        await source.follow()
        found: list[RefoldedRow] = []
        if skipped in self._side.control.skips(name):
            partition = Position.parse(skipped).partition
            if partition in self._side.doors.here(name):
                its = self._partition(source, partition)
                found = await its.while_open(fold_waiting(its, name, skipped))
        return found

    # -- what there is --------------------------------------------------------------------------------------------

    @property
    def _names(self) -> list[str]:
        return [kept.name for source in self._side.sources.values() for kept in source.kept]

    def _find(self, name: str) -> tuple[ProjectionGroup, Table]:
        """The newest version of a projection. Raises `HttpProblem`."""
        found = [(source, it) for source in self._side.sources.values() for it in source.kept if it.name == name]
        if not found:
            raise HttpProblem(404, "Not found", f"there is no projection {name}")
        return max(found, key=lambda its: its[1].projection.version)

    async def _status(self, name: str) -> status.ProjectionStatus:
        for projection in await status.gather(self._side):
            if projection.name == name:
                return projection
        raise HttpProblem(404, "Not found", f"there is no projection {name}")

    def _partition(self, source: ProjectionGroup, number: int) -> Any:
        if number not in source.partitions:
            raise NotNow(f"{source.type}-{number} has just moved")
        return source.partitions[number]

    async def _event(self, source: ProjectionGroup, text: str) -> Position:
        """The position of an event that there is: one to come must not be left out by mistake. Raises `HttpProblem`,
        `Unavailable`."""
        with contextlib.suppress(BadPosition):
            position = Position.parse(text)
            if position.stream in [stream_name(source.type, number) for number in self._side.doors.all_partitions]:
                if source.type not in self._side.journals:
                    nr, _ = await self._side.topic_ends.of(position.stream)
                    if position.nr <= nr:
                        return position
                    raise HttpProblem(422, "Not valid", f"{source.type} has no event at {text} yet - at `$.position`")
                for commit in await self._side.journals[source.type].commits(position.stream, position.nr - 1, 1):
                    if commit.nr == position.nr and any(
                        event.is_event for event in commit.events[position.index :][:1]
                    ):
                        return position
        raise HttpProblem(422, "Not valid", f"there is no {source.type} event at {text} - at `$.position`")


def _say(request: Any, order: str, name: str, **of: object) -> None:
    """Who has changed what: there is no access log, and nobody else says so."""
    log.warning("%s of %s, ordered by %s: %s", order, name, request.remote, of or "")
