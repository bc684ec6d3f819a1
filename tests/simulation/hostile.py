"""What strangers put on topics: records that are no commands, no events, no orders, and no rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from tests.simulation.topics import (
    CHANGELOG,
    COMMANDS_TOPIC,
    COMMITS_TOPIC,
    CONTROL_TOPIC,
    EVENTS_TOPIC,
    LOGS_TOPIC,
    REPLIES_TOPIC,
)
from tests.simulation.wire import CODEC

if TYPE_CHECKING:
    from tests.simulation.world import World

DEEP = b"[" * 1_500
"""Deeper than msgspec goes."""
YEAR_10000 = 253_402_300_800.0
MOST = 12
STRANGE_SECONDS = 14.0

Headers = tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True)
class Written:
    """A record as a stranger writes it; `time` in seconds, None for the broker's."""

    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    time: float | None = None
    damage: str = ""


@dataclass(frozen=True)
class Stranger:
    """Who has sent what cannot be a command: it fails, is kept, and changes nothing."""

    id: str
    kind: str
    record: Written


def _typed(id: bytes, *more: tuple[str, bytes | None]) -> Headers:
    return (("ce_type", b"Add"), ("ce_id", id), ("ce_replyto", REPLIES_TOPIC.encode()), *more)


ADD = b'{"amount":1}'

COMMANDS: dict[str, Callable[[bytes, bytes], Written]] = {
    "nested, structured": lambda key, id: Written(key, b'{"type":"Add","data":' + DEEP + b"}"),
    "nested, binary": lambda key, id: Written(key, b'{"amount":' + DEEP, _typed(id)),
    "nested, a release": lambda key, id: Written(key, DEEP, (("ce_type", b"#release"), ("ce_id", id))),
    "a release of nothing": lambda key, id: Written(key, b"\xff\xfe", (("ce_type", b"#release"), ("ce_id", id))),
    "a release that is no object": lambda key, id: Written(key, b'["\xed\xa0\x80"]', (("ce_type", b"#release"),)),
    "no such control": lambda key, id: Written(key, b"{}", (("ce_type", b"#\xc3\xa9"), ("ce_id", id))),
    "key that is no text": lambda key, id: Written(b"\xff" + key, ADD, _typed(id)),
    "type that is no text": lambda key, id: Written(key, ADD, (("ce_type", b"\xff\xfe"), ("ce_id", id))),
    "id that is no text": lambda key, id: Written(key, ADD, (("ce_type", b"Add"), ("ce_id", b"\xff"))),
    "headers without values": lambda key, id: Written(key, ADD, (("ce_type", None), ("ce_id", None))),
    "headers twice": lambda key, id: Written(key, ADD, (*_typed(id), ("ce_id", b"c1"))),
    "a type twice": lambda key, id: Written(key, ADD, (*_typed(id), ("ce_type", b"Take"))),
    "no key": lambda key, id: Written(None, ADD, _typed(id)),
    "no value": lambda key, id: Written(key, None, _typed(id)),
    "nothing": lambda key, id: Written(None, None),
    "a year of five digits": lambda key, id: Written(key, ADD, _typed(id), time=YEAR_10000),
    "nanoseconds": lambda key, id: Written(key, ADD, _typed(id), time=1.7e15),
    "the end of time": lambda key, id: Written(key, ADD, _typed(id), time=9.2e15),
    "an id without end": lambda key, id: Written(key, ADD, _typed(b"x" * 5_000)),
    "a sequence that is none": lambda key, id: Written(key, ADD, (*_typed(id), ("ce_expectedsequence", b"\xff"))),
    "an amount without end": lambda key, id: Written(key, b'{"amount":' + b"9" * 5_000 + b"}", _typed(id)),
    "half a letter": lambda key, id: Written(key, b'{"amount":"\\ud800"}', _typed(id)),
    "Avro that is none": lambda key, id: Written(
        key, b"\xc3\x01" + b"\xff" * 9, (*_typed(id), ("content-type", b"avro/binary"))
    ),
    "a content type of nobody": lambda key, id: Written(key, ADD, (*_typed(id), ("content-type", b"\xff"))),
    "a name without a proof": lambda key, id: Written(key, ADD, _typed(id, ("ce_principal", b"oidc:guest"))),
    "a proof of another command": lambda key, id: Written(
        key, ADD, _typed(id, ("ce_principal", b"oidc:guest"), ("ce_proof", b"k1:" + b"0" * 32))
    ),
    "a key of nobody": lambda key, id: Written(
        key, ADD, _typed(id, ("ce_principal", b"oidc:guest"), ("ce_proof", b"k9:" + b"0" * 32))
    ),
    "a codec that nobody has": lambda key, id: Written(key, ADD, _typed(id), damage=CODEC),
    "a dead letter": lambda key, id: Written(
        key, b"{", (("ce_type", b"Add"), ("dl_type", b"\xff"), ("dl_id", b"\xff"), ("dl_position", b":"))
    ),
}  # fmt: skip
"""Each is of this key and command id, and can have no effect."""

