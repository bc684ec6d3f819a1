"""The schemas of events over HTTP, by the fingerprint in an event's header, for readers in any language."""

from __future__ import annotations

import re
from operator import itemgetter
from typing import Any, TypedDict

from projections.app import ReadSide
from projections.http.problems import BadRequest
from schemas.registry import Schema
from streams.access.principal import Role
from streams.runtime.web_guard import problem_response
from streams.web.health import json_response
from streams.web.operation import Response, describe

FINGERPRINT = re.compile("[0-9a-f]{16}")
FOR_EVER = "public, max-age=31536000, immutable"


class SchemaNamed(TypedDict):
    """A schema by its full name, its version and its fingerprint (CRC-64-AVRO)."""

    type: str
    name: str
    version: int
    fingerprint: str


class SchemaList(TypedDict):
    """The schemas that this code knows."""

    schemas: list[SchemaNamed]


def add_schemas(side: ReadSide) -> None:
    """Serve `/schemas` and `/schemas/{fingerprint}`; any worker answers."""

    @side.app.page("/schemas")
    @describe("schemas", "The Avro schemas of all events", SchemaList, role=Role.READER, of=tuple(side.contexts))
    async def schemas(view: Any, request: Any) -> Any:
        known = [
            {"type": type, **_summary(Schema.parse(json))}
            for type, context in side.contexts.items()
            for json in context.events.schemas.values()
        ]
        return json_response(view, {"schemas": sorted(known, key=itemgetter("type", "name", "version"))})

    @side.app.page("/schemas/{fingerprint}")
    @describe(
        "schemas",
        "One Avro schema, for ever the same",
        Response("The schema", dict[str, Any], headers=("ETag",)),
        path={"fingerprint": "CRC-64-AVRO in 16 hex digits, as in the header of an event"},
        problems=(400, 404, 503),
        role=Role.READER,
        of=tuple(side.contexts),
    )
    async def schema(view: Any, request: Any, fingerprint: str) -> Any:
        if not FINGERPRINT.fullmatch(fingerprint):
            raise BadRequest(f"{fingerprint!r} is no fingerprint: 16 hex digits in lower case")
        json = await _find(side, fingerprint)
        if json is None:
            return problem_response(404, "Not found", f"there is no schema {fingerprint}")
        headers = {"ETag": f'"{fingerprint}"', "Cache-Control": FOR_EVER}
        return view.bytes(json.encode(), content_type="application/json", headers=headers)


async def _find(side: ReadSide, fingerprint: str) -> str | None:
    """A schema as JSON, from this code, or from a journal where newer code has put it. Raises `Unavailable`."""
    for context in side.contexts.values():
        if json := context.events.schemas.get(fingerprint):
            return json
    for journal in side.journals.values():
        if json := (await journal.schemas()).get(fingerprint):
            return json
    return None


def _summary(schema: Schema) -> dict[str, Any]:
    return {"name": schema.full_name, "version": schema.version, "fingerprint": schema.fingerprint}
