"""The journal in memory is the specification: whatever is asked of both, a real one answers as it does."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from functools import partial
from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from streams.journal.layout import first_layout
from streams.journal.memory import MemoryJournal
from streams.journal.port import (
    Commit,
    Fenced,
    Journal,
    Published,
    RecordedEvent,
    SliceHead,
    Snapshot,
    log_name,
    log_type,
)
from streams.open_journal import open_journal
from tests.contract.conftest import CONTEXT
from tests.stores import drop_journals

EXAMPLES = 40
STEPS = 40
BEHIND = [0, 4, 1_000]
"""The numbers behind which logs begin."""
MOMENT = datetime(2011, 5, 31, 12, 30, 15, 123000, tzinfo=UTC)

ALL_IDS = ["a", "b", "a\0", "\\0", "Zoë ☃"]
IDS = st.sampled_from(ALL_IDS)
EVENTS = st.lists(
    st.builds(
        RecordedEvent,
        aggregate_id=IDS,
        sequence=st.integers(0, 2),
        type=st.sampled_from(["LineAdded", "OrderPlaced", "", "#note"]),
        data=st.binary(max_size=40),
        command_id=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5),
        correlation_id=st.sampled_from(["", "k\0"]),
        traceparent=st.sampled_from(["", "00-1-2-01"]),
    ),
    max_size=5,
).map(tuple)
SNAPSHOTS = st.lists(
    st.builds(Snapshot, IDS, st.integers(0, 9), st.integers(0, 9), st.integers(1, 3), st.binary(max_size=60)),
    max_size=3,
)

Ask = Callable[[Journal], Coroutine[Any, Any, Any]]


class Machine(RuleBasedStateMachine):
    """Owners that append, lose and take over, and readers, on a log and a type of their own."""

    def __init__(self, runner: asyncio.Runner, real: Journal, names: itertools.count[int]) -> None:
        super().__init__()
        self.runner = runner
        self.real = real
        self.memory = MemoryJournal()
        number = next(names)
        self.name = log_name(uuid.uuid4().hex[:8], number)
        self.type = log_type(self.name)
        self.after = BEHIND[number % len(BEHIND)]
        self.log: list[Commit] = []

    def both(self, ask: Ask) -> Any:
        """The answer of the real journal, or the error; the one in memory answers the same."""
        expected, actual = (self.runner.run(answer(ask(journal))) for journal in (self.memory, self.real))
        assert expected == actual
        return actual

    def append(self, commit: Commit, snapshots: list[Snapshot]) -> None:
        """On both; what the real one has derived by itself, the one in memory is told to derive."""
        asks = [partial(journal.append, commit, snapshots) for journal in (self.memory, self.real)]
        expected, actual = (self.runner.run(answer(ask())) for ask in asks)
        assert expected == actual
        if expected is None and commit.nr == self.after + len(self.log) + 1:
            self.log.append(commit)
            if self.real.is_transactional:
                self.runner.run(self.memory.derive([commit]))
                self.runner.run(self.memory.save_snapshots(self.type, snapshots))

    def next_commit(self, events: tuple[RecordedEvent, ...], **changes: Any) -> Commit:
        """What the owner of the head would append."""
        nr = self.after + len(self.log) + 1
        epoch, owner = (self.log[-1].epoch, self.log[-1].owner) if self.log else (1, "a")
        slices = {3: SliceHead(10 * nr, nr if events else 0), 0: SliceHead()}
        commit = Commit(self.name, nr, epoch, owner, "topic", slices, nr - 1, MOMENT, events)
        return msgspec.structs.replace(commit, **changes)

    @rule(groups=st.lists(st.tuples(EVENTS, SNAPSHOTS), min_size=1, max_size=4))
    def go_on(self, groups: list[tuple[tuple[RecordedEvent, ...], list[Snapshot]]]) -> None:
        for events, snapshots in groups:
            self.append(self.next_commit(events), snapshots)

    @rule(owner=st.sampled_from("abc"))
    def take_over(self, owner: str) -> None:
        self.append(self.next_commit((), epoch=self.log[-1].epoch + 1 if self.log else 1, owner=owner), [])

    @precondition(lambda self: self.log)
    @rule(data=st.data(), events=EVENTS, changed=st.sampled_from(["epoch", "owner", "slices", "events", "topic_id"]))
    def come_too_late(self, data: st.DataObject, events: tuple[RecordedEvent, ...], changed: str) -> None:
        present = data.draw(st.sampled_from(self.log))
        others = {"epoch": present.epoch + 1, "owner": "late", "slices": {}, "events": events, "topic_id": "other"}
        self.append(msgspec.structs.replace(present, **{changed: others[changed]}), [])

    @precondition(lambda self: self.log)
    @rule(data=st.data(), snapshots=SNAPSHOTS)
    def repeat(self, data: st.DataObject, snapshots: list[Snapshot]) -> None:
        self.append(data.draw(st.sampled_from(self.log)), snapshots)

    @rule()
    def head(self) -> None:
        self.both(lambda journal: journal.head(self.name, self.after))

    @rule(skip=st.integers(0, 12), limit=st.integers(1, 12))
    def commits(self, skip: int, limit: int) -> None:
        self.both(lambda journal: listed(journal.commits(self.name, self.after + skip, limit)))

    @rule(data=st.data())
    def index(self, data: st.DataObject) -> None:
        commits = data.draw(st.lists(st.sampled_from(self.log), max_size=4)) if self.log else []
        self.both(lambda journal: journal.derive(commits))

    @rule(id=IDS, from_sequence=st.integers(0, 5))
    def events(self, id: str, from_sequence: int) -> None:
        self.both(lambda journal: listed(journal.events(self.type, id, from_sequence)))

    @rule(id=IDS, data=st.data())
    def remove_events(self, id: str, data: st.DataObject) -> None:
        rows = self.both(lambda journal: listed(journal.events(self.type, id)))
        some = data.draw(st.lists(st.sampled_from(rows), max_size=3)) if rows else []
        for _ in range(2):  # what is gone may be removed again
            self.both(lambda journal: journal.remove_events(self.type, some))

    @rule(id=IDS)
    def snapshot(self, id: str) -> None:
        self.both(lambda journal: journal.snapshot(self.type, id))

    @rule(snapshots=SNAPSHOTS)
    def save_snapshots(self, snapshots: list[Snapshot]) -> None:
        self.both(lambda journal: journal.save_snapshots(self.type, snapshots))

    @rule(id=IDS)
    def remove_snapshot(self, id: str) -> None:
        self.both(lambda journal: journal.remove_snapshot(self.type, id))

    @rule()
    def aggregate_ids(self) -> None:
        self.both(lambda journal: collected(journal, self.type))

    @rule(published=st.none() | st.builds(Published, st.integers(0, 99), st.integers(-1, 99)))
    def publish(self, published: Published | None) -> None:
        if published is not None:
            self.both(lambda journal: journal.save_published(self.name, published))
        self.both(lambda journal: journal.published(self.name))

    @rule(version=st.integers(1, 4), logs=st.integers(1, 3))
    def change_layout(self, version: int, logs: int) -> None:
        present = self.both(lambda journal: journal.layout(self.type))
        if present is not None or version == 1:
            wanted = msgspec.structs.replace(first_layout(4, logs), version=version)
            self.both(lambda journal: journal.change_layout(self.type, wanted))

    def teardown(self) -> None:
        """In the end all of it is the same."""
        self.head()
        self.commits(0, 1000)
        self.both(lambda journal: journal.layout(self.type))
        self.aggregate_ids()
        for id in ALL_IDS:
            self.events(id, 0)
            self.snapshot(id)


async def answer(asked: Coroutine[Any, Any, Any]) -> Any:
    """What was answered; an error as its type and its words."""
    try:
        return await asked
    except Fenced as error:
        return type(error), str(error)


async def listed(asked: Coroutine[Any, Any, Any]) -> list[Any]:
    """As a list, whichever kind of sequence it is."""
    return list(await asked)


async def collected(journal: Journal, type: str) -> list[str]:
    """All ids, sorted: the port gives them in no order. One that comes twice is there twice."""
    return sorted([id async for id in journal.aggregate_ids(type)])


@pytest.mark.parametrize("kind", ["sqlite", "postgres", "cassandra"])
def test_a_real_journal_answers_as_the_one_in_memory(
    kind: str, request: pytest.FixtureRequest, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random appends, repeats, late ones, takeovers, repairs and reads, each compared, errors included."""
    monkeypatch.setattr("streams.journal.cassandra.journal.COMMITS_PER_BUCKET", 3)
    url, names, ours = request.getfixturevalue(f"{kind}_url"), itertools.count(), f"{namespace}m"
    real = open_journal(url, ours, CONTEXT)
    with asyncio.Runner() as runner:
        runner.run(real.create())
        runner.run(real.open())
        try:
            run_state_machine_as_test(
                lambda: Machine(runner, real, names),
                settings=settings(
                    max_examples=EXAMPLES,
                    stateful_step_count=STEPS,
                    derandomize=True,
                    deadline=None,
                    database=None,
                    phases=[Phase.generate],  # to shrink what fails takes minutes on a server: add it to look closer
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            runner.run(real.close())
            runner.run(drop_journals(url, ours))
