"""`/audit`: what operators have ordered, in all apps of the namespace, by HTTP and by the command line."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Any

import msgspec
from aiokafka.errors import KafkaError

from projections.app import ReadSide
from projections.http.pages import DEFAULT_LIMIT, Limit
from projections.http.parameters import EXAMPLE, read_query
from projections.http.problems import NotNow
from streams.access.principal import Role
from streams.audit.reading import AuditEntry, AuditLog, Wanted
from streams.kafka.client_factory import ClientFactory
from streams.web.health import json_response
from streams.web.operation import describe

AT_ONCE = 2
"""Requests that a worker looks through the topic for at once."""
SECONDS = 25.0

Text = Annotated[str, msgspec.Meta(max_length=512)]
Moment = Annotated[
    datetime,
    msgspec.Meta(
        tz=True,
        description="Those requested since then, in ISO 8601 with a zone",
        extra={EXAMPLE: "2026-12-24T18:00:00Z"},
    ),
]


class AuditQuery(msgspec.Struct):
    """Which actions."""

    limit: Limit = DEFAULT_LIMIT
    before: Annotated[int, msgspec.Meta(ge=0, description="The `next` of the page before")] | None = None
    since: Moment | None = None
    who: Annotated[Text, msgspec.Meta(description="What stands in the name of who asked")] = ""
    what: Annotated[Text, msgspec.Meta(description="What stands in the action, or in a parameter of it")] = ""
    type: Annotated[Text, msgspec.Meta(description="Those about aggregates of this type")] = ""
    id: Annotated[Text, msgspec.Meta(description="Those about the aggregate of this id")] = ""


class AuditPage(msgspec.Struct, frozen=True):
    """Actions, the newest first; `next` is null on the last page."""

    actions: list[AuditEntry]
    next: int | None


def add_audit(side: ReadSide) -> None:
    """Serve `/audit`; any worker answers."""
    side.have_audit_read()
    log = AuditLog(ClientFactory.of(side.app.settings), side.audit_topic.name)
    turns = asyncio.Semaphore(AT_ONCE)

    @side.app.page("/audit")
    @describe(
        "operations",
        "What operators have ordered, and what came of it",
        AuditPage,
        query=AuditQuery,
        problems=(400, 503),
        role=Role.AUDITOR,
    )
    async def audit(view: Any, request: Any) -> Any:
        query = read_query(request.query, AuditQuery)
        wanted = Wanted(since=query.since, who=query.who, what=query.what, type=query.type, id=query.id)
        try:
            async with asyncio.timeout(SECONDS), turns:
                found, more = await log.newest(wanted, query.limit, query.before)
        except (KafkaError, OSError) as error:  # also where the time is up
            detail = "the audit cannot be read: Kafka does not answer, or there is too much: say since when"
            raise NotNow(detail) from error
        return json_response(view, AuditPage(found, found[-1].offset if more else None))
