"""`/health/live` and `/health/ready` of every worker."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

import msgspec

from streams.runtime.access_guard import may_audit
from streams.runtime.application import Application
from streams.runtime.web_guard import problem_response
from streams.web.operation import describe


def json_response(view: Any, value: object, status: int = 200, headers: dict[str, str] | None = None) -> Any:
    """A JSON answer."""
    return view.bytes(msgspec.json.encode(value), content_type="application/json", status=status, headers=headers)


class Liveness(TypedDict):
    """The event loop runs."""

    status: Literal["live"]
    app: str


class Readiness(TypedDict):
    """All that is assigned to this worker is served: these partitions, and in an app that decides commands these logs.
    `limits`, where there are any, say what it serves less of than it might."""

    status: Literal["ready"]
    app: str
    partitions: list[int]
    logs: NotRequired[list[str]]
    limits: NotRequired[list[str]]


def add_health(app: Application) -> None:
    """Serve both pages: live while the event loop runs, ready while all assigned partitions are served."""

    @app.page("/health/live")
    @describe("health", "Whether the worker lives: its event loop turns", Liveness, role=None)
    async def live(view: Any, request: Any) -> Any:
        return json_response(view, {"status": "live", "app": app.module})

    @app.page("/health/ready")
    @describe("health", "Whether the worker serves all that is assigned to it", Readiness, problems=(503,), role=None)
    async def ready(view: Any, request: Any) -> Any:
        if not app.is_well:
            troubles = [f"{name}: {reason}" for name, reason in sorted(app.supervisor.troubles.items())]
            if troubles and not await may_audit(app, request):  # they name servers, keys and what stands in events
                troubles = [f"an auditor of {app.context} is told why, and the log says it"]
            detail = "; ".join(troubles) or "a rebalance, a recovery or a takeover is under way"
            return problem_response(503, "Not ready", detail)
        limits = {"limits": app.limits} if app.limits else {}
        logs = {} if app.logs_served is None else {"logs": app.logs_served}
        ready = {"status": "ready", "app": app.module, "partitions": app.partitions_served, **logs, **limits}
        return json_response(view, ready)
