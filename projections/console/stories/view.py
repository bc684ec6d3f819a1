"""`GET /stories/{id}`: the story of a command, an event or a correlation id."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any

import msgspec
from msgspec.structs import replace

from projections.app import ReadSide
from projections.console.stories.story import Story, cause_of
from projections.console.stories.walk import Found, Journals, Walk
from projections.gateway.command_request import read_path_id
from projections.http.parameters import read_query
from projections.http.problems import HttpProblem, NotNow
from streams.access.principal import Role
from streams.concurrency.fairness import yield_if_due
from streams.journal.port import Commit, StoredEvent, log_name, log_type
from streams.observability.traces import sampled_trace_id
from streams.runtime.access_guard import may
from streams.web.health import json_response
from streams.web.operation import describe

NEWEST_COMMITS = 100
"""Of each log, among which an id is looked for that says nothing of where it is."""
AT_ONCE, SECONDS = 4, 25.0
"""Stories that a worker puts together at once, and how long one may take: each reads much of the journals."""


class Within(msgspec.Struct):
    """The parameters: where a command is whose id does not say it. Engine's ids do, and the newest are found."""

    type: Annotated[str, msgspec.Meta(description="The type of an aggregate of the story")] = ""
    aggregate: Annotated[str, msgspec.Meta(description="The id of that aggregate")] = ""


def add_stories(side: ReadSide) -> None:
    """Serve the route; any worker answers. Of contexts that whoever asks may not read a story has no more than the
    names."""
    turns = asyncio.Semaphore(AT_ONCE)

    @side.app.page("/stories/{id:[^/]+}", name="story")
    @describe(
        "stories",
        "What a command has caused, over all contexts, from its id, an event's position, or a correlation id",
        Story,
        query=Within,
        problems=(400, 404, 503),
        role=Role.READER,
        of=tuple(side.journals),
    )
    async def story(view: Any, request: Any, id: str) -> Any:
        wanted, within = read_path_id(request.rel_url.raw_path, 2), read_query(request.query, Within)
        sees = partial(may, side.app, Role.READER)
        walk = Walk(journals_of(side, sees))
        try:
            async with asyncio.timeout(SECONDS), turns:
                begin = [found for found in await _begin(side, walk, wanted, within) if sees(found.type)]
                if not begin:
                    raise HttpProblem(404, "Not found", f"there is no story of {wanted} here{_hint(within)}")
                found = await walk.story(wanted, begin)
                return json_response(view, replace(found, trace_url=_trace_url(side, found)))
        except TimeoutError:
            raise NotNow("the journals are slow, or others ask for stories: say `type` and `aggregate`") from None


def _trace_url(side: ReadSide, story: Story) -> str:
    page, trace_id = side.app.settings.traces_url, sampled_trace_id(story.traceparent)
    return page.replace("{trace_id}", trace_id) if trace_id else ""


def journals_of(side: ReadSide, sees: Callable[[str], bool]) -> Journals:
    """The journals of an app, for one who may read some of the types."""

    async def commit(type: str, slice: int, nr: int) -> Commit | None:
        found = await side.logs[type].of(slice).commits(nr - 1, 1)
        return found[0] if found and found[0].nr == nr else None

    return Journals(
        contexts=side.contexts,
        journals=side.journals,
        slices=lambda type: side.layouts[type].layout.slices,
        commit=commit,
        may=sees,
    )


async def _begin(side: ReadSide, walk: Walk, wanted: str, within: Within) -> Sequence[Found]:
    """The rows with which a story begins, as far as they can be found."""
    if within.type:
        if within.type not in side.journals or not may(side.app, Role.READER, within.type):
            return []
        return await walk.of_aggregate(within.type, within.aggregate, wanted)
    position = cause_of(wanted)
    found = await walk.event_at(position) if position is not None else None
    return [found] if found is not None else await _newest(side, wanted)


async def _newest(side: ReadSide, wanted: str) -> list[Found]:
    """The rows of the newest commits with this command or correlation id."""
    found = []
    for log, head in (await side.heads.of()).items():
        type = log_type(log)
        if head is None or not may(side.app, Role.READER, type):
            continue
        known = next(span for span in side.layouts[type].layout.logs if log_name(type, span.number) == log)
        after = max(head.nr - NEWEST_COMMITS, known.begins_after)
        for commit in await side.journals[type].commits(log, after, NEWEST_COMMITS):
            await yield_if_due()
            for index, event in enumerate(commit.events):
                if wanted in (event.command_id, event.correlation_id):
                    found.append(Found(type, StoredEvent(event, commit.nr, index, commit.recorded_at)))
    return found


def _hint(within: Within) -> str:
    if within.type:
        return f": not among the newest events of {within.type} {within.aggregate}"
    return ": say `type` and `aggregate` of what is not among the newest, or the position of an event"
