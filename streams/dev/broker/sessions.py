"""Fetch sessions (KIP-227): what a consumer has asked for is remembered, and an answer names what has something new."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

MOST_SESSIONS = 1_000
FIRST, FINAL = 0, -1
LAST_EPOCH = 2**31 - 1
NOT_FOUND, INVALID_EPOCH = 70, 71

Place = tuple[str, int]
"""Topic and partition."""


class SessionRefused(Exception):
    """Of another broker, or forgotten, or out of step. `code` is Kafka's number for that."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass
class Session:
    """`wanted` has offset and most bytes by place, `told` what the last answer said of one: its end and its start."""

    id: int
    epoch: int = FIRST
    wanted: dict[Place, tuple[int, int]] = field(default_factory=dict)
    told: dict[Place, tuple[int, int]] = field(default_factory=dict)


class Sessions:
    """Those of one broker; one that was not used for longest gives way to a new one."""

    def __init__(self) -> None:
        self._ids = itertools.count(1)
        self._sessions: OrderedDict[int, Session] = OrderedDict()

    def of(
        self, id: int, epoch: int, wanted: Mapping[Place, tuple[int, int]], forgotten: Iterable[Place]
    ) -> tuple[Session, bool]:
        """The session that a request belongs to, with what is wanted in it from now on, and whether all of it is to be
        answered for. One without an id is not kept. Raises `SessionRefused`."""
        if epoch in (FIRST, FINAL):
            self._sessions.pop(id, None)
            session = Session(0 if epoch == FINAL else next(self._ids), FIRST, dict(wanted))
            if session.id:
                self._sessions[session.id] = session
                if len(self._sessions) > MOST_SESSIONS:
                    self._sessions.popitem(last=False)
            return session, True
        if (session := self._sessions.get(id)) is None:  # type: ignore[assignment]
            raise SessionRefused(NOT_FOUND)
        if epoch != (1 if session.epoch == LAST_EPOCH else session.epoch + 1):
            raise SessionRefused(INVALID_EPOCH)
        session.epoch = epoch
        self._sessions.move_to_end(id)
        for place in forgotten:
            session.wanted.pop(place, None)
            session.told.pop(place, None)
        session.wanted.update(wanted)
        return session, False
