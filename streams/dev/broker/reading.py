"""Reading: fetches, which wait for what is not there yet, and where partitions begin and end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from streams.dev.broker.log import OffsetGone, PartitionLog
from streams.dev.broker.sessions import Place, Session, SessionRefused, Sessions
from streams.dev.broker.topics import Topics
from streams.dev.broker.wire import Asked

NO_ERROR, OUT_OF_RANGE, UNKNOWN_PARTITION = 0, 1, 3
_SESSIONS_SINCE, _STARTS_SINCE, _LEADERS_SINCE, _REPLICAS_SINCE = 7, 5, 9, 11
_LATEST, _EARLIEST, _NOWHERE = -1, -2, -1

Found = tuple[int, int, int, bytes]
"""Of a partition the error, its end, its start, and batches."""


class Reading:
    """Answers those who read."""

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self._sessions = Sessions()

    async def fetch(self, asked: Asked) -> bytes:
        """Records, as soon as there are as many bytes as are wanted at least, or the time is over."""
        body = asked.body
        id, epoch = (body.session_id, body.session_epoch) if asked.version >= _SESSIONS_SINCE else (0, -1)
        forgotten = body.forgotten_topics_data if asked.version >= _SESSIONS_SINCE else ()
        try:
            session, is_whole = self._sessions.of(id, epoch, _wanted(asked), _places(forgotten))
        except SessionRefused as refused:
            return asked.answer(0, refused.code, 0, [])
        found = self._found(session, body.max_bytes, is_whole)
        if body.max_wait_time > 0 and not _is_enough(found, body.min_bytes):
            await self._news(session, body.max_wait_time / 1000)
            found = self._found(session, body.max_bytes, is_whole)
        for place, (_, end, start, data) in found.items():
            session.told[place] = end, start
            if data:  # the others come first next time
                session.wanted[place] = session.wanted.pop(place)
        return _answer(asked, session.id, found)

    def _found(self, session: Session, most_bytes: int, is_whole: bool) -> dict[Place, Found]:
        """What an answer says: of all that is wanted, or of that which has news."""
        found, room = {}, most_bytes
        for place, (offset, most) in session.wanted.items():
            log = self._topics.log(*place)
            if log is None:
                found[place] = UNKNOWN_PARTITION, -1, -1, b""
                continue
            data, code = b"", NO_ERROR
            try:
                if room > 0 or not log.start <= offset <= log.end:
                    # The first partition gives one batch, however large it is; the others what there is room for.
                    data = log.read(offset, min(most, room))
                    data = data if room == most_bytes or len(data) <= room else b""
            except OffsetGone:
                code = OUT_OF_RANGE
            room -= len(data)
            if is_whole or code or data or session.told.get(place) != (log.end, log.start):
                found[place] = code, log.end, log.start, data
        return found

    async def _news(self, session: Session, seconds: float) -> None:
        """Return when one of the partitions has got something, or after so many seconds."""
        news = asyncio.Event()
        logs: list[PartitionLog] = [log for place in session.wanted if (log := self._topics.log(*place)) is not None]
        for log in logs:
            log.waiting.add(news)
        try:
            async with asyncio.timeout(seconds):
                await news.wait()
        except TimeoutError:
            pass
        finally:
            for log in logs:
                log.waiting.discard(news)

    def offsets(self, asked: Asked) -> bytes:
        """Where partitions begin or end, or have a time."""
        topics = [
            (topic, [(partition, *self._offset(topic, partition, time)) for partition, time in partitions])
            for topic, partitions in asked.body.topics
        ]
        return asked.answer(topics) if asked.version < 2 else asked.answer(0, topics)

    def _offset(self, topic: str, partition: int, time: int) -> tuple[int, int, int]:
        """Error, time and offset."""
        log = self._topics.log(topic, partition)
        if log is None:
            return UNKNOWN_PARTITION, _NOWHERE, _NOWHERE
        if time in (_LATEST, _EARLIEST):
            return NO_ERROR, _NOWHERE, log.end if time == _LATEST else log.start
        offset, at = log.first_since(time) or (_NOWHERE, _NOWHERE)
        return NO_ERROR, at, offset


def _wanted(asked: Asked) -> dict[Place, tuple[int, int]]:
    at = 2 if asked.version >= _LEADERS_SINCE else 1
    return {
        (topic, entry[0]): (entry[at], entry[-1]) for topic, partitions in asked.body.topics for entry in partitions
    }


def _places(topics: Iterable[tuple[str, Iterable[int]]]) -> list[Place]:
    return [(topic, partition) for topic, partitions in topics for partition in partitions]


def _is_enough(found: dict[Place, Found], least: int) -> bool:
    return any(code for code, *_ in found.values()) or sum(len(data) for *_, data in found.values()) >= max(least, 1)


def _answer(asked: Asked, session: int, found: dict[Place, Found]) -> bytes:
    topics: dict[str, list[tuple[Any, ...]]] = {}
    for (topic, partition), (code, end, start, data) in found.items():
        starts = (start,) if asked.version >= _STARTS_SINCE else ()
        replica = (-1,) if asked.version >= _REPLICAS_SINCE else ()
        topics.setdefault(topic, []).append((partition, code, end, end, *starts, [], *replica, data))
    head = (0, NO_ERROR, session) if asked.version >= _SESSIONS_SINCE else (0,)
    return asked.answer(*head, list(topics.items()))
