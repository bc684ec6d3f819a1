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
from msgspec.structs import replace

from projections.app import ReadSide
from projections.applying.partition_processor import PartitionProcessor
from projections.applying.projection_group import ProjectionGroup
from projections.applying.refolding import RefoldedRow, fold_key, fold_waiting
from projections.http.bodies import Post, read_body
from projections.http.forwarding import HOP, HOP_SECONDS
from projections.http.problems import HttpProblem, NotNow, reading_from
from projections.operations import status
from projections.operations.orders import (
    DropAnswer,
    DropOrder,
    PauseAnswer,
    PauseOrder,
    PlainOrder,
    RebuildAnswer,
    RebuildOrder,
    RowOfTable,
    RowRebuilt,
    SkipAnswer,
    SkipOrder,
)
from projections.operations.worker_status import status_here
from projections.publishing.publication import events_in
from projections.stores.declaration import Table, projection_name
from schemas.codec import Undecodable
from streams.access.principal import Role, current_principal
from streams.concurrency.tasks import all_of
from streams.journal.port import Unavailable
from streams.journal.position import BadPosition, Position, stream_name
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
    @describe("projections", "What every projection is doing", status.Projections, reads=True, role=Role.AUDITOR)
    async def all_of_them(view: Any, request: Any) -> Any:
        return await _answered(operations.all(view, request))

    @side.app.page("/projections/{name}", name="projection")
    @describe(
        "projections",
        "What one projection is doing",
        status.ProjectionStatus,
        reads=True,
        problems=(404,),
        role=Role.AUDITOR,
    )
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
            role=Role.OPERATOR,
        )
        async def ordered(view: Any, request: Any, **of: str) -> Any:
            return await _answered(take(view, request, **of))

    takes("rebuild", operations.rebuild, "Build its table anew", RebuildOrder, RebuildAnswer, done=False)
    takes("pause", operations.pause, "Let it stand still", PauseOrder, PauseAnswer)
    takes("resume", operations.resume, "Let it go on", PlainOrder, PauseAnswer)
    takes("skip", operations.skip, "Leave out an event that cannot be applied", SkipOrder, SkipAnswer)
    takes("drop", operations.drop, "Remove a table that nobody needs", DropOrder, DropAnswer, done=False)

    @side.app.page("/projections/{name}/rows/{key}/rebuild", base=Post, name="row-rebuild")
    @describe(
        "projections",
        "Fold one row anew",
        RowRebuilt,
        body=PlainOrder,
        problems=(404, 409, 503),
        role=Role.OPERATOR,
    )
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
            [names] = [together for together in doors.together(self._names) if name in together]
            return doors.part(view, name, await status_here(side, names))
        await doors.read_your_writes(request, [])
        return json_response(view, status.Projections(await status.gather(side)))

    async def one(self, view: Any, request: Any, name: str) -> Any:
        await self._side.doors.read_your_writes(request, [])
        return json_response(view, await self._status(name))

    async def rebuild(self, view: Any, request: Any, name: str) -> Any:
        _, declared = self._find(name)
        body, control = await read_body(request, RebuildOrder), self._side.control
        version, serving = declared.projection.version, control.serving(name)
        former = control.wanted(name, version)
        if body.again or former == serving:
            await control.build_again(name, version)
            if former != serving:  # it would never be complete, and nobody would name it
                await control.drop(former)
            _say(request, "rebuild", name, again=body.again, reason=body.reason)
        rebuilt = RebuildAnswer(name, control.wanted(name, version), serving)
        return json_response(view, rebuilt, 202, {"Location": f"/projections/{name}"})

    async def pause(self, view: Any, request: Any, name: str) -> Any:
        async def take() -> tuple[int, PauseAnswer]:
            reason = (await read_body(request, PauseOrder)).reason
            offset = await self._side.control.pause(name, reason)
            _say(request, "pause", name, reason=reason)
            return offset, PauseAnswer(name, reason)

        return await self._ordered(view, request, name, take)

    async def resume(self, view: Any, request: Any, name: str) -> Any:
        async def take() -> tuple[int, PauseAnswer]:
            await read_body(request, PlainOrder)
            offset = await self._side.control.resume(name)
            _say(request, "resume", name)
            return offset, PauseAnswer(name, None)

        return await self._ordered(view, request, name, take)

    async def skip(self, view: Any, request: Any, name: str) -> Any:
        async def take() -> tuple[int, SkipAnswer]:
            body = await read_body(request, SkipOrder)
            position = str(await self._event(self._find(name)[0], body.position))
            offset = await self._side.control.skip(name, position, body.reason)
            _say(request, "skip", name, position=position, reason=body.reason)
            return offset, SkipAnswer(name, position, body.reason)

        return await self._ordered(view, request, name, take)

    async def drop(self, view: Any, request: Any, name: str) -> Any:
        projection = await self._status(name)
        body = await read_body(request, DropOrder)
        table = body.table
        if projection_name(table) != name:
            raise HttpProblem(422, "Not valid", f"{table!r} is no table of {name} - at `$.table`")
        state = next((status.state for status in projection.tables if status.table == table), None)
        if state is None and table not in self._side.control.dropped():
            raise HttpProblem(404, "Not found", f"there is no table {table}")
        if state not in (None, "to drop"):
            raise HttpProblem(409, "Still needed", f"{table} is {state}: only what nobody needs any more is removed")
        await self._side.control.drop(table)
        _say(request, "drop", name, table=table, reason=body.reason)
        return json_response(view, DropAnswer(name, table), 202, {"Location": f"/projections/{name}"})

    async def rebuild_row(self, view: Any, request: Any, name: str, key: str) -> Any:
        source, declared = self._find(name)
        doors = self._side.doors

        async def here() -> list[RefoldedRow]:
            numbers = [n for n in doors.here(name) if declared.projection.local or n == doors.partition(key)]
            partitions = [self._partition(source, number) for number in numbers]
            # Side by side, so that those of one log read it together.
            found = await all_of(partition.while_open(fold_key(partition, name, key)) for partition in partitions)
            return [row for rows in found for row in rows]

        if HOP in request.headers:
            return doors.part(view, name, await here())
        await read_body(request, PlainOrder)
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
        self, view: Any, request: Any, name: str, take: Callable[[], Awaitable[tuple[int, PauseAnswer | SkipAnswer]]]
    ) -> Any:
        """Take an order, which is to give its offset and the answer, and have all workers follow it; or follow one that
        another worker has taken."""
        self._find(name)
        if HOP in request.headers:
            return await self._follow(view, request, name)
        offset, answer = await take()
        skipped = answer.position if isinstance(answer, SkipAnswer) else ""
        path = f"{request.rel_url.raw_path}?offset={offset}&skipped={skipped}"
        seconds = FOLD_SECONDS if skipped else HOP_SECONDS
        try:
            answers = await self._side.doors.each(
                name, path, {}, lambda: self._followed(name, offset, skipped), "POST", seconds
            )
        except (NotNow, Unavailable, JournalBehind, TimeoutError):
            return json_response(view, answer, 202, {"Location": f"/projections/{name}"})
        if isinstance(answer, SkipAnswer):
            answer = replace(answer, rows=[msgspec.convert(row, RefoldedRow) for rows in answers for row in rows])
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
        if skipped in self._side.control.skips(name):
            number = Position.parse(skipped).slice
            if number in self._side.doors.here(name):
                partition = self._partition(source, number)
                return await partition.while_open(fold_waiting(partition, name, skipped))
        return []

    # -- what there is --------------------------------------------------------------------------------------------

    @property
    def _names(self) -> list[str]:
        return [table.name for source in self._side.sources.values() for table in source.kept]

    def _find(self, name: str) -> tuple[ProjectionGroup, Table]:
        """The newest version of a projection. Raises `HttpProblem`."""
        groups = self._side.sources.values()
        versions = [(group, table) for group in groups for table in group.kept if table.name == name]
        if not versions:
            raise HttpProblem(404, "Not found", f"there is no projection {name}")
        return max(versions, key=lambda version: version[1].projection.version)

    async def _status(self, name: str) -> status.ProjectionStatus:
        for projection in await status.gather(self._side):
            if projection.name == name:
                return projection
        raise HttpProblem(404, "Not found", f"there is no projection {name}")

    def _partition(self, source: ProjectionGroup, number: int) -> PartitionProcessor:
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
                logs = self._side.logs[source.type]
                for commit in await logs.of(position.slice).commits(position.nr - 1, 1):
                    events = dict(events_in(commit, position.slice, logs.slices))
                    if commit.nr == position.nr and position.index in events:
                        return position
        raise HttpProblem(422, "Not valid", f"there is no {source.type} event at {text} - at `$.position`")


def _say(request: Any, order: str, name: str, **of: object) -> None:
    """Who has changed what."""
    who = current_principal() or request.remote
    said = {key: value for key, value in of.items() if value is not None}
    log.warning("%s of %s, ordered by %r: %s", order, name, str(who), said or "")
