"""The other workers of a consumer group, watched by one connection each: one that has died is taken out of the group.

Kafka misses a killed worker only when its session ends, after some seconds. Its machine knows at once, and says so: it
closes the connections of the dead process, and refuses new ones to its port. So each worker holds a connection to the
web port of every other; when it is closed and the port refuses, the process is gone, and whoever sees it first takes
its member out of the group. Nothing is decided by time: a process that is stopped, or has no turn on a busy machine,
still has its port. Neither has a machine that is gone anything to say: its workers are missed by their session.

Only a worker that was seen to listen, since it joined under the name that the group has for it, can be found dead. So
a worker that has no web port is never taken for dead; and one that has lost its port alone joins again, under another
name, and stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from functools import partial
from typing import NamedTuple

from aiokafka.errors import KafkaError

from streams.concurrency.retry import until_it_answers
from streams.concurrency.supervisor import Supervisor
from streams.concurrency.tasks import cancel
from streams.membership.group import Group
from streams.notices import warn

log = logging.getLogger(__name__)

CONNECT_SECONDS = 5.0
AGAIN_SECONDS = 0.05
"""Between two attempts to connect to a port that refuses, and before a connection is opened again."""
REFUSALS = 3
"""A port that refuses so often in a row is nobody's any more."""
LOOK_SECONDS = 2.0
"""Between two attempts to reach a worker that has not listened yet, or whose machine does not answer."""


class Peer(NamedTuple):
    """Another member of the group: the name that the group has for it, and where it listens."""

    member_id: str
    host: str
    port: int


class Peers:
    """Watches the other members of a group, from one rebalance to the next."""

    def __init__(self, group: Group, supervisor: Supervisor) -> None:
        self._group = group
        self._supervisor = supervisor
        self._watches: dict[Peer, asyncio.Task[None]] = {}

    async def follow(self, member_id: str) -> None:
        """Watch the members that the group has now, without this worker itself. Those watched before that stay are
        watched without a gap."""
        members = await until_it_answers(self._group.members, "Kafka: the members of the group", (KafkaError, OSError))
        peers = {
            Peer(other.id, other.address.host, other.address.port)
            for other in members
            if other.id != member_id and other.address.host and other.address.port
        }
        await self._end(self._watches.keys() - peers)
        for peer in peers - self._watches.keys():
            name = f"watching the worker at {peer.host}:{peer.port} as {peer.member_id}"
            self._watches[peer] = self._supervisor.keep(name, partial(self._watch, peer))

    async def close(self) -> None:
        """Watch nobody any more."""
        await self._end(set(self._watches))

    async def _end(self, peers: Iterable[Peer]) -> None:
        await asyncio.gather(*[cancel(self._watches.pop(peer)) for peer in peers])

    async def _watch(self, peer: Peer) -> None:
        """Hold a connection to a worker until its port refuses for good; then take it out of the group."""
        is_known, refusals = False, 0
        while refusals < REFUSALS:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    reader, writer = await asyncio.open_connection(peer.host, peer.port)
            except ConnectionRefusedError:
                refusals += is_known
                await asyncio.sleep(AGAIN_SECONDS if is_known else LOOK_SECONDS)
            except OSError:  # `TimeoutError` too: nobody says that there is nobody
                refusals = 0
                await asyncio.sleep(LOOK_SECONDS)
            else:
                is_known, refusals = True, 0
                with contextlib.suppress(OSError):
                    await reader.read(1)  # a worker says nothing unasked: until it, or its machine, closes
                writer.close()
                await asyncio.sleep(AGAIN_SECONDS)
        text = "the worker at %s:%d has gone: it is taken out of the group"
        warn(log, "worker-gone", f"{peer.host}:{peer.port}", text, peer.host, peer.port)
        try:
            await self._group.remove(peer.member_id)
        except (KafkaError, OSError) as error:
            log.info("%s:%d stays in the group until its session ends: %r", peer.host, peer.port, error)
