"""Rights in the secured broker, as `kafka-acls` would grant them: to users, of topics and groups by name or prefix."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from aiokafka.errors import for_code
from aiokafka.protocol.admin import CreateAclsRequest, DeleteAclsRequest

from streams.kafka.client_factory import ClientFactory

OPERATIONS = {"All": 2, "Read": 3, "Write": 4, "Create": 5, "Delete": 6, "Describe": 8, "DescribeConfigs": 10}
RESOURCES = {"topic": 2, "group": 3, "cluster": 4}
_LITERAL, _PREFIXED = 3, 4
_ENDINGS = {"literal": "", "prefixed": "*"}
_ALLOW = 3
ANY_HOST = "*"


async def grant(clients: ClientFactory, user: str, operation: str, *resources: str) -> None:
    """Grant a user an operation on resources, each `topic:NAME` or `group:NAME`; a name that ends in `*` is a prefix.
    Raises `KafkaError`."""
    await _each(clients, CreateAclsRequest, [(user, operation, resource) for resource in resources])


async def revoke(clients: ClientFactory, user: str, operation: str, *resources: str) -> None:
    """Take it back, as it was granted. Raises `KafkaError`."""
    await _each(clients, DeleteAclsRequest, [(user, operation, resource) for resource in resources])


async def grant_printed(clients: ClientFactory, lines: Iterable[str]) -> int:
    """Grant what `faust -A APP acls --json` prints. Returns how many rights those are.

    Raises `KafkaError`; `ValueError` for what is not printed by that, and for nothing.
    """
    rules = []
    for acl in map(json.loads, lines):
        try:
            user, ending = acl["principal"].removeprefix("User:"), _ENDINGS[acl["pattern"]]
            resource = f"{acl['resource']}:{acl['name']}{ending}"
            rules += [(user, operation, resource) for operation in acl["operations"]]
        except (KeyError, TypeError, AttributeError):
            raise ValueError(f"not of `acls --json`: {acl}") from None
    if not rules:
        raise ValueError("nothing came of `acls --json`")
    await _each(clients, CreateAclsRequest, rules)
    return len(rules)


async def _each(clients: ClientFactory, request: type, rules: Sequence[tuple[str, str, str]]) -> None:
    async with clients.administering() as admin:
        for user, operation, resource in rules:
            kind, _, name = resource.partition(":")
            pattern = _PREFIXED if name.endswith("*") else _LITERAL
            named = (RESOURCES[kind], name.removesuffix("*"), pattern)
            rule = (f"User:{user}", ANY_HOST, OPERATIONS[operation], _ALLOW)
            response = await admin._send_request(request(*named, *rule))
            answers = next(value for value in response.to_object().values() if isinstance(value, list))
            for answer in answers:
                if answer["error_code"]:
                    raise for_code(answer["error_code"])(resource)
