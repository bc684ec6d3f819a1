"""HTTP requests as actions of the audit, and answers as what came of them."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from aiohttp import hdrs, web

from streams.access.principal import Identified
from streams.audit.records import NOBODY, ActionEnded, ActionRequested, Outcome, in_short, parameters_of

MOST_CLIENT = 200
"""Characters of what a program calls itself."""
_VARIABLE = re.compile(r"\{[^{}]*\}")


def action_of(request: web.Request, who: Identified | None, app: str, body: bytes = b"") -> ActionRequested:
    """What a request asks for: the action is its path without the variables, its parameters are these and the fields of
    its body, of which `reason` says why."""
    resource = request.match_info.route.resource
    pattern = request.path if resource is None else resource.canonical
    fields = _fields(body)
    reason = fields.pop("reason", None)
    return ActionRequested(
        action=" ".join(part for part in _VARIABLE.sub("", pattern).split("/") if part),
        app=app,
        who=NOBODY if who is None else str(who.principal),
        address=in_short(request.remote or ""),
        client=in_short(request.headers.get(hdrs.USER_AGENT, "")[:MOST_CLIENT]),
        # Those of the path first, since of many the last are left out, and with their own values.
        parameters=parameters_of({**request.match_info, **fields, **request.match_info}),
        reason=in_short(reason) if isinstance(reason, str) else "",
    )


def ending_of(answer: web.StreamResponse) -> ActionEnded:
    """What an answer says that came of it: its body is the effect, or a problem."""
    body = answer.body if isinstance(answer, web.Response) and isinstance(answer.body, bytes) else b""
    if answer.status < 400:
        return ActionEnded(Outcome.ACCEPTED, in_short(body.decode(errors="replace")))
    return ActionEnded(_outcome(answer.status), in_short(f"{answer.status}: {_fields(body).get('detail', '')}"))


def ending_by(error: BaseException) -> ActionEnded:
    """What came of it when this was raised. What nobody has foreseen is named, and not shown."""
    status = getattr(error, "status", None)
    if not isinstance(status, int):
        return ActionEnded(Outcome.FAILED, type(error).__name__)
    return ActionEnded(_outcome(status), in_short(f"{status}: {error}"))


def _outcome(status: int) -> Outcome:
    return Outcome.REFUSED if status < 500 else Outcome.FAILED


def _fields(body: bytes) -> dict[str, Any]:
    try:
        fields = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}
