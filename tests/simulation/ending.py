"""What must hold when everything has come to rest, each held against the log, and the log against a model."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from projections.local_store import is_newer
from projections.projection import PublishedEvent
from projections.tailer import read_position
from streams.handler import load_aggregate
from streams.journal import Commit, RecordedEvent, stream_name
from streams.journal_memory import MemoryJournal
from streams.messages import decode_reply
from tests.simulation.account import EVENTS, PROJECTIONS, TYPE, account
from tests.simulation.model import Account, Answer, Model
from tests.simulation.store import at_once
from tests.simulation.workers import DEAD_LETTERS_TOPIC, EVENTS_TOPIC, changelog_of

if TYPE_CHECKING:
    from tests.simulation.faults import Slot
    from tests.simulation.kafka import Record
    from tests.simulation.world import World

Readers = dict[int, "Slot | None"]
Position = tuple[int, int]


def positions(log: Iterable[Commit]) -> list[Position]:
    """Commit number and index of every event."""
    return [(commit.nr, index) for commit, index, _ in _events(log)]


def published(records: Iterable[Record]) -> list[Position]:
    """Positions on an events topic, in the order of their first appearance above all before: what readers count."""
    found: list[Position] = []
    for record in records:
        at = read_position(record.headers)[1]
        if not found or (at.nr, at.index) > found[-1]:
            found.append((at.nr, at.index))
    return found


def _events(log: Iterable[Commit]) -> Iterable[tuple[Commit, int, RecordedEvent]]:
    for commit in log:
        for index, event in enumerate(commit.events):
            if event.is_event:
                yield commit, index, event


def _logs(world: World) -> dict[int, Sequence[Commit]]:
    return {p: world.store.log[stream_name(TYPE, p)] for p in range(world.shape.partitions)}


# Each returns what is wrong, or nothing.


def _sequences(world: World, readers: Readers) -> str:
    for log in _logs(world).values():
        last: Counter[str] = Counter()
        for commit, index, event in _events(log):
            last[event.aggregate_id] += 1
            if event.sequence != last[event.aggregate_id]:
                return f"{commit.stream}:{commit.nr}:{index} of {event.aggregate_id} has sequence {event.sequence}"
    return ""


def _decisions(world: World, readers: Readers) -> str:
    """Every commit holds what the model decides of the commands that it covers, and the replies say so."""
    expected: Counter[Answer] = Counter()
    letters: list[str] = []
    for partition, log in _logs(world).items():
        for commit, wanted in Model(world, partition).replay(log):
            found = [(row.aggregate_id, row.sequence, row.type, row.data, row.command_id) for row in commit.events]
            if wanted.rows != found:
                return f"{commit.stream}:{commit.nr}: the model has {wanted.rows}, the log {found}"
            expected.update(wanted.answers)
            letters += wanted.letters
    if wrong := Counter(_answer(value) for value in world.checks.replies) - expected:
        return f"replies that nothing in the log gives: {sorted(wrong)}"
    records = [record for log in world.kafka.topics[DEAD_LETTERS_TOPIC].partitions for record in log.records]
    kept = {dict(record.headers)["dl_position"].decode() for record in records}
    if missing := [letter for letter in letters if letter not in kept]:
        return f"failed, and not in the dead letters: {missing}"
    return ""


def _answer(value: bytes) -> Answer:
    reply = decode_reply(value)
    error = reply.error.type if reply.error else ""
    return Answer(reply.command_id, reply.status, reply.aggregate.sequence, reply.events, reply.position, error)


def _derived(world: World, readers: Readers) -> str:
    """The rows by aggregate are those of the log; what is loaded from them and the snapshot is the model's state."""
    journal = MemoryJournal(world.store)
    for partition, log in _logs(world).items():
        rows: dict[str, list[Any]] = {}
        for commit in log:
            for index, event in enumerate(commit.events):
                rows.setdefault(event.aggregate_id, []).append((event.sequence, commit.nr, index, event))
        model = Model(world, partition)
        deque(model.replay(log), maxlen=0)
        for aggregate_id, wanted in rows.items():
            stored = at_once(journal.events(TYPE, aggregate_id))
            found = [(row.event.sequence, row.nr, row.index, row.event) for row in stored]
            if sorted(wanted, key=lambda row: row[:3]) != found:
                return f"{aggregate_id}: the log has {wanted}, the derived rows are {found}"
            loaded = at_once(load_aggregate(journal, account, EVENTS, aggregate_id, world.shape.dedupe_window))
            outcomes = {id: (known.nr, known.sequence, known.events) for id, known in loaded.outcomes.items()}
            present = Account(loaded.state, loaded.sequence, outcomes)
            if model.accounts[aggregate_id] != present or list(model.accounts[aggregate_id].outcomes) != list(outcomes):
                return f"{aggregate_id}: the model has {model.accounts[aggregate_id]}, loaded is {present}"
    return ""


