"""The model: what the commits of a slice must hold, decided again from the command topic, one command after another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from aggregates.decider import Rejected
from streams.journal.port import Commit
from streams.journal.position import stream_name
from streams.kafka.client import partition_of
from tests.simulation import account as domain
from tests.simulation.account import EVENTS, TYPE, State
from tests.simulation.hostile import Stranger
from tests.simulation.topics import COMMANDS_TOPIC

if TYPE_CHECKING:
    from tests.simulation.client import Request
    from tests.simulation.world import World

Row = tuple[str, int, str, bytes, str, str]
"""Aggregate id, sequence, type, data, command id, and who has sent the command."""
Outcome = tuple[int, int, tuple[str, ...]]
"""Commit number, sequence and event types of the first reply to an accepted command."""


class Answer(NamedTuple):
    """A reply, but for the words of its error."""

    command_id: str
    status: str
    sequence: int
    events: tuple[str, ...]
    position: str
    error: str


@dataclass
class Account:
    """One aggregate, and the accepted command ids that it remembers, oldest first."""

    state: State = field(default_factory=State)
    sequence: int = 0
    outcomes: dict[str, Outcome] = field(default_factory=dict)


@dataclass
class Expected:
    """What a commit must hold of a slice, the answers to what it covers, and the places of its dead letters."""

    rows: list[Row] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    letters: list[str] = field(default_factory=list)
    eventful_nr: int = 0


class Model:
    """One slice. After `replay` has been read to its end, `accounts` are as the whole log leaves those of the slice."""

    def __init__(self, world: World, slice: int) -> None:
        self.accounts: defaultdict[str, Account] = defaultdict(Account)
        self._world = world
        self._slice = slice
        self._stream = stream_name(TYPE, slice)
        self._eventful = 0

    def replay(self, log: Sequence[Commit]) -> Iterator[tuple[Commit, Expected]]:
        """Commit by commit of the logs that have had the slice."""
        sent, topic_id, offset = self._world.client.sent, "", -1
        for commit in log:
            if commit.topic_id != topic_id:
                topic_id, offset = commit.topic_id, -1
            expected = Expected()
            while offset < commit.slices[self._slice].offset:
                offset += 1
                request = sent.get((topic_id, self._slice, offset))
                if request is None:
                    continue  # a transaction marker
                if isinstance(request, Stranger):
                    expected.letters.append(f"{COMMANDS_TOPIC}:{self._slice}:{offset}")
                    continue
                answer = self._decide(request, commit, expected.rows)
                expected.answers.append(answer)
                if answer.status == "failed":
                    expected.letters.append(f"{COMMANDS_TOPIC}:{self._slice}:{offset}")
            expected.eventful_nr = self._eventful
            yield commit, expected

    def _decide(self, request: Request, commit: Commit, rows: list[Row]) -> Answer:
        """Adds to `rows`."""
        if partition_of(request.aggregate.encode(), self._world.shape.partitions) != self._slice:
            return self._answer(request, "failed", 0, self._eventful, "WrongPartition")
        account = self.accounts[request.aggregate]
        if known := account.outcomes.get(request.id):
            nr, sequence, events = known
            return Answer(request.id, "accepted", sequence, events, f"{self._stream}:{nr}", "")
        state, sequence = account.state, account.sequence
        if request.deadline is not None and request.deadline < commit.recorded_at:
            return self._answer(request, "failed", sequence, self._eventful, "DeadlinePassed")
        if request.type in ("Unknown", "Unreadable"):
            error = "UnknownCommand" if request.type == "Unknown" else "Unreadable"
            return self._answer(request, "failed", sequence, self._eventful, error)
        try:
            domain.account.check(request.who, _command(request), state)
            events = domain.decide(_command(request), state)
        except Rejected as no:
            return self._answer(request, "rejected", sequence, self._eventful, no.type)
        except ZeroDivisionError:
            return self._answer(request, "failed", sequence, self._eventful, "DomainError")
        who = "" if request.who is None else request.who.text
        for event in events:
            account.state = domain.evolve(account.state, event)
            account.sequence += 1
            name = type(event).__name__
            rows.append((request.aggregate, account.sequence, name, EVENTS.encode(event), request.id, who))
        if events:
            self._eventful = commit.nr
        else:
            eventful = str(self._eventful).encode()
            rows.append((request.aggregate, account.sequence, "", eventful, request.id, who))
        names = tuple(type(event).__name__ for event in events)
        account.outcomes[request.id] = self._eventful, account.sequence, names
        if len(account.outcomes) > self._world.shape.dedupe_window:
            del account.outcomes[next(iter(account.outcomes))]
        return Answer(request.id, "accepted", account.sequence, names, f"{self._stream}:{self._eventful}", "")

    def _answer(self, request: Request, status: str, sequence: int, nr: int, error: str) -> Answer:
        return Answer(request.id, status, sequence, (), f"{self._stream}:{nr}", error)


def _command(request: Request) -> domain.Command:
    kind = domain.account.commands[request.type]
    return kind() if kind in (domain.Touch, domain.Boom) else kind(request.amount)  # type: ignore[no-any-return]
