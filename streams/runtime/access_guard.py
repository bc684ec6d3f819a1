"""Each request held against what its route needs, and a trace of each that changes something.

What a route needs stands beside its view (`streams/web/operation.py`); one whose view says nothing needs an operator.
Where the settings have no way to say who one is (`streams.access.access`), whoever comes may do everything.

The log has a line for each change. What an operator orders is in the audit besides, before it is done: see
`streams.audit`.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from aiohttp import hdrs, web

from streams.access.access import Access
from streams.access.principal import (
    Identified,
    Need,
    NotKnown,
    NotKnownNow,
    Principal,
    Role,
    asked_by,
    current,
    current_principal,
)
from streams.audit.requests import action_of, ending_by, ending_of
from streams.audit.trail import AuditTrail, NotAudited
from streams.runtime.log_lines import RateLimit
from streams.runtime.web_guard import SAFE, Refusal, problem_response

log = logging.getLogger(__name__)
log.addFilter(RateLimit(60.0))
access_log = logging.getLogger("streams.access_log")
"""A line for each change of state that was asked for: who, what, and what came of it."""

_NOTE = web.RequestKey("note", str)
_OF_WORKER = web.RequestKey("of_worker", bool)
CHALLENGE: dict[str, str] = {hdrs.WWW_AUTHENTICATE: "Bearer"}


def note(request: Any, what: str) -> None:
    """Have the line of a request say what it does, where its path does not."""
    request[_NOTE] = what


def is_of_worker(request: Any) -> bool:
    """Whether another worker asks, which has looked at the rights of whoever asked it."""
    return _OF_WORKER in request


def mark_as_of_worker(request: Any) -> None:
    """Another worker asks: its signature holds."""
    request[_OF_WORKER] = True


def may_command(app: Any, type: str, command: str, key: str) -> bool:
    """Whether the one for whom this is done may send a command to an aggregate, and see what became of it."""
    who, access = current_principal(), app.access
    if access is None:
        return True
    return who is not None and bool(access.grants.allow_command(who, app.contexts.get(type, type), command, key))


def may(app: Any, role: Role, type: str) -> bool:
    """Whether the one for whom this is done has a role in the context of an aggregate type."""
    who, access = current_principal(), app.access
    if access is None:
        return True
    return who is not None and bool(access.grants.allow(who, Need(role, (app.contexts.get(type, type),))))


async def may_audit(app: Any, request: Any) -> bool:
    """Whether whoever asks may see how an app is, on a page that answers whoever comes."""
    if app.access is None:
        return True
    try:
        who = await app.access.identify(request)
    except (NotKnown, NotKnownNow):
        return False
    return bool(app.access.grants.allow(who.principal, Need(Role.AUDITOR, (app.context,))))


@dataclass(frozen=True)
class RequestAudit:
    """How an app writes down what operators order: `read` gives the body of a request, which its view reads again."""

    trail: AuditTrail
    read: Callable[[web.Request], Awaitable[bytes]]


class _Refused(Exception):
    """A request that is not taken; `who` has sent it, where that is known."""

    def __init__(self, refusal: Refusal, who: Identified | None = None) -> None:
        super().__init__(refusal.detail)
        self.refusal = refusal
        self.who = who


def sender(app: Any, type: str) -> Principal | None:
    """In whose name a command to a type is sent: for whom this is done, with his roles in the context of the type."""
    who, access = current_principal(), app.access
    if who is None or access is None:
        return who
    context = app.contexts.get(type, type)
    return replace(who, roles=tuple(role for role in Role if access.grants.allow(who, Need(role, (context,)))))


class AccessGuard:
    """The middleware of an app: `access` gives who may do what, once that is known, `need` what a view needs, `audit`
    where orders are written down; None: this app takes none."""

    def __init__(
        self,
        access: Callable[[], Access | None],
        need: Callable[[Any, str], Need],
        audit: Callable[[], RequestAudit | None] = lambda: None,
    ) -> None:
        self._access = access
        self._need = need
        self._audit = audit

    @property
    def middleware(self) -> Any:
        """For `aiohttp.web.Application`; the innermost one."""

        @web.middleware
        async def door(request: web.Request, handler: Any) -> web.StreamResponse:
            view = getattr(request.match_info.handler, "view", None)
            if view is None or is_of_worker(request):  # there is no such page, or the asker has looked
                return await handler(request)  # type: ignore[no-any-return]
            access, need = self._access(), self._need(view, request.method)
            is_order = need.role is Role.OPERATOR and request.method not in SAFE
            try:
                found = None if access is None else await self._look(access, request, need)
            except _Refused as error:
                audit = self._audit()
                if is_order and error.who is not None and audit is not None:
                    trail = audit.trail
                    trail.refused(action_of(request, error.who, trail.source), error.refusal.detail)
                _say(request, None, error.refusal.status)
                return problem_response(*error.refusal)
            with asked_by(found):
                try:
                    work = self._order(request, handler) if is_order else handler(request)
                    answer: web.StreamResponse = await work
                except BaseException as error:
                    _say(request, current(), getattr(error, "status", type(error).__name__))
                    raise
                _say(request, found, answer.status)
                return answer

        return door

    async def _order(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """The answer to an order, which is in the audit before it is taken, and what came of it before it is
        answered."""
        audit = self._audit()
        if audit is None:
            return problem_response(503, "Not now", "nothing is done: this app does not write down orders")
        trail = audit.trail
        try:
            id = await trail.begin(action_of(request, current(), trail.source, await audit.read(request)))
        except NotAudited as error:
            log.error("%s", error)
            return problem_response(503, "Not now", str(error))
        try:
            answer: web.StreamResponse = await handler(request)
        except BaseException as error:
            if isinstance(error, Exception):
                await trail.end(id, ending_by(error))
            else:
                trail.end_soon(id, ending_by(error))
            raise
        await trail.end(id, ending_of(answer))
        return answer

    async def _look(self, access: Access, request: web.Request, need: Need) -> Identified | None:
        """Who has sent a request that he may send; None where nobody need say so. Raises `_Refused`."""
        if need.role is None:
            return None
        try:
            who = await access.identify(request)
        except NotKnown as error:
            raise _Refused(Refusal(401, "Not known", str(error), CHALLENGE)) from None
        except NotKnownNow as error:
            log.warning("%s", error)
            raise _Refused(Refusal(503, "Not now", "who you are cannot be looked at now")) from None
        if not access.grants.allow(who.principal, need):
            wanted = " or ".join(need.names)
            raise _Refused(Refusal(403, "Forbidden", f"{who.principal} would need to be {wanted}"), who)
        return who


def log_changes() -> None:
    """Have the lines of changes in the log whatever its level: they are what one looks for afterwards."""
    if not access_log.handlers:
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(logging.Formatter("access: %(asctime)s %(message)s"))
        access_log.addHandler(handler)
        access_log.setLevel(logging.INFO)
        access_log.propagate = False


def _say(request: web.Request, who: Identified | None, outcome: object) -> None:
    if request.method in SAFE:
        return
    name = "nobody" if who is None else str(who.principal)
    what = f"{request.method} {request.raw_path}"
    if noted := request.get(_NOTE):
        what += f" {noted}"
    # Quoted: ids in it are a stranger's.
    access_log.info("%r at %s: %r: %s", name, request.remote, what, outcome)
