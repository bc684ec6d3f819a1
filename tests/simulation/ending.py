"""What must hold when everything has come to rest, each held against the log, and the log against a model."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from projections import queries
from projections.changelog import PLACE, QUARANTINED, ROW, decode_place, decode_quarantined, is_newer, key_of, read_key
from projections.fold import evolved
from projections.kept import Kept, Store
from projections.projection import PublishedEvent, Row
from projections.rows import GONE, decode_row, position_of
from projections.tailer import read_position
from streams.handler import load_aggregate
from streams.journal import Commit, RecordedEvent, stream_name
from streams.journal_memory import MemoryJournal
from streams.messages import decode_reply
from tests.simulation.account import EVENTS, KEPT, TYPE, account
from tests.simulation.model import Account, Answer, Model
from tests.simulation.store import at_once
from tests.simulation.topics import CHANGELOG, DEAD_LETTERS_TOPIC, EVENTS_TOPIC, PROJECTION_LETTERS_TOPIC

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
    """The events topic has had the events of the log, in its order but for repeats, and no other."""
    for partition, log in _logs(world).items():
        committed = {f"{c.stream}:{c.nr}:{i}": (e.aggregate_id, e.data, e.sequence) for c, i, e in _events(log)}
        records = world.kafka.history(EVENTS_TOPIC, partition)
        for record in records:
            headers = dict(record.headers)
            key = record.key.decode() if record.key else ""
            if committed.get(headers["ce_id"].decode()) != (key, record.value, int(headers["ce_sequence"])):
                return f"{headers['ce_id']!r} was published, and is not in the log"
        if positions(log) != published(records):
            return f"partition {partition}: committed {positions(log)}, published {published(records)}"
    return ""


@dataclass
class Folded:
    """What a projection makes of a log, event by event: the rows, and by key the positions that wait."""

    rows: dict[str, Row] = field(default_factory=dict)
    waiting: dict[str, list[str]] = field(default_factory=dict)


def _folded(kept: Kept, log: Iterable[Commit]) -> Folded:
    projection, found = kept.projection, Folded()
    for commit, index, stored in _events(log):
        event = PublishedEvent(
            EVENTS.decode_one(stored.data),
            stored.type,
            stored.aggregate_id,
            stored.sequence,
            "",
            commit.stream,
            commit.nr,
            index,
        )
        for key in projection.keys(event):
            if key not in found.waiting:
                try:
                    row = evolved(projection, found.rows.get(key), key, [event])
                except ArithmeticError:
                    found.waiting[key] = []
                else:
                    found.rows[key] = {**({GONE: True} if row is None else row), "position": event.position}
                    if not projection.local:
                        found.rows[key]["sequence"] = event.sequence
            if key in found.waiting:
                found.waiting[key].append(event.position)
    return found


def durable_place(world: World, partition: int, table: str) -> Position:
    """How far a table is for whoever takes it over."""
    if table.startswith("overview"):
        place = world.read_model.place(table, partition)
        return place.at if place is not None else (0, -1)
    key, at = key_of(table, PLACE), (0, -1)
    for record in world.kafka.partition(CHANGELOG, partition).records:
        if record.key == key:
            at = (0, -1) if record.value is None else max(at, decode_place(record.value).at)
    return at


def _tables(world: World, readers: Readers) -> str:
    """The tables of whoever keeps them, and what a new worker would recover, are the fold of the log."""
    for partition, log in _logs(world).items():
        reader = readers[partition]
        assert reader is not None
        recovered = _recovered(world, partition)
        for kept in KEPT:
            wanted = _folded(kept, log)
            for table in reader.worker.source.partitions[partition].tables:
                if table.rpartition("-")[0] == kept.name:
                    stores = {"changelog": _kept_in(recovered, table), "disk": _kept_in(reader.disk[partition], table)}
                    if kept.store is Store.READ_MODEL:
                        stores = {"read model": _shared(world, partition, table)}
                    for where, (rows, waits, at, complete) in stores.items():
                        text = f"{table} of partition {partition} in the {where}"
                        if wanted.rows != rows:
                            return f"{text}: the log gives {wanted.rows}, there is {rows}"
                        if (places := positions(log)) and (at, complete) != (places[-1], places[-1][0]):
                            return f"{text}: it is at {at}, complete to {complete}, and not at {places[-1]}"
                        expected = {key: (its[0], len(its), its[-1]) for key, its in wanted.waiting.items()}
                        if expected != waits:
                            return f"{text}: {expected} wait, there is {waits}"
    return ""


Found = tuple[dict[str, Row], dict[str, tuple[str, int, str]], Position, int]
"""Rows, what waits by key, place, newest commit that is whole."""


def _kept_in(content: Mapping[bytes, bytes], table: str) -> Found:
    rows, waits, at, complete = {}, {}, (0, -1), 0
    for record_key, value in content.items():
        if record_key.startswith(table.encode() + b"\0"):
            _, kind, key = read_key(record_key)
            if kind == ROW:
                rows[key] = decode_row(value)
            elif kind == PLACE:
                place = decode_place(value)
                at, complete = place.at, place.complete
            elif kind == QUARANTINED and (it := decode_quarantined(value)).events:
                waits[key] = it.position, it.events, it.last
    return rows, waits, at, complete


def _recovered(world: World, partition: int) -> dict[bytes, bytes]:
    """What a worker with an empty disk would have."""
    found: dict[bytes, bytes] = {}
    for record in world.kafka.topics[CHANGELOG].partitions[partition].records:
        assert record.key is not None
        if record.value is None:
            found.pop(record.key, None)
        elif is_newer(read_key(record.key).kind, record.value, found.get(record.key)):
            found[record.key] = record.value
    return found


def _shared(world: World, partition: int, table: str) -> Found:
    kept = world.read_model.kept[partition, table]
    waits = {key: (it.position, it.events, it.last) for key, it in kept.quarantined.items() if it.events}
    at, complete = (kept.place.at, kept.place.complete) if kept.place is not None else ((0, -1), 0)
    return world.read_model.rows(table, partition), waits, at, complete


def _indexes(world: World, readers: Readers) -> str:
    """What rows are found by is what stands in them: entries, counts and the order of their changes."""
    for partition in _logs(world):
        reader = readers[partition]
        assert reader is not None
        store = reader.worker.local[TYPE].store
        for kept in KEPT:
            for table in reader.worker.source.partitions[partition].tables:
                if kept.indexes.values and table.rpartition("-")[0] == kept.name:
                    rows = {key: decode_row(queries.raw(store, partition, table, key) or b"") for key in
                            queries.keys(store, partition, table)}
                    for name, of in kept.indexes.values.items():
                        listed: dict[str, list[str]] = {}
                        for key in sorted(rows):
                            if (value := None if GONE in rows[key] else of(rows[key])) is not None:
                                listed.setdefault(value, []).append(key)
                        counted = queries.counts(store, partition, table, name)
                        if {value: len(keys) for value, keys in listed.items()} != counted:
                            return f"{table}: {listed} are listed by {name}, counted are {counted}"
                        for value, keys in listed.items():
                            found = [decode_row(it)["id"] for it in
                                     queries.indexed(store, partition, table, name, value, "", 1_000)]
                            if keys != found:
                                return f"{table}: {keys} stand under {name} {value}, listed are {found}"
                    changed = sorted(rows, key=lambda key: position_of(rows[key]))
                    if changed != (found := queries.changed_since(store, partition, table, (0, -1), 1_000)):
                        return f"{table}: changed are {changed}, told are {found}"
    return ""


def _waiting_events(world: World, readers: Readers) -> str:
    """Every event that waits behind a projection is in the dead letters."""
    for partition, log in _logs(world).items():
        reader = readers[partition]
        assert reader is not None
        letters = {
            (headers["dl_table"].decode(), headers["dl_key"].decode(), headers["ce_position"].decode())
            for record in world.kafka.topics[PROJECTION_LETTERS_TOPIC].partitions[partition].records
            for headers in [dict(record.headers)]
        }
        for kept in KEPT:
            waiting = _folded(kept, log).waiting
            for table in reader.worker.source.partitions[partition].tables:
                if table.rpartition("-")[0] == kept.name:
                    wanted = {(table, key, position) for key, its in waiting.items() for position in its}
                    if missing := wanted - letters:
                        return f"{sorted(missing)} wait, and are not in the dead letters"
    return ""


INVARIANTS: dict[str, Callable[[Any, Readers], str]] = {
    "sequences are dense": _sequences,
    "one effect, one meaning of a reply": _decisions,
    "derived rows are the log's": _derived,
    "published is what is committed": _publication,
    "tables are a fold of the log": _tables,
    "indexes are those of the rows": _indexes,
    "what waits is kept": _waiting_events,
}
