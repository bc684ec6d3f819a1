"""What must hold when everything has come to rest, each held against the log, and the log against a model."""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from streams.deciding.loading import load_aggregate
from streams.deciding.messages import decode_reply
from streams.journal.memory import MemoryJournal
from streams.journal.port import log_name
from streams.journal.position import stream_name
from streams.slices import slice_of
from tests.simulation import tables
from tests.simulation.account import EVENTS, TYPE, account
from tests.simulation.model import Account, Answer, Model
from tests.simulation.reading import log_of, positions, published, streams
from tests.simulation.store import at_once
from tests.simulation.tables import Readers
from tests.simulation.topics import DEAD_LETTERS_TOPIC, EVENTS_TOPIC

if TYPE_CHECKING:
    from tests.simulation.world import World


# Each returns what is wrong, or nothing.


def _sequences(world: World, readers: Readers) -> str:
    for stream in streams(world).values():
        last: Counter[str] = Counter()
        for commit, index, event in stream:
            last[event.aggregate_id] += 1
            if event.sequence != last[event.aggregate_id]:
                return f"{commit.log}:{commit.nr}:{index} of {event.aggregate_id} has sequence {event.sequence}"
    return ""


def _spans(world: World, readers: Readers) -> str:
    """Of each slice the numbers of commits rise over all its logs, and each log ends with its seal, if it does."""
    for slice in range(world.shape.partitions):
        numbers = [commit.nr for commit in log_of(world, slice)]
        if any(one >= two for one, two in itertools.pairwise(numbers)):
            return f"slice {slice} has the commits {numbers}"
    return unlike_its_span(world)


def unlike_its_span(world: World) -> str:
    """The first log that has another end than the layout says, or nothing."""
    for span in world.layout.logs:
        log = world.store.log[log_name(TYPE, span.number)]
        seals = [commit.nr for commit in log if commit.is_seal]
        if seals != ([] if span.sealed is None else [log[-1].nr]) or span.sealed not in (None, log[-1].nr):
            return f"{span} has the seals {seals}, and ends with {log[-1]}"
    return ""


def _decisions(world: World, readers: Readers) -> str:
    """Every commit holds, of each slice, what the model decides of the commands that it covers, and the replies say
    so."""
    expected: Counter[Answer] = Counter()
    letters: list[str] = []
    for slice in range(world.shape.partitions):
        for commit, wanted in Model(world, slice).replay(log_of(world, slice)):
            found = [
                (row.aggregate_id, row.sequence, row.type, row.data, row.command_id, row.principal)
                for row in commit.events
                if slice_of(row.aggregate_id, world.shape.partitions) == slice
            ]
            if wanted.rows != found:
                return f"{commit.log}:{commit.nr}: of slice {slice} the model has {wanted.rows}, the log {found}"
            if wanted.eventful_nr != commit.slices[slice].eventful_nr:
                return f"{commit.log}:{commit.nr}: slice {slice} has its newest event in {wanted.eventful_nr}"
            expected.update(wanted.answers)
            letters += wanted.letters
    ours = {request.id for request in world.client.requests}
    answers = [_answer(value) for value in world.checks.replies]
    if wrong := Counter(answer for answer in answers if answer.command_id in ours) - expected:
        return f"replies that nothing in the log gives: {sorted(wrong)}"
    if strange := [answer for answer in answers if answer.command_id not in ours and answer.status != "failed"]:
        return f"what is no command was done: {strange}"
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
    for slice in range(world.shape.partitions):
        rows: dict[str, list[Any]] = {}
        for commit in log_of(world, slice):
            for index, event in enumerate(commit.events):
                if slice_of(event.aggregate_id, world.shape.partitions) == slice:
                    rows.setdefault(event.aggregate_id, []).append((event.sequence, commit.nr, index, event))
        model = Model(world, slice)
        deque(model.replay(log_of(world, slice)), maxlen=0)
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
    """Each partition of the events topic has had the events of its slice, in their order but for repeats, each with the
    one before it, and no other."""
    for partition, stream in streams(world).items():
        name = stream_name(TYPE, partition)
        committed = {f"{name}:{c.nr}:{i}": (e.aggregate_id, e.data, e.sequence) for c, i, e in stream}
        previous = dict(zip(committed, [f"{name}:0:0", *committed], strict=False))
        records = [record for record in world.kafka.history(EVENTS_TOPIC, partition) if not record.foreign]
        for record in records:
            headers = dict(record.headers)
            key = record.key.decode() if record.key else ""
            if committed.get(headers["ce_id"].decode()) != (key, record.value, int(headers["ce_sequence"])):
                return f"{headers['ce_id']!r} was published, and is not in the log"
            if (before := headers.get("ce_previous", b"").decode()) not in ("", previous[headers["ce_id"].decode()]):
                return f"{headers['ce_id']!r} was published behind {before!r}, which is not the event before it"
        if positions(stream) != published(records):
            return f"partition {partition}: committed {positions(stream)}, published {published(records)}"
    return ""


def _tasks(world: World, readers: Readers) -> str:
    """Every task that has failed was missed by somebody."""
    return "; ".join(world.loop.died_unseen())


INVARIANTS: dict[str, Callable[[Any, Readers], str]] = {
    "no task dies unseen": _tasks,
    "sequences are dense": _sequences,
    "logs go on from one another": _spans,
    "one effect, one meaning of a reply": _decisions,
    "derived rows are the log's": _derived,
    "published is what is committed": _publication,
    **tables.INVARIANTS,
}