def _publication(world: World, readers: Readers) -> str:
    """The events topic holds the events of the log, in its order but for repeats, and no other."""
    for partition, log in _logs(world).items():
        committed = {f"{c.stream}:{c.nr}:{i}": (e.aggregate_id, e.data, e.sequence) for c, i, e in _events(log)}
        records = world.kafka.topics[EVENTS_TOPIC].partitions[partition].records
        for record in records:
            headers = dict(record.headers)
            key = record.key.decode() if record.key else ""
            if committed.get(headers["ce_id"].decode()) != (key, record.value, int(headers["ce_sequence"])):
                return f"{headers['ce_id']!r} was published, and is not in the log"
        if positions(log) != published(records):
            return f"partition {partition}: committed {positions(log)}, published {published(records)}"
    return ""


def _folded(log: Iterable[Commit]) -> dict[str, dict[bytes, Any]]:
    """The rows by table that the projections make of a log."""
    tables: dict[str, dict[bytes, Any]] = {projection.name: {} for projection in PROJECTIONS}
    for commit, index, row in _events(log):
        event = PublishedEvent(
            EVENTS.decode_one(row.data), row.type, row.aggregate_id, row.sequence, "", commit.stream, commit.nr, index
        )
        for projection in PROJECTIONS:
            rows = tables[projection.name]
            for key in projection.keys(event):
                row = projection.evolve(rows.get(key.encode()), key, event)
                rows[key.encode()] = {**row, "position": event.position}
                if not projection.local:
                    rows[key.encode()]["sequence"] = event.sequence
    return tables


def _tables(world: World, readers: Readers) -> str:
    """The tables of whoever serves them, and what a new worker would recover, are the fold of the log."""
    for partition, log in _logs(world).items():
        reader = readers[partition]
        assert reader is not None
        for name, wanted in _folded(log).items():
            disk = reader.disk.get((name, partition), {})
            served = {key: msgspec.json.decode(value) for key, value in disk.items() if not key.startswith(b"__faust")}
            if wanted != served:
                return f"{name} of partition {partition}: the log gives {wanted}, served is {served}"
            changes = world.kafka.topics[changelog_of(name)].partitions[partition].records
            recovered: dict[bytes, bytes] = {}
            for record in changes:
                if is_newer(record.value, recovered.get(record.key)):
                    recovered[record.key] = record.value
            kept = {key: msgspec.json.decode(value) for key, value in recovered.items()}
            if wanted != kept:
                return f"{name} of partition {partition}: the log gives {wanted}, its changelog {kept}"
    return ""


INVARIANTS: dict[str, Callable[[Any, Readers], str]] = {
    "sequences are dense": _sequences,
    "one effect, one meaning of a reply": _decisions,
    "derived rows are the log's": _derived,
    "published is what is committed": _publication,
    "tables are a fold of the log": _tables,
}
