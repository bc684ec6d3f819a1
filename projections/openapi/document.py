"""The OpenAPI document of an app: made of what its views say beside them, of its commands and of its events.

https://spec.openapis.org/oas/v3.1.1.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter
from typing import Any

import msgspec

from projections.http.paths import collection
from projections.http.problems import Problem
from projections.openapi.parts import AT_THE_DOOR, components, security
from projections.openapi.schemas import TypeSchemas, schemas_of
from projections.streaming.sse import EVENT_STREAM
from streams.aggregate_type import AggregateType
from streams.runtime.web_guard import ANY_HOST
from streams.web.operation import Operation, Response

VARIABLE = re.compile(r"\{(\w+)(?::[^{}]*)?\}")
"""A variable in a path of aiohttp: `{id}`, or `{id:[^/]+}` with a pattern."""


@dataclass(frozen=True)
class Route:
    """One method of one path, its name, which never changes, and what its view says of itself."""

    path: str
    method: str
    name: str
    described: Operation | None


def routes_of(app: Any) -> Iterator[Route]:
    """All routes of a Faust app, but that HEAD goes without saying where there is GET."""
    for pattern, view in app.web.views.items():
        path = VARIABLE.sub(r"{\1}", pattern)
        for method in sorted(view.get_methods() - {"HEAD"}):
            handler = view.methods[method.lower()]
            yield Route(path, method.lower(), view.view_name, getattr(handler, "described", None))


def document(
    title: str,
    version: str,
    about: str,
    routes: Iterable[Route],
    contexts: Mapping[str, AggregateType],
    app: str = "projections",
) -> dict[str, Any]:
    """The document. `app` is the context of what is about the app itself. Raises `KeyError` for a header or a problem
    that `parts` does not know."""
    all = [(route, route.described) for route in routes if route.described is not None]
    operations = [(route, operation) for route, operation in all if not operation.hidden]
    events = {type_: list(context.decider.events.values()) for type_, context in contexts.items()}
    known = schemas_of(
        [Problem, *chain.from_iterable(_types(operation) for _, operation in operations), *chain(*events.values())],
        contexts,
    )
    paths: dict[str, dict[str, Any]] = {}
    for route, described in operations:
        rights = [contexts[type].name if type in contexts else type for type in described.of] or [app]
        operation = _operation(route, described, known)
        operation["security"] = security(described.role, sorted(set(rights)))
        paths.setdefault(route.path, {})[route.method] = operation
    problems = {status for route, operation in operations for status in _problems(route, operation)}
    request = {name for _, operation in operations for name in operation.all_headers}
    response = {name for _, operation in operations for answer in operation.answers.values() for name in answer.headers}
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version, "description": about, "license": {"name": "Apache-2.0"}},
        "servers": [{"url": "/"}],
        "tags": _tags([operation.tag for _, operation in operations], contexts),
        "paths": paths,
        "components": {"schemas": known.components, **components(problems, request, response, sorted(contexts))},
        "x-events": {
            type_: {
                "topic": f"{type_}-events",
                "schemas": {event.__name__: known.of(event) for event in sorted(classes, key=attrgetter("__name__"))},
            }
            for type_, classes in events.items()
        },
    }


def _types(described: Operation) -> Iterator[Any]:
    yield from (answer.type for answer in described.answers.values() if answer.type is not None)
    if described.body is not None:
        yield described.body


def _tags(tags: Sequence[str], contexts: Mapping[str, AggregateType]) -> list[dict[str, str]]:
    """The tags, of which that of an aggregate type names its topics, commands and events."""
    types = {collection(type_): type_ for type_ in contexts}
    described: list[dict[str, str]] = []
    for tag in dict.fromkeys(tags):
        about, type_ = {"name": tag}, types.get(tag)
        if type_ is not None:
            decider = contexts[type_].decider
            commands, events = ", ".join(sorted(decider.commands)), ", ".join(sorted(decider.events))
            about["description"] = (
                f"Commands are taken on the topic `{type_}-commands` ({commands}), and events are published on "
                f"`{type_}-events` ({events}), as CloudEvents."
            )
        described.append(about)
    return described


def _operation(route: Route, described: Operation, known: TypeSchemas) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "tags": [described.tag],
        "summary": described.summary,
        "parameters": _parameters(route, described),
        "responses": {
            **{str(status): _answer(answer, described, known) for status, answer in described.answers.items()},
            **{
                str(status): {"$ref": f"#/components/responses/Problem{status}"}
                for status in sorted(_problems(route, described))
            },
        },
    }
    if described.body is not None:
        content = {"application/json": {"schema": known.of(described.body)}}
        # Also where `{}` would do: a request without a body is not said to be JSON, and so is refused.
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _problems(route: Route, described: Operation) -> set[int]:
    return {*described.all_problems, *(() if ANY_HOST.fullmatch(route.path) else AT_THE_DOOR)}


def _parameters(route: Route, described: Operation) -> list[dict[str, Any]]:
    path = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": described.path.get(name, f"Its {name}"),
            "schema": {"type": "string", "minLength": 1},
        }
        for name in VARIABLE.findall(route.path)
    ]
    headers = [{"$ref": f"#/components/parameters/{name}"} for name in described.all_headers]
    return [*path, *_query(described.query), *headers]


def _query(query: type | None) -> list[dict[str, Any]]:
    """The fields of a struct as parameters."""
    if query is None:
        return []
    _, schemas = msgspec.json.schema_components([query])
    fields = schemas[query.__name__]
    return [
        {
            "name": name,
            "in": "query",
            "required": name in fields["required"],
            **({"description": schema.pop("description")} if "description" in schema else {}),
            "schema": schema,
        }
        for name, schema in fields["properties"].items()
    ]


def _answer(answer: Response, described: Operation, known: TypeSchemas) -> dict[str, Any]:
    response: dict[str, Any] = {"description": answer.description}
    if answer.headers:
        response["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in answer.headers}
    if answer.media:
        schema = {"type": "string"} if answer.type is None else known.of(answer.type)
        response["content"] = {answer.media: {"schema": schema}}
        if described.stream and answer.type is not None:
            response["content"][EVENT_STREAM] = {"schema": {"type": "string", "description": described.stream}}
    return response
