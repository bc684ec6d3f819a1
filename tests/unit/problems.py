"""What a worker answers for a handler: what it returns, or the problem of what it raises."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from projections.http.problems import problems


async def answered(work: Awaitable[Any], request: Any = None) -> Any:
    """The answer to a request, by the middleware of the read side."""

    async def handler(request: Any) -> Any:
        return await work

    return await problems(request, handler)
