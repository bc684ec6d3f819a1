"""A consumer group as its broker knows it: who is in it, where each member listens, and what each has been given."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

from aiokafka.coordinator.protocol import ConsumerProtocol
from aiokafka.errors import GroupAuthorizationFailedError, GroupCoordinatorNotAvailableError, for_code
from aiokafka.protocol.group import HeartbeatRequest, LeaveGroupRequest
from faust.assignor.client_assignment import ClientMetadata
from yarl import URL

from streams.concurrency.retry import retried
from streams.kafka.client_factory import ClientFactory
from streams.security.refusals import group_forbidden
from streams.settings import SettingsError

ASK_AGAIN_SECONDS = 0.1
NEW_CLUSTER_PAUSES = (0.1,) * 30
"""While a new cluster makes the topic of groups, which it does when one is first asked for."""
_STABLE = "Stable"


class Member(NamedTuple):
    """One worker of a group.

    id        the name that the group has for it
    address   of its web server, as it said when it joined; empty for one that is no worker, or is joining just now
    assigned  the partitions that it has, by topic; empty while it is joining
    """

    id: str
    address: URL = URL()
    assigned: Mapping[str, Sequence[int]] = {}


class Group(Protocol):
    """A consumer group of workers."""

    async def members(self) -> Sequence[Member]:
        """Its members; waits for the end of a rebalance. Raises `KafkaError`, `OSError`."""

    async def remove(self, member_id: str) -> None:
        """Take a member out of the group, as if it had left. Raises `KafkaError`, `OSError`."""


class KafkaGroup:
    """A consumer group of Kafka."""

    def __init__(self, clients: ClientFactory, name: str) -> None:
        self._clients = clients
        self._name = name

    async def check(self) -> None:
        """Raise `SettingsError` where this process may not be a member, and `KafkaError`, `OSError`."""
        try:
            async with self._clients.administering() as admin:
                find = partial(admin.find_coordinator, self._name)
                coordinator = await retried(find, NEW_CLUSTER_PAUSES, GroupCoordinatorNotAvailableError)
                # Of nobody: who may be a member hears that he is none, and nothing comes of it.
                answer = await admin._send_request(HeartbeatRequest(self._name, -1, ""), coordinator)
        except GroupAuthorizationFailedError:
            code = GroupAuthorizationFailedError.errno
        else:
            code = answer.error_code
        if code == GroupAuthorizationFailedError.errno:
            raise SettingsError(group_forbidden(self._name))

    async def members(self) -> Sequence[Member]:
        async with self._clients.administering() as admin:
            while True:
                state, found = await self._describe(admin)
                if state == _STABLE:
                    return found
                await asyncio.sleep(ASK_AGAIN_SECONDS)

    async def members_now(self) -> Sequence[Member]:
        """Its members as they are, also in the middle of a rebalance, or of a group that nobody has joined. Raises
        `KafkaError`, `OSError`."""
        async with self._clients.administering() as admin:
            return (await self._describe(admin))[1]

    async def remove(self, member_id: str) -> None:
        async with self._clients.administering() as admin:
            coordinator = await admin.find_coordinator(self._name)
            await admin._send_request(LeaveGroupRequest(self._name, member_id), coordinator)

    async def _describe(self, admin: Any) -> tuple[str, Sequence[Member]]:
        ask = partial(admin.describe_consumer_groups, [self._name])
        [response] = await retried(ask, NEW_CLUSTER_PAUSES, GroupCoordinatorNotAvailableError)
        [group] = response.to_object()["groups"]
        if group["error_code"]:
            raise for_code(group["error_code"])(self._name)
        return group["state"], [
            Member(it["member_id"], _address(it["member_metadata"]), _assigned(it["member_assignment"]))
            for it in group["members"]
        ]


# What somebody else's bytes say, and make the parsers raise, is of no account.


def _address(metadata: bytes) -> URL:
    try:
        return URL(str(ClientMetadata.loads(ConsumerProtocol.METADATA.decode(metadata).user_data).url))
    except Exception:
        return URL()


def _assigned(assignment: bytes) -> Mapping[str, Sequence[int]]:
    try:
        return dict(ConsumerProtocol.ASSIGNMENT.decode(assignment).assignment)
    except Exception:
        return {}
