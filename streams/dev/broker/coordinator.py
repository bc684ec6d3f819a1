"""The groups of the broker: requests of members, committed offsets, and the watch over who is silent."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from streams.dev.broker.group import NO_ERROR, UNKNOWN_MEMBER, Group, Joined, Joining, Refused, State
from streams.dev.broker.store import Store
from streams.dev.broker.topics import Topics
from streams.dev.broker.wire import Asked

UNKNOWN_PARTITION, INVALID_GROUP, NOT_EMPTY, NO_GROUP = 3, 24, 68, 69
LOOK_SECONDS, STOOD_STILL_SECONDS = 0.1, 1.0
_THROTTLED_JOIN, _NAMED_JOIN = 2, 5
"""Versions since which an answer to a join has a time to wait, and names of instances."""


class Coordinator:
    """Answers the members of groups, and those who ask after groups."""

    def __init__(self, store: Store, topics: Topics, least_session: float = 0.0) -> None:
        """`least_session`: members are given at least so many seconds to be heard of, whatever they say."""
        self._store = store
        self._least_session = least_session
        self._topics = topics
        self._groups: dict[str, Group] = {}

    async def watch(self) -> None:
        """Put silent members out, for as long as it runs. When this process stood still, nobody was silent."""
        before = time.monotonic()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now = time.monotonic()
            late, before = now - before - LOOK_SECONDS, now
            for name, group in list(self._groups.items()):
                if late > STOOD_STILL_SECONDS:
                    group.forgive(late)
                group.expire(now)
                if group.state == State.EMPTY and not group.members:
                    self._groups.pop(name)

    def _known(self, name: str) -> Group:
        """Raises `Refused` where nobody is in the group."""
        if (group := self._groups.get(name)) is None:
            raise Refused(UNKNOWN_MEMBER)
        return group

    async def join(self, asked: Asked, host: str) -> bytes:
        body = asked.body
        rebalance = body.rebalance_timeout if asked.version else body.session_timeout
        seconds = max(body.session_timeout / 1000, self._least_session), rebalance / 1000
        says = Joining(asked.client_id, host, *seconds, body.protocol_type, dict(body.group_protocols))
        try:
            if not body.group:
                raise Refused(INVALID_GROUP)
            if body.member_id:
                self._known(body.group)
            group = self._groups.setdefault(body.group, Group(body.group))
            return _joined(asked, NO_ERROR, await group.join(body.member_id, says))
        except Refused as refused:
            return _joined(asked, refused.code, Joined(-1, "", "", body.member_id, {}))

    async def sync(self, asked: Asked) -> bytes:
        body, code, assignment = asked.body, NO_ERROR, b""
        try:
            group = self._known(body.group)
            assignment = await group.sync(body.member_id, body.generation_id, dict(body.group_assignment))
        except Refused as refused:
            code = refused.code
        return asked.answer(*((0,) if asked.version else ()), code, assignment)

    def heartbeat(self, asked: Asked) -> bytes:
        code = NO_ERROR
        try:
            self._known(asked.body.group).heartbeat(asked.body.member_id, asked.body.generation_id)
        except Refused as refused:
            code = refused.code
        return asked.answer(*((0,) if asked.version else ()), code)

    def leave(self, asked: Asked) -> bytes:
        code = NO_ERROR
        try:
            self._known(asked.body.group).leave(asked.body.member_id)
        except Refused as refused:
            code = refused.code
        return asked.answer(*((0,) if asked.version else ()), code)

    def commit(self, asked: Asked) -> bytes:
        body, code = asked.body, NO_ERROR
        group = self._groups.get(body.consumer_group) or Group(body.consumer_group)
        try:
            group.may_commit(body.consumer_id, body.consumer_group_generation_id)
        except Refused as refused:
            code = refused.code
        with self._store.at_once():
            topics = [
                (topic, [(entry[0], self._commit(code, group.name, topic, *entry)) for entry in partitions])
                for topic, partitions in body.topics
            ]
        return asked.answer(*((0,) if asked.version > 2 else ()), topics)

    def _commit(self, code: int, group: str, topic: str, partition: int, at: int, note: str | None) -> int:
        if code == NO_ERROR and self._topics.log(topic, partition) is None:
            code = UNKNOWN_PARTITION
        if code == NO_ERROR:
            self._store.commit(group, topic, partition, at, note or "")
        return code

    def committed(self, asked: Asked) -> bytes:
        """What a group has committed: of these partitions, or of all that it has."""
        body = asked.body
        known = self._store.committed(body.consumer_group)
        wanted: dict[str, list[int]] = dict(body.topics or ())
        if body.topics is None:
            for topic, partition in known:
                wanted.setdefault(topic, []).append(partition)
        topics = [
            (topic, [(number, *known.get((topic, number), (-1, "")), NO_ERROR) for number in partitions])
            for topic, partitions in wanted.items()
        ]
        if asked.version < 2:
            return asked.answer(topics)
        return asked.answer(*((0,) if asked.version > 2 else ()), topics, NO_ERROR)

    def list(self, asked: Asked) -> bytes:
        """Those that have members, or have committed something."""
        kinds = dict.fromkeys(self._store.groups(), "consumer") | {it.name: it.kind for it in self._groups.values()}
        return asked.answer(*((0,) if asked.version else ()), NO_ERROR, sorted(kinds.items()))

    def describe(self, asked: Asked) -> bytes:
        kept = set(self._store.groups())
        groups = [self._described(name, name in kept) for name in asked.body.groups]
        return asked.answer(*((0,) if asked.version else ()), groups)

    def _described(self, name: str, has_committed: bool) -> tuple[Any, ...]:
        if (group := self._groups.get(name)) is None:
            return NO_ERROR, name, str(State.EMPTY) if has_committed else "Dead", "", "", []
        members = [
            (
                it.id,
                it.says.client_id,
                it.says.host,
                it.says.protocols.get(group.protocol, b"") if group.state == State.STABLE else b"",
                it.assignment if group.state == State.STABLE else b"",
            )
            for it in group.members.values()
        ]
        return NO_ERROR, name, str(group.state), group.kind, group.protocol, members

    def delete(self, asked: Asked) -> bytes:
        kept = set(self._store.groups())
        results = []
        for name in asked.body.groups_names:
            group = self._groups.get(name)
            code = NOT_EMPTY if group is not None and group.members else NO_ERROR if name in kept else NO_GROUP
            if code == NO_ERROR:
                self._store.remove_group(name)
            results.append((name, code))
        return asked.answer(0, results)


def _joined(asked: Asked, code: int, it: Joined) -> bytes:
    named = asked.version >= _NAMED_JOIN
    members = [(id, None, says) if named else (id, says) for id, says in it.members.items()]
    throttled = (0,) if asked.version >= _THROTTLED_JOIN else ()
    return asked.answer(*throttled, code, it.generation, it.protocol, it.leader, it.member, members)
