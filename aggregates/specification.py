"""given / when / then: what a decider or a process manager does, said in the words of the domain.

given(order, OrderOpened(...)).when(PlaceOrder()).then_rejected("EmptyOrder")
given(checkout, Happened("order", "17", "OrderPlaced", {...})).then_sends(Send("product", ...))

Pure, as they are: no server, no file, no clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from aggregates.decider import Decider, Rejected
from aggregates.process_manager import ForeignEvent, ProcessManager, Send

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
"""When a process hears of events: what the engine fills into the `time_field` of its commands."""


def given(subject: Any, *events: object) -> Given:
    return Given(subject, events)


class Given:
    """A decider or a process manager, and what has happened to it."""

    def __init__(self, subject: Any, events: tuple[object, ...]) -> None:
        self.subject, self.events = subject, events

    def when(self, command: object) -> Outcome:
        try:
            return Outcome(self.subject.decide(command, self.subject.fold(self.events)))
        except Rejected as rejected:
            return Outcome(rejected)

    def then_sends(self, *expected: Send) -> None:
        """Of a process manager: the commands that follow from the last of the events, all of them having been heard in
        this order. Its own commands may stand among the events, as (process id, command)."""
        told = Told(self.subject)
        sent: list[Send] = []
        for event in self.events:
            sent = told.hear(event) if isinstance(event, ForeignEvent) else told.tell(*event)  # type: ignore[misc]
        _same(list(expected), sent)


class Told:
    """A process manager and its processes, in memory."""

    def __init__(self, manager: ProcessManager[Any, Any, Any]) -> None:
        self.manager = manager
        self.states: dict[str, Any] = {}

    def hear(self, event: ForeignEvent) -> list[Send]:
        """What follows from an event of another."""
        if event.type not in self.manager.hears.get(event.source, ()):
            return []
        return [send for heard in self.manager.hear(event) for send in self.tell(heard.process, heard.command)]

    def tell(self, process: str, command: object) -> list[Send]:
        """What follows from a command of its own; nothing when it is rejected."""
        decider = self.manager.decider
        field = getattr(command, "time_field", None)
        if field is not None and getattr(command, field) is None:
            command = replace(command, **{field: NOW})  # type: ignore[type-var]
        state = self.states.get(process, decider.initial)
        events = answer(decider, command, state) or []
        self.states[process] = decider.fold(events, state)
        return [send for event in events for send in self.manager.sends(process, event)]


class Outcome:
    """The events that a command has led to, or its rejection, or the answer to a question (of a projection)."""

    def __init__(self, result: Any) -> None:
        self.result = result

    def then(self, *events: object) -> None:
        _same(list(events), self.result)

    def then_nothing(self) -> None:
        _same([], self.result)

    def then_answer(self, expected: object) -> None:
        _same(expected, self.result)

    def then_rejected(self, type: str) -> None:
        _same(type, getattr(self.result, "type", self.result))


def answer(decider: Decider[Any, Any, Any], command: object, state: Any) -> list[Any] | None:
    """The events that `command` leads to, or None when it is rejected; whatever else is raised goes through."""
    try:
        return decider.decide(command, state)
    except Rejected:
        return None


def accepted(decider: Decider[Any, Any, Any], commands: Iterable[object]) -> Iterator[tuple[Any, list[Any], Any]]:
    """Of a sequence of commands each accepted one, with its events and the state after it."""
    state = decider.initial
    for command in commands:
        events = answer(decider, command, state)
        if events is not None:
            state = decider.fold(events, state)
            yield command, events, state


def _same(expected: object, actual: object) -> None:
    assert expected == actual, f"expected {expected!r}, but it is {actual!r}"
