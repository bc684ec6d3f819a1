"""`/notices` of a worker: what it has said that somebody should know of, for whoever looks after the log went by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from streams.access.principal import Role
from streams.notices import NOTICES, Notice
from streams.runtime.application import Application
from streams.web.health import json_response
from streams.web.operation import describe


class NoticesAnswer(msgspec.Struct, frozen=True):
    """The answer of `/notices`, the newest last."""

    notices: Sequence[Notice]


def add_notices(app: Application) -> None:
    """Serve `/notices`."""

    @app.page("/notices")
    @describe("operations", "What this worker has said that somebody should know of", NoticesAnswer, role=Role.AUDITOR)
    async def notices(view: Any, request: Any) -> Any:
        return json_response(view, NoticesAnswer(NOTICES.all))
