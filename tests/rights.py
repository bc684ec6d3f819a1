"""What a document of OpenAPI says of rights, asked of a worker: every operation, as everybody."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import aiohttp

from streams.access.tokens import new_token

ROLES = ("reader", "commander", "auditor", "operator")
CONTEXTS = ("orders", "products", "users", "checkout", "timers", "projections")
ALSO = {"operator": ("auditor",)}
"""The roles that one of a role has as well."""


class Asked(NamedTuple):
    """An operation: method, path, and the roles of which one will do, as `reader@orders`; none: whoever comes."""

    method: str
    path: str
    needs: frozenset[str]


def operations(document: Any) -> Iterator[Asked]:
    """All operations of a document, with something that there is not in the place of each variable."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            needs = frozenset(right for way in operation["security"] for rights in way.values() for right in rights)
            yield Asked(method.upper(), re.sub(r"\{\w+\}", "nothing", path), needs)


def everybody() -> dict[str, tuple[str, str, str]]:
    """By `role@context`: a token, its line for the file of tokens, and its grant, which is for `subject` too."""
    found = {}
    for role in ROLES:
        for context in CONTEXTS:
            name = subject(f"{role}@{context}")
            to = f'["token:{name}", "oidc:{name}"]'
            grant = f'[[grants]]\nto = {to}\nrole = "{role}"\ncontexts = ["{context}"]\n'
            found[f"{role}@{context}"] = (*new_token(name), grant)
    return found


def subject(who: str) -> str:
    """What the issuer calls somebody with a role in a context."""
    return who.replace("@", ".")


def may(who: str, asked: Asked) -> bool:
    """Whether somebody with this role in this context has the right to an operation."""
    role, _, context = who.partition("@")
    has = {who, *(f"{more}@{context}" for more in ALSO.get(role, ()))}
    return not asked.needs or bool(asked.needs & has)


async def status(http: aiohttp.ClientSession, url: str, asked: Asked, token: str | None, attempts: int = 1) -> int:
    """The status that somebody with this token gets; one that may not is refused whatever else he sends. With more
    `attempts`, who is told 503, as many may be who give orders at once, asks again."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    body = {"json": {}} if asked.method == "POST" else {}
    timeout = aiohttp.ClientTimeout(total=30)
    for attempt in range(attempts):
        async with http.request(asked.method, url + asked.path, headers=headers, timeout=timeout, **body) as response:
            if response.status in (401, 403):
                assert "application/problem+json" == response.content_type
            if response.status == 401:
                assert "Bearer" == response.headers["WWW-Authenticate"]
            if response.status != 503 or attempt == attempts - 1:
                return response.status
            await asyncio.sleep(float(response.headers["Retry-After"]))
    raise AssertionError("no attempt")
