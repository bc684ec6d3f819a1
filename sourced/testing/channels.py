"""The channels of a world: messages that are delivered one after another, and some of them again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from aggregates.process_manager import Send
from sourced.testing.wiring import Served
from streams.deciding.messages import Envelope
from streams.journal.port import RecordedEvent
from streams.journal.position import position_text, stream_name


@dataclass(eq=False)
class Happened:
    """An event in the journal, and what it stands for today."""

    type: str
    id: str
    nr: int
    index: int
    row: RecordedEvent
    parts: tuple[Any, ...]
    time: datetime
    ticket: int
    served: Served
    sends: list[Send] = field(default_factory=list)
    """The commands that it causes, as an event of a process manager."""

    @property
    def stream(self) -> str:
        return stream_name(self.type, 0)

    @property
    def event_id(self) -> str:
        return position_text(self.stream, self.nr, self.index)

    @cached_property
    def fields(self) -> list[tuple[str, Any]]:
        return self.served.fields(self.row.data)

    def __str__(self) -> str:
        return f"{self.row.type} of {self.type} {self.id}"


@dataclass(slots=True)
class Waiting:
    """A command in a queue. `forgotten`: its aggregate does not remember the id any more, should it have had it."""

    envelope: Envelope
    ticket: int
    forgotten: bool = False


class Channel:
    """Messages that are delivered in order. `ticket` is that of the next one, None where none waits."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def ticket(self) -> int | None:
        raise NotImplementedError

    def run(self) -> str:
        """Deliver the next message. Returns what came of it, for people."""
        raise NotImplementedError

    def again(self, back: int, forgotten: bool) -> str:
        """Deliver the last messages again. Returns which, empty where there are none."""
        return ""


class Inbox(Channel):
    """The commands of one aggregate."""

    def __init__(self, name: str, decide: Callable[[Waiting], str], new_ticket: Callable[[], int]) -> None:
        super().__init__(name)
        self._decide = decide
        self._new_ticket = new_ticket
        self.waiting: list[Waiting] = []
        self._next = 0

    @property
    def ticket(self) -> int | None:
        return self.waiting[self._next].ticket if self._next < len(self.waiting) else None

    def run(self) -> str:
        waiting = self.waiting[self._next]
        self._next += 1
        return self._decide(waiting)

    def again(self, back: int, forgotten: bool) -> str:
        if self._next < back:
            return ""
        waiting = self.waiting[self._next - back]
        self.waiting.append(Waiting(waiting.envelope, self._new_ticket(), forgotten))
        return f"{waiting.envelope.type} to {self.name} is sent again"


class Reader(Channel):
    """The events of one aggregate that concern a process manager: which it hears, or which cause commands."""

    def __init__(self, name: str, take: Callable[[Happened, bool], str]) -> None:
        super().__init__(name)
        self.events: list[Happened] = []
        self._take = take
        self._next = 0
        self._forget_until = 0

    @property
    def ticket(self) -> int | None:
        return self.events[self._next].ticket if self._next < len(self.events) else None

    def run(self) -> str:
        happened = self.events[self._next]
        self._next += 1
        return self._take(happened, self._next <= self._forget_until)

    def again(self, back: int, forgotten: bool) -> str:
        first = max(0, self._next - back)
        if first == self._next:
            return ""
        if forgotten:
            self._forget_until = max(self._forget_until, self._next)
        events = ", ".join(it.row.type for it in self.events[first : self._next])
        self._next = first
        return f"{self.name}: again from {events}"


class DueTimer(Channel):
    """A pending timer. `due` is when, None where it is pending no more, with the ticket of that; `ask` asks it to fire
    for a due time, which has an effect once."""

    def __init__(self, name: str, now: Callable[[], datetime], ask: Callable[[datetime], str]) -> None:
        super().__init__(name)
        self.due: tuple[datetime, int] | None = None
        self._now = now
        self._ask = ask
        self._asked: datetime | None = None

    @property
    def ticket(self) -> int | None:
        if self.due is None or self.due[0] > self._now() or self.due[0] == self._asked:
            return None
        return self.due[1]

    def run(self) -> str:
        assert self.due is not None
        self._asked = self.due[0]
        return self._ask(self._asked)

    def again(self, back: int, forgotten: bool) -> str:
        if self._asked is None:
            return ""
        self._asked = None
        return f"{self.name}: is asked again"