ADDITIONS: tuple[tuple[tuple[str, bytes | None], ...], ...] = (
    (("ce_traceparent", b"x" * 20_000),),
    (("dl_type", b"Unreadable"), ("dl_dropped", b"x"), ("dl_quarantine", b"1"), ("dl_topic", b"elsewhere")),
    (("\u00e9", None), ("x", b"\xff"), ("x", b"\xfe")),
    (("\udcff\udcfe", b"x"),),
    (("ce_causationid", b"\xff"), ("ce_source", None), ("ce_specversion", b"9")),
)
"""Headers beside those of a command that change nothing of it."""

FOREIGN = (
    Written(None, None),
    Written(b"", b""),
    Written(b"a0", b"hello", (("ce_position", b"account-0:x:0"), ("ce_type", b"Added"))),
    Written(b"a0", b"{}", (("ce_position", b"9" * 5_000 + b":1:1"), ("ce_sequence", b"1"), ("ce_time", b""))),
    Written(b"a0", DEEP, (("ce_type", b"Added"), ("ce_id", b"x"))),
    Written(b"\xff", b"\xff\0\x01", (("ce_position", None), ("\udcff", b""))),
    Written(b"serving/balances", b"null"),
    Written(b"serving/balances", b'{"table":' + DEEP),
    Written(b"generation/balances-1", b'{"generation":"x"}'),
    Written(b"paused/", b'{"reason":1}'),
    Written(b"balances-1\0r" + b"a0", b'{"position":1}'),
    Written(b"balances-1\0p", b'{"nr":"\xff"}'),
    Written(b"balances-1\0", b"1"),
    Written(b"a0", b'{"balance":1}', damage=CODEC),
    Written(b"9" * 30, b"9" * 5_000),
)
"""What is on a topic that the system writes itself, and is not the system's."""


class Strangers:
    """They write now and then, until all is well."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._count = 0

    def start(self) -> None:
        """Draw what they will write, and where."""
        world, random = self._world, self._world.random
        if random.random() < 0.5:
            for _ in range(random.randint(1, MOST)):
                world.loop.outside(random.uniform(0, STRANGE_SECONDS), self._command)
        if random.random() < 0.4:
            for _ in range(random.randint(1, MOST)):
                world.loop.outside(random.uniform(0, STRANGE_SECONDS), self._elsewhere)

    def _command(self) -> None:
        world, random = self._world, self._world.random
        topic = world.kafka.topics.get(COMMANDS_TOPIC)
        if topic is not None:
            self._count += 1
            kind, id = random.choice(list(COMMANDS)), f"s{self._count}"
            key = f"a{random.randrange(world.shape.aggregates)}"
            written = COMMANDS[kind](key.encode(), id.encode())
            partition = random.randrange(world.shape.partitions)
            offset = self._write(COMMANDS_TOPIC, partition, written)
            world.client.strange(Stranger(id, kind, written), (topic.id, partition, offset))
            world.note("stranger", kind, f"{partition}:{offset}")

    def _elsewhere(self) -> None:
        world, random = self._world, self._world.random
        name = random.choice((EVENTS_TOPIC, COMMITS_TOPIC, LOGS_TOPIC, CHANGELOG, CONTROL_TOPIC, REPLIES_TOPIC))
        topic = world.kafka.topics.get(name)
        if topic is not None:
            partition = random.randrange(len(topic.partitions))
            number = random.randrange(len(FOREIGN))
            offset = self._write(name, partition, FOREIGN[number])
            world.note("foreign", name, f"{partition}:{offset}", number)

    def _write(self, topic: str, partition: int, it: Written) -> int:
        world = self._world
        time = world.wall() if it.time is None else it.time
        log = world.kafka.topics[topic].partitions[partition]
        return log.append(it.key, it.value, it.headers, time, foreign=True, damage=it.damage)


def additions(random: Random) -> Headers:
    """Headers that somebody has put beside those of a command."""
    return random.choice(ADDITIONS)
