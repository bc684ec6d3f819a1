"""given / when / then: the behaviour of a decider or a process manager in the words of the domain.

given(order, OrderOpened(...)).when(PlaceOrder()).then_rejected("EmptyOrder")
given(order, OrderOpened(...)).when(CancelOrder("..."), by=Principal("oidc", "alice")).then_forbidden()
given(checkout, ForeignEvent("order", "17", "OrderPlaced", {...})).then_sends(Send("product", ...))

No server, file or clock is used: both are pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from aggregates.decider import FORBIDDEN, Decider, Rejected
from aggregates.principal import Principal
from aggregates.process_manager import ForeignEvent, ProcessManager, Send

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
"""The time at which a process hears of events: the engine puts it into the `time_field` of its commands."""


def given(subject: Any, *events: object) -> Given:
    return Given(subject, events)


class Given:
    """A decider or a process manager, and the events before the test."""

    def __init__(self, subject: Any, events: tuple[object, ...]) -> None:
        self.subject, self.events = subject, events

    def when(self, command: object, by: Principal | None = None) -> Outcome:
        """The outcome of a command of somebody; None: of nobody."""
        decider = self.subject.decider if isinstance(self.subject, ProcessManager) else self.subject
        try:
            state = decider.fold(self.events)
            decider.check(by, command, state)
            return Outcome(decider.decide(command, state))
        except Rejected as rejected:
            return Outcome(rejected)

    def then_sends(self, *expected: Send) -> None:
        """The commands that a process manager sends after the last event, having heard all of them in this order.

        Commands to itself may stand among the events, as (process id, command).
        """
        ours = Processes(self.subject)
        sent: list[Send] = []
        for event in self.events:
            sent = ours.hear(event) if isinstance(event, ForeignEvent) else ours.decide(*event)  # type: ignore[misc]
        _same(list(expected), sent)


class Processes:
    """The processes of a process manager, in memory."""

    def __init__(self, manager: ProcessManager[Any, Any, Any]) -> None:
        self.manager = manager
        self.states: dict[str, Any] = {}

    def hear(self, event: ForeignEvent) -> list[Send]:
        """The commands that are sent because of an event of another aggregate."""
        if event.type not in self.manager.hears.get(event.source, ()):
            return []
        reactions = self.manager.hear(event)
        return [send for reaction in reactions for send in self.decide(reaction.process, reaction.command)]

    def decide(self, process: str, command: object) -> list[Send]:
        """The commands that are sent because of a command to this process; none when it is rejected."""
        decider = self.manager.decider
        field = getattr(command, "time_field", None)
        if field is not None and getattr(command, field) is None:
            command = replace(command, **{field: NOW})  # type: ignore[type-var]
        state = self.states.get(process, decider.initial)
        events = answer(decider, command, state) or []
        self.states[process] = decider.fold(events, state)
        return [send for event in events for send in self.manager.sends(process, event)]


class Outcome:
    """The result of a test: the events of a command, its rejection, or a projection's answer to a question."""

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

    def then_forbidden(self) -> None:
        self.then_rejected(FORBIDDEN)


def answer(decider: Decider[Any, Any, Any], command: object, state: Any) -> list[Any] | None:
    """The events of a command, or None when it is rejected. Raises any other exception of `decide`."""
    try:
        return decider.decide(command, state)
    except Rejected:
        return None


def accepted(decider: Decider[Any, Any, Any], commands: Iterable[object]) -> Iterator[tuple[Any, list[Any], Any]]:
    """Each accepted command of a sequence, with its events and the state after it."""
    state = decider.initial
    for command in commands:
        events = answer(decider, command, state)
        if events is not None:
            state = decider.fold(events, state)
            yield command, events, state


def _same(expected: object, actual: object) -> None:
    assert expected == actual, f"expected {expected!r}, but it is {actual!r}"
