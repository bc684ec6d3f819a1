"""given / when / then: the behaviour of a decider or a process manager in the words of the domain.

given(order, OrderOpened(...)).when(PlaceOrder()).then(rejected("EmptyOrder"))
given(order, OrderOpened(...)).when(CancelOrder("..."), by=Principal("oidc", "alice")).then_forbidden()
given(checkout).when(ForeignEvent("order", "17", "OrderPlaced", {...})).then(Send("product", ...))

No server, file or clock is used: both are pure. `sourced.testing` says the same of projections and of upcasters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar, cast, overload

from aggregates.decider import FORBIDDEN, Decider, Rejected
from aggregates.differences import require_same
from aggregates.principal import Principal
from aggregates.process_manager import ForeignEvent, ProcessManager, Send

C = TypeVar("C")
E = TypeVar("E")
S = TypeVar("S")

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
"""The time of commands: the engine puts it into the `time_field` of those that leave it open."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """What is expected of a command that is refused: the stable type of its rejection, and its message, empty: any."""

    type: str
    message: str = ""


def rejected(type: str, message: str = "") -> Rejection:
    """That a command is rejected, for `then`. `message` is compared where it is given."""
    return Rejection(type, message)


@overload
def given(subject: Decider[C, E, S], *events: E) -> Given[C, E, S]: ...
@overload
def given(subject: ProcessManager[C, E, S], *events: E | ForeignEvent | tuple[str, C]) -> GivenProcess[C, E, S]: ...
def given(subject: Any, *events: Any) -> Any:
    """A decider and the events before the test; or a process manager and its own events, or what it has heard before
    and the commands to itself, as (process id, command)."""
    return (GivenProcess if isinstance(subject, ProcessManager) else Given)(subject, events)


class Given(Generic[C, E, S]):
    """A decider, and the events before the test."""

    def __init__(self, subject: Decider[C, E, S], events: Sequence[E]) -> None:
        self.subject, self.events = subject, events

    def when(self, command: C, by: Principal | None = None, at: datetime = NOW) -> Outcome[E]:
        """The outcome of a command of somebody; None: of nobody. `at` is when Kafka took it."""
        decider = self.subject
        state = decider.fold(self.events)
        command = _timed(command, at)
        try:
            decider.check(by, command, state)
            events = decider.decide(command, state)
        except Rejected as no:
            return Outcome(no)
        decider.fold(events, state)  # never fails: an event is a fact
        return Outcome(events)

    def then_state(self, expected: S) -> None:
        """The state that the events make."""
        require_same(expected, self.subject.fold(self.events), "the state")


class GivenProcess(Generic[C, E, S]):
    """A process manager, and what was before the test: what it has heard, or its own events."""

    def __init__(self, subject: ProcessManager[C, E, S], events: Sequence[E | ForeignEvent | tuple[str, C]]) -> None:
        self.subject, self.events = subject, events

    @overload
    def when(  # type: ignore[overload-overlap]  # no command is one of these
        self, heard: ForeignEvent | tuple[str, C], /
    ) -> SentOutcome[E]: ...
    @overload
    def when(self, command: C, /, by: Principal | None = None, at: datetime = NOW) -> Outcome[E]: ...
    def when(self, what: Any, /, by: Principal | None = None, at: datetime = NOW) -> Any:
        """What follows when it hears one event more, or gets one command more as (process id, command): commands to
        others. Or the outcome of a command alone, after events of its own."""
        if isinstance(what, ForeignEvent | tuple):
            ours = Processes(self.subject)
            for event in self.events:
                ours.take(event)
            before = len(ours.events)
            sent = ours.take(what)
            return SentOutcome(sent, ours.events[before:])
        return Given(self.subject.decider, cast("Sequence[E]", self.events)).when(what, by, at)

    def then_sends(self, *expected: Send) -> None:
        """The commands that it sends after the last event, having heard all of them in this order."""
        ours = Processes(self.subject)
        sent: list[Send] = []
        for event in self.events:
            sent = ours.take(event)
        require_same(list(expected), sent)


class Processes:
    """The processes of a process manager, in memory. `events` are their own ones, in order."""

    def __init__(self, manager: ProcessManager[Any, Any, Any]) -> None:
        self.manager = manager
        self.states: dict[str, Any] = {}
        self.events: list[Any] = []

    def take(self, what: Any) -> list[Send]:
        """The commands that are sent because of what it hears, or of a command as (process id, command)."""
        return self.hear(what) if isinstance(what, ForeignEvent) else self.decide(*what)

    def hear(self, event: ForeignEvent) -> list[Send]:
        """The commands that are sent because of an event of another aggregate."""
        if event.type not in self.manager.hears.get(event.source, ()):
            return []
        reactions = self.manager.hear(event)
        return [send for reaction in reactions for send in self.decide(reaction.process, reaction.command)]

    def decide(self, process: str, command: object) -> list[Send]:
        """The commands that are sent because of a command to this process; none when it is rejected."""
        decider = self.manager.decider
        state = self.states.get(process, decider.initial)
        events = answer(decider, _timed(command, NOW), state) or []
        self.states[process] = decider.fold(events, state)
        self.events += events
        return [send for event in events for send in self.manager.sends(process, event)]


class Outcome(Generic[E]):
    """The result of a test: the events of a command, its rejection, or a projection's answer to a question."""

    def __init__(self, result: Any) -> None:
        self.result = result

    def then(self, *expected: E | Rejection) -> None:
        """These events, in this order; or that it is `rejected`."""
        match expected:
            case (Rejection(type, message),):
                self._rejected(type, message)
            case _:
                require_same(list(expected), self._events())

    def then_nothing(self) -> None:
        """No event: it was honoured before."""
        require_same([], self._events())

    def then_answer(self, expected: object) -> None:
        """A projection's answer."""
        require_same(expected, self.result)

    def then_rejected(self, type: str) -> None:
        """A rejection of this type."""
        self._rejected(type, "")

    def then_forbidden(self) -> None:
        """That its sender may not send it."""
        self._rejected(FORBIDDEN, "")

    def _events(self) -> Any:
        if isinstance(self.result, Rejected):
            raise AssertionError(f"expected events, but it is rejected: {self.result}")
        return self.result

    def _rejected(self, type: str, message: str) -> None:
        if not isinstance(self.result, Rejected):
            raise AssertionError(f"expected it to be rejected as {type}, but it is {self.result!r}")
        require_same(type, self.result.type, str(self.result))
        if message:
            require_same(message, self.result.message)


class SentOutcome(Generic[E]):
    """What a process manager makes of what it has heard: commands to others, and events of its own."""

    def __init__(self, sent: list[Send], events: list[E]) -> None:
        self.sent, self.events = sent, events

    def then(self, *expected: Send) -> SentOutcome[E]:
        """These commands, in this order."""
        require_same(list(expected), self.sent)
        return self

    def then_nothing(self) -> None:
        """Neither a command nor an event."""
        require_same([], self.sent)
        require_same([], self.events)

    def then_events(self, *expected: E) -> SentOutcome[E]:
        """These events of its own, of all its processes."""
        require_same(list(expected), self.events)
        return self


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


def _timed(command: C, at: datetime) -> C:
    """The command with its time, where it leaves that open."""
    field = getattr(command, "time_field", None)
    if field is None or getattr(command, field) is not None:
        return command
    return replace(command, **{field: at})  # type: ignore[type-var]
