"""The keys of the system: made by the read side, kept on its control topic, and handed out to each context.

With the newest the gateway signs in whose name commands come, and its own notes. Of each key every context gets what it
needs, on a topic that its workers alone may read: to check what comes to its types, and for its process managers to
sign what they send. All have what they check with before anybody signs with it. A key signs for a day, and is kept for
30 more: as long as commands may wait, and dead letters be sent again.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import time
from collections import defaultdict
from hashlib import blake2b
from itertools import pairwise
from typing import Any

from projections.app import ReadSide
from projections.applying.control import SystemKey
from projections.http.problems import HttpProblem, NotNow
from streams.deciding.messages import MAX_ID_LENGTH
from streams.deciding.orders import desk
from streams.kafka import topics
from streams.kafka.client import ProducerRecord
from streams.kafka.topics import Topic
from streams.principals.key_ring import ContextKeys, encode_keys
from streams.principals.signature import PEOPLE, PROOF, Key, Signed, derived, sign
from streams.runtime.access_guard import sender

RENEW_SECONDS = 86_400.0
KEEP_SECONDS = 30 * RENEW_SECONDS
"""So long a key is kept after the next one was made: until then it has signed, however late that was."""
KNOWN_SECONDS = 10.0
"""So long after this worker has read a new key the one before it signs notes: until all workers have read it."""
_NOTES = "#notes"
"""Of what the key for notes is made. No aggregate type has such a name."""


class KeyAuthority:
    """Makes the keys, and hands them out to the contexts of a read side."""

    def __init__(self, side: ReadSide) -> None:
        self._app = side.app
        self._control = side.control
        self._broker = side.broker
        self._types: dict[str, list[str]] = defaultdict(list)
        self._processes: dict[str, list[str]] = defaultdict(list)
        self._topics: dict[str, str] = {}
        self._handed_out: set[str] = set()
        """The ids of the keys that this worker has handed out: what all contexts have that it knows."""
        self._made: SystemKey | None = None
        """The last one made here, which is handed out, and which the control topic may not have."""
        for type, context in side.contexts.items():
            self._types[context.name].append(type)
            self._topics[context.name] = topics.keys_topic(side.app.settings.namespace, context.name)
            if context.process is not None:
                self._processes[context.name].append(type)

    @property
    def topics(self) -> list[Topic]:
        """Those of the contexts' keys."""
        return [topics.key_topic(name, topics.WRITE) for name in self._topics.values()]

    # -- signing ------------------------------------------------------------------------------------------------------

    def sign(self, command: Signed) -> list[tuple[str, bytes]]:
        """The headers that say for whom a command is sent; none where nobody need say it. Raises `HttpProblem`."""
        who = sender(self._app, command.type)
        if who is None:
            return []
        if not who.name.isprintable() or not 0 < len(str(who).encode()) <= MAX_ID_LENGTH:
            raise HttpProblem(403, "Forbidden", "your name is too long for a command, or has a control character in it")
        return sign(who, command, self._key(command.type, PEOPLE))

    def sign_order(self, command: Signed) -> list[tuple[str, bytes]]:
        """The headers of an order to an owner, given by whoever asks, whose right was looked at. Raises `NotNow`."""
        who = desk(sender(self._app, command.type))
        return sign(who, command, self._key(command.type, str(who)))

    def _key(self, type: str, of: str) -> Key:
        """The newest key that all contexts have, as it is made for a type and somebody."""
        newest = next((key for key in reversed(self._control.system_keys) if key.id in self._handed_out), None)
        if newest is None:
            raise NotNow("there is no key to sign with yet")
        return Key(newest.id, derived(derived(newest.secret, type), of))

    def note_headers(self, id: str, value: bytes) -> list[tuple[str, bytes]]:
        """The headers of a note of the gateway's own, under a command's id."""
        known = time.monotonic() - KNOWN_SECONDS
        keys = self._control.system_keys
        if not keys:
            return []
        key = next((key for key in reversed(keys) if key.read <= known), keys[0])
        return [(PROOF, f"{key.id}:{_mac(key, id.encode(), value)}".encode())]

    def is_note(self, record: Any) -> bool:
        """Whether a record is a note that a worker of the read side has written."""
        id, _, mac = dict(record.headers).get(PROOF, b"").partition(b":")
        keys = (key for key in self._control.system_keys if key.id.encode() == id)
        return any(hmac.compare_digest(_mac(key, record.key or b"", record.value or b"").encode(), mac) for key in keys)

    # -- making and handing out ---------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Have a key, and have the contexts know all that there are. Raises `KafkaError`, `TimeoutError`."""
        if self._control.system_keys:
            await self._hand_out(*self._control.system_keys)
        else:
            await self._make()

    async def pass_on(self) -> None:
        """Hand out the keys that another worker has made, and end those that it has ended: one of another version may
        not know all contexts that are known here. Raises `KafkaError`, `TimeoutError`."""
        keys = self._control.system_keys
        if new := [key for key in keys if key.id not in self._handed_out]:
            await self._hand_out(*new)
        kept = {key.id for key in keys} | ({self._made.id} if self._made is not None else set())
        if ended := self._handed_out - kept:  # who has ended one may have done so before this worker handed it out
            await self._forget(*ended)

    async def renew(self) -> None:
        """Make a new key where the newest is a day old, and end those that were kept for long enough: for the leader.
        Raises `KafkaError`, `TimeoutError`."""
        now = time.time()
        for key, following in pairwise(self._control.system_keys):
            if now - following.made >= KEEP_SECONDS:
                await self._forget(key.id)
                await self._control.end_key(key.id)  # last: what fails before is found again, and done
        keys = self._control.system_keys
        if not keys or now - keys[-1].made >= RENEW_SECONDS:
            await self._make()

    async def _make(self) -> None:
        key = self._made
        # The same one again, if the control topic has not taken it: contexts have room for so many.
        if key is None or key.id in [known.id for known in self._control.system_keys]:
            key = SystemKey(secrets.token_hex(4), secrets.token_bytes(32), time.time(), 0.0)
        self._made = key
        await self._hand_out(key)
        await self._control.add_key(key.id, key.secret)

    async def _hand_out(self, *keys: SystemKey) -> None:
        for with_signs in (False, True):  # who checks is to have it before anybody signs
            records = {name: [self._record(name, key, with_signs) for key in keys] for name in self._topics}
            await asyncio.gather(
                *(self._broker.publish(self._topics[name], 0, batch) for name, batch in records.items())
            )
        self._handed_out |= {key.id for key in keys}

    async def _forget(self, *ids: str) -> None:
        """Have the contexts forget keys."""
        ended: list[ProducerRecord] = [(id.encode(), encode_keys(ContextKeys()), []) for id in ids]
        await asyncio.gather(*(self._broker.publish(topic, 0, ended) for topic in self._topics.values()))
        self._handed_out -= {*ids}

    def _record(self, context: str, key: SystemKey, with_signs: bool) -> ProducerRecord:
        of_types = {type: derived(key.secret, type) for types in self._types.values() for type in types}
        opens = {type: of_types[type].hex() for type in self._types[context]}
        signs = {}
        if with_signs:
            for process in self._processes[context]:
                whose = f"process:{process}"
                signs[process] = {type: derived(secret, whose).hex() for type, secret in of_types.items()}
        return key.id.encode(), encode_keys(ContextKeys(opens, signs)), []


def _mac(key: SystemKey, id: bytes, value: bytes) -> str:
    text = b"%d:%s%s" % (len(id), id, value)
    return blake2b(text, key=derived(key.secret, _NOTES), digest_size=16).hexdigest()
