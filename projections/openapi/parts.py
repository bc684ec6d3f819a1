"""What all operations of the OpenAPI document share: headers, problems, and the form of values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any

from streams.access.principal import Role

REQUEST_HEADERS: Mapping[str, str] = {
    "At-Least": "Read your writes: the `position` of a reply, as `order-3:125`, or several with commas between; "
    "an `ETag` is one, too. The answer shows them all, or is 503.",
    "Prefer": "`wait=SECONDS`, a whole number: how long to wait; 5 without it, 60 at most. What is no such "
    "number, and other preferences, are ignored.",
    "If-None-Match": "Of a query: the `ETag`s of answers that you have, or `*`: 304 if it is one of them. Of a "
    "command: `*`: its aggregate is not to exist yet.",
    "If-Match": "What the aggregate of a command is to be: an `ETag` of its row, a sequence as replies have it, "
    "or `*` for any that exists. 412 if it is another one by now.",
    "Last-Event-ID": "With `Accept: text/event-stream`: the `id` of the last event seen, to go on behind it.",
    "Idempotency-Key": "The command id: the same one sent again has no second effect. Without it a new one is made.",
    "X-Correlation-ID": "Carried to the events and to whatever they cause.",
}

RESPONSE_HEADERS: Mapping[str, str] = {
    "ETag": "What is shown: of a row `<table>/<position>/<sequence>/<hash>`, which a command takes as `If-Match`.",
    "Position": "That of the row: the newest event in it, as `order-3:125:0`.",
    "Sequence": "That of the aggregate as the row shows it, which a command takes as `If-Match`; not of a row "
    "that an older release has written.",
    "Location": "Where to ask what became of it.",
    "Retry-After": "Seconds after which to try again.",
}

_ID = {"type": "string", "minLength": 1, "maxLength": 512}
_FORMS: Mapping[str, Mapping[str, Any]] = {
    "Idempotency-Key": _ID,
    "X-Correlation-ID": _ID,
    "Sequence": {"type": "string", "pattern": "^[0-9]+$"},
}
"""The schemas of headers that are more than text."""

PROBLEMS: Mapping[int, str] = {
    400: "The request is not as it must be; the detail says what is wrong",
    401: "Nobody knows who asks: the token or the certificate is missing, or does not hold",
    403: "An order from a page of another site, a question in the name of a worker, or one who may not",
    404: "There is no such thing",
    408: "The body did not come in time",
    409: "It cannot be done as things are",
    412: "What `If-Match` or `If-None-Match` expects is not so: `aggregate.sequence` is what it is",
    413: "The body is too large",
    415: "The `Content-Type` is not `application/json`",
    421: "The `Host` is not a name of this system",
    422: "The body does not fit its schema, or what it names",
    429: "Too much at once: try again later",
    503: "Not now: a rebalance, a recovery, or a server that does not answer. Nothing is lost; try again",
}
_TRY_AGAIN = (429, 503)
SECURITY: Mapping[str, Any] = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "A token of the file HTTP_TOKENS_FILE, or a JWT of the issuer HTTP_OIDC_ISSUER. Only where "
        "workers are set to know who asks: else nobody need say so.",
    },
    "certificate": {"type": "mutualTLS", "description": "A client certificate of the authority HTTP_CLIENT_CA_FILE."},
}
AT_THE_DOOR = frozenset({421})
"""What any operation may answer but those that take any `Host`."""

PROBLEM_TYPE = "application/problem+json"


def components(problems: Set[int], request: set[str], response: set[str], types: Sequence[str]) -> dict[str, Any]:
    """Those of them that are referred to. Positions are those of streams of these aggregate types."""
    commit = f"({'|'.join(types)})-[0-9]{{1,4}}:[0-9]{{1,18}}"
    tag = f"[A-Za-z0-9._-]+/{commit}:[0-9]{{1,9}}/[0-9]{{1,18}}/[0-9a-f]{{16}}"
    position = f'({commit}(:[0-9]{{1,18}})?|(W/)?"{tag}")'
    forms = {**_FORMS, "At-Least": {"type": "string", "pattern": f"^{position}( ?, ?{position})*$"}}

    def described(name: str, about: str) -> dict[str, Any]:
        return {"description": about, "schema": forms.get(name, {"type": "string"})}

    return {
        "securitySchemes": dict(SECURITY),
        "parameters": {
            name: {"name": name, "in": "header", "required": False, **described(name, REQUEST_HEADERS[name])}
            for name in sorted(request)
        },
        "headers": {name: described(name, RESPONSE_HEADERS[name]) for name in sorted(response | {"Retry-After"})},
        "responses": {f"Problem{status}": _problem(status) for status in sorted(problems)},
    }


def security(role: Role | None, contexts: Sequence[str]) -> list[dict[str, list[str]]]:
    """The ways to have the right to an operation: each scheme with each role that will do, as `reader@orders`."""
    if role is None:
        return []
    return [{scheme: [f"{role}@{context}"]} for context in contexts for scheme in SECURITY]


def _problem(status: int) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "description": PROBLEMS[status],
        "content": {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    if status in _TRY_AGAIN:
        answer["headers"] = {"Retry-After": {"$ref": "#/components/headers/Retry-After"}}
    return answer
