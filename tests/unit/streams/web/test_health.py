"""What keeps a worker from being ready: whoever comes learns that it is not, and who may see how it is learns why."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from streams.access.grants import Grants
from streams.access.principal import Identified, NotKnown, NotKnownNow, Principal
from streams.web.health import add_health

WATCH, CLERK = Principal("token", "watch"), Principal("token", "clerk")
GRANTS = Grants.read("""
    [[grants]]
    to = ["token:watch"]
    role = "auditor"
    contexts = ["orders"]
    [[grants]]
    to = ["token:clerk"]
    role = "reader"
    contexts = ["*"]
    """)


class Access:
    """Knows one principal, or why there is none."""

    grants = GRANTS

    def __init__(self, found: Principal | Exception) -> None:
        self._found = found

    async def identify(self, request: Any) -> Identified:
        if isinstance(self._found, Exception):
            raise self._found
        return Identified(self._found)


async def detail(access: Access | None, troubles: dict[str, str]) -> str:
    """What `/health/ready` of a worker with these troubles says."""
    views: dict[str, Any] = {}

    def page(path: str) -> Any:
        return lambda view: views.setdefault(path, view)

    app: Any = SimpleNamespace(
        page=page, access=access, context="orders", is_well=False, supervisor=SimpleNamespace(troubles=troubles)
    )
    add_health(app)
    answer = await views["/health/ready"](None, None)
    assert 503 == answer.status
    return str(msgspec.json.decode(answer.body)["detail"])


@pytest.mark.parametrize(
    ("access", "is_told"),
    [
        (None, True),
        (Access(WATCH), True),
        (Access(CLERK), False),
        (Access(NotKnown("no token")), False),
        (Access(NotKnownNow("no issuer")), False),
    ],
)
async def test_who_is_told_why(access: Access | None, is_told: bool) -> None:
    """Reasons name servers and keys: where somebody is to be known they are for auditors. A rebalance is no secret."""
    told = await detail(access, {"order@0": "PostgreSQL at db1.internal:5432: canary"})
    assert is_told == ("order@0: PostgreSQL at db1.internal:5432: canary" == told)
    assert is_told == ("canary" in told)
    assert is_told != ("an auditor of orders is told why" in told)
    assert "a rebalance" in await detail(access, {})
