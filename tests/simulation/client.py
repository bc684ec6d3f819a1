"""The client: sends commands, some of them twice, and sends again what is not answered."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from aggregates.principal import Principal
from streams.deciding.messages import JSON, command_headers, decode_reply
from streams.kafka.client import partition_of
from streams.principals.signature import PEOPLE, Key, Signed, derived, sign
from tests.simulation.account import GUEST, TYPE
from tests.simulation.hostile import Headers, Stranger, additions
from tests.simulation.topics import COMMANDS_TOPIC, REPLIES_TOPIC

if TYPE_CHECKING:
    from tests.simulation.world import World

Offset = tuple[str, int, int]
"""The id of a topic, a partition, and an offset there."""

TYPE_KEY = bytes(32)
FOR_PEOPLE = Key("k1", derived(TYPE_KEY, PEOPLE))
PATIENCE = 6.0
"""Seconds after which a command without a reply is sent again."""
SENDING_SECONDS = 12.0
BURSTS = (0.5, 4.0, 8.0)
"""Seconds at which many commands come at once."""

KINDS = {
    "Add": 40,
    "Take": 22,
    "Split": 10,
    "Touch": 12,
    "Boom": 4,
    "Unknown": 3,
    "Unreadable": 3,
}


@dataclass(frozen=True)
class Request:
    """A command of the client. `partition` is not always the right one."""

    id: str
    aggregate: str
    type: str
    amount: int
    partition: int
    deadline: datetime | None
    structured: bool
    who: Principal | None = None
    additions: Headers = ()

    @property
    def record(self) -> tuple[bytes, bytes, list[tuple[str, bytes | None]]]:
        """Key, value and headers, in binary mode or as a person types it."""
        data: Any = {"amount": self.amount if self.type != "Unreadable" else "much"}
        type = "Add" if self.type == "Unreadable" else self.type
        deadline = self.deadline.isoformat() if self.deadline else ""
        if self.structured:
            value = {"type": type, "data": data, "id": self.id, "replyto": REPLIES_TOPIC, "deadline": deadline}
            signature = self._signature(type, msgspec.json.encode(data), deadline)
            return self.aggregate.encode(), msgspec.json.encode(value), [*signature]
        headers = command_headers(self.id, type, "/client", REPLIES_TOPIC, deadline=deadline)
        signature = self._signature(type, json.dumps(data).encode(), deadline)
        return self.aggregate.encode(), json.dumps(data).encode(), [*headers, *signature, *self.additions]

    def _signature(self, type: str, data: bytes, deadline: str) -> list[tuple[str, bytes]]:
        if self.who is None:
            return []
        signed = Signed(TYPE, self.aggregate, self.id, type, data, JSON, deadline=deadline)
        return sign(self.who, signed, FOR_PEOPLE)


class Client:
    """Knows what it has sent, where that stands, and what was answered."""

    def __init__(self, world: World) -> None:
        self.requests: list[Request] = []
        self.sent: dict[Offset, Request | Stranger] = {}
        self.offsets: defaultdict[str, list[Offset]] = defaultdict(list)
        self.answers: dict[str, list[bytes]] = {}
        self._world = world

    def start(self) -> None:
        """Send it all within the next seconds."""
        world, random = self._world, self._world.random
        burst = random.random() < 0.5
        for number in range(world.shape.commands):
            at = random.uniform(0, SENDING_SECONDS)
            if burst and random.random() < 0.7:
                at = random.choice(BURSTS)
            request = self._request(number, at)
            self.requests.append(request)
            self.answers[request.id] = []
            world.loop.outside(at, self._insist, request)
            if random.random() < 0.25:
                world.loop.outside(random.uniform(at, SENDING_SECONDS), self._send, request)

    def _request(self, number: int, at: float) -> Request:
        world, random = self._world, self._world.random
        aggregate = f"a{random.randrange(world.shape.aggregates)}"
        [kind] = random.choices(list(KINDS), list(KINDS.values()))
        partition = partition_of(aggregate.encode(), world.shape.partitions)
        if random.random() < 0.03:
            partition = (partition + 1) % world.shape.partitions
        deadline = None
        if random.random() < 0.08:
            deadline = world.now() + timedelta(seconds=at + random.choice((-1, 0.5, 3, 100)))
        structured = random.random() < 0.1
        more = additions(random) if random.random() < 0.1 else ()
        who = GUEST if number % 3 == 0 else None
        return Request(f"c{number}", aggregate, kind, random.randint(1, 5), partition, deadline, structured, who, more)

    def _send(self, request: Request) -> None:
        world = self._world
        topic = world.kafka.topics.get(COMMANDS_TOPIC)
        if topic is None:
            return
        log = topic.partitions[request.partition]
        offset = log.append(*request.record, world.wall())
        place = topic.id, request.partition, offset
        self.sent[place] = request
        self.offsets[request.id].append(place)
        world.note("sent", request.id, request.type, request.aggregate, f"{request.partition}:{offset}")
        if world.shape.markers and world.random.random() < 0.4:
            log.append(None, None, (), world.wall(), marker=True)

    def strange(self, stranger: Stranger, place: Offset) -> None:
        """Somebody else has sent something."""
        self.sent[place] = stranger
        self.offsets[stranger.id].append(place)

    def places_of(self, command_id: str) -> list[Offset]:
        """Where a command was sent; one that brought no id has its place for one."""
        if "/" not in command_id:
            return self.offsets[command_id]
        topic_id, partition, offset, _ = command_id.rsplit("/", 3)
        return [(topic_id, int(partition), int(offset))]

    def _insist(self, request: Request) -> None:
        if not self.answers[request.id]:
            self._send(request)
            self._world.loop.outside(PATIENCE, self._insist, request)

    def replied(self, records: Sequence[Any]) -> None:
        """Replies have come."""
        for _, value, _ in records:
            reply = decode_reply(value)
            self.answers.setdefault(reply.command_id, []).append(value)
            self._world.note("reply", reply.command_id, reply.status, reply.position)

    def unanswered(self, without: Collection[int] = ()) -> list[str]:
        """The ids without a reply, but for those in some slices."""
        return [it.id for it in self.requests if not self.answers[it.id] and it.partition not in without]
