"""What must hold after any fault, read from the outside: command topic, journal, events topic, replies, rows."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec

from aggregates.shop.order import order
from projections.projection import PublishedEvent
from projections.shop.tables.orders import orders
from schemas.codec import Codec
from schemas.registry import Schemas
from streams.deciding.quarantine import UNPARKED, is_note
from streams.journal.port import NOTHING_CONSUMED, Commit, RecordedEvent
from tests.e2e.client import PARTITIONS, eventually, partition_of
from tests.e2e.load import Load
from tests.e2e.system import System
from tests.e2e.worker import Worker

LAG_SECONDS = 90.0
ROWS_AT_ONCE = 20


class Place(NamedTuple):
    """An event and its place in the log."""

    nr: int
    index: int
    event: RecordedEvent


class Counts(NamedTuple):
    """Of the commands that were sent: how many there were, had no effect, and had more than one."""

    sent: int
    lost: int
    duplicated: int


async def check_all(load: Load, projections: Worker | None = None) -> Counts:
    """All that holds for a load whose every command has a reply, and for the rows when a worker serves them."""
    system = load.system
    commits = await system.commits("orders", "order")
    effects = await check_log(system, "order", commits)
    counts = Counts(
        len(load.sent),
        sum(id not in effects for id in load.sent),
        sum(len(events) > 1 for events in effects.values()),
    )
    assert Counts(len(load.sent), 0, 0) == counts
    assert load.sent.keys() == effects.keys()
    await check_replies(load, effects)
    if projections is not None:
        await check_nothing_behind(system, projections)
        await check_events(system, "order", commits)
        await check_orders(system, projections, commits)
    return counts


async def check_log(system: System, type: str, commits: Mapping[int, list[Commit]]) -> dict[str, list[Place]]:
    """Hold the logs of a type, by number, against its command topic; returns the events by command id.

    Commits dense, from 1 or behind the seals of the logs before, epochs rising one by one, every offset of each slice
    in one commit and every event in the commit that covers its command, unless that waited in quarantine; each
    aggregate's sequence dense from 1, and no command twice.
    A topic that was made again, or has lost its end, gives out offsets anew; what it held before can only be seen in
    the log.
    """
    offsets: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for record in filter(_is_ours, await system.read(f"{type}-commands")):
        offsets[dict(record.headers)["ce_id"].decode()].append((record.partition, record.offset))
    ends = await system.ends(f"{type}-commands")
    effects: dict[str, list[Place]] = {}
    sequences, sealed = defaultdict[str, int](int), dict[int, tuple[int, int]]()
    for log in commits.values():
        first = max((sealed[slice][0] for slice in log[0].slices if slice in sealed), default=0) + 1
        assert list(range(first, first + len(log))) == [commit.nr for commit in log]
        nothing = dict.fromkeys(log[0].slices, NOTHING_CONSUMED)
        before = {slice: sealed[slice][1] if slice in sealed else NOTHING_CONSUMED for slice in nothing}
        topic_id, epoch = log[0].topic_id, 0
        last_anew = max((b.nr for a, b in pairwise(log) if b.topic_id != a.topic_id or _fell(a, b)), default=0)
        waited = {row.command_id for commit in log for row in commit.events if is_note(row)}
        for commit in log:
            now = {slice: head.offset for slice, head in commit.slices.items()}
            assert now.keys() == nothing.keys(), "each commit says how far each slice of its log is"
            assert commit.epoch in (epoch, epoch + 1), "an epoch begins with the next number"
            assert commit.epoch == epoch or not commit.events, "a takeover writes an empty commit"
            taken_over, epoch = commit.epoch != epoch, commit.epoch
            if commit.topic_id != topic_id:
                assert taken_over, "a new topic begins with a takeover"
                topic_id, before = commit.topic_id, nothing
            if taken_over:
                before = {slice: min(offset, now[slice]) for slice, offset in before.items()}
                assert before == now
            else:
                releasing = any(row.type == UNPARKED for row in commit.events)
                assert all(offset <= now[slice] for slice, offset in before.items())
                assert releasing or (before == now) == commit.is_seal
            by_command: defaultdict[str, list[Place]] = defaultdict(list)
            for index, event in enumerate(commit.events):
                places = [(slice, offset) for slice, offset in offsets[event.command_id] if slice in now]
                covered = any(before[slice] < offset <= now[slice] for slice, offset in places)
                assert covered or event.command_id in waited or commit.nr < last_anew, (
                    f"{event.command_id} is in commit {commit.nr}, which does not cover it"
                )
                if event.is_event:
                    sequences[event.aggregate_id] += 1
                    by_command[event.command_id].append(Place(commit.nr, index, event))
                assert sequences[event.aggregate_id] == event.sequence
            assert not by_command.keys() & effects.keys(), "a command has an effect in two commits"
            effects.update(by_command)
            before = now
        if log[-1].is_seal:
            sealed |= {slice: (log[-1].nr, offset) for slice, offset in before.items()}
        else:
            assert {slice: ends[slice] for slice in before} == {
                slice: offset + 1 for slice, offset in before.items()
            }, "every command is covered"
    return effects


def _fell(before: Commit, after: Commit) -> bool:
    """Whether a slice is less far than it was: Kafka has lost commands of it."""
    return any(after.slices[slice].offset < head.offset for slice, head in before.slices.items())


def _is_ours(record: Any) -> bool:
    """Not what a stranger has put there (`tests/chaos/strangers.py`), as far as it can be read at all."""
    return bool(record.headers) and "stranger" not in dict(record.headers)


async def check_replies(load: Load, effects: Mapping[str, list[Place]]) -> None:
    """Every command has a reply, all replies to one are the same bytes, and they say what the log holds."""
    inbox = await load.system.answers()
    for id in load.sent:
        assert 1 == len({record.value for record in inbox.by_key[id]}), f"{id}: its replies differ, or there is none"
        reply = await inbox.answer(id)
        last = effects[id][-1]
        assert ("accepted", id) == (reply["status"], reply["command_id"])
        assert [place.event.type for place in effects[id]] == reply["events"]
        assert (last.event.aggregate_id, last.event.sequence) == (
            reply["aggregate"]["id"],
            reply["aggregate"]["sequence"],
        )
        assert last.nr == int(reply["position"].rpartition(":")[2])


async def check_nothing_behind(system: System, projections: Worker) -> None:
    """The tables reach the journal: `/lag` is 0."""
    seen: list[Any] = []

    async def caught_up() -> bool:
        seen[:] = [await system.lag(projections)]
        return seen[0] is not None and seen[0]["total"] == 0

    await eventually(caught_up, LAG_SECONDS, lambda: f"{seen}\n{projections.tail_app()}")


async def check_events(system: System, type: str, commits: Mapping[int, list[Commit]]) -> None:
    """The events topic has exactly the committed events in their order, when late duplicates are left out."""
    published: dict[int, list[tuple[Any, ...]]] = {p: [] for p in range(PARTITIONS)}
    newest: dict[int, tuple[int, int]] = dict.fromkeys(range(PARTITIONS), (0, 0))
    for record in filter(_is_ours, await system.read(f"{type}-events")):
        attributes = {name: value.decode() for name, value in record.headers}
        stream, nr, index = attributes["ce_position"].rsplit(":", 2)
        assert f"{type}-{record.partition}" == stream
        if (int(nr), int(index)) > newest[record.partition]:
            newest[record.partition] = int(nr), int(index)
            published[record.partition].append(
                (int(nr), int(index), record.key.decode(), attributes["ce_type"], attributes["ce_sequence"],
                 attributes["ce_causationid"], record.value)
            )  # fmt: skip
    expected: dict[int, list[tuple[Any, ...]]] = {p: [] for p in range(PARTITIONS)}
    for commit in (commit for log in commits.values() for commit in log):
        for index, it in enumerate(commit.events):
            if it.is_event:
                row = commit.nr, index, it.aggregate_id, it.type, str(it.sequence), it.command_id, it.data
                expected[partition_of(it.aggregate_id)].append(row)
    assert expected == published


async def check_orders(system: System, projections: Worker, commits: Mapping[int, list[Commit]]) -> None:
    """Every order that a worker shows is the fold of its events in the log."""
    codec = Codec([s for s in Schemas.load("shop", order.type) if s.name not in order.commands], order.events)
    rows: dict[str, Any] = {}
    for commit in (commit for log in commits.values() for commit in log):
        time = commit.recorded_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        for index, it in enumerate(commit.events):
            if it.is_event:
                row = rows.get(it.aggregate_id)
                for event in codec.decode(it.data):
                    published = PublishedEvent(
                        event,
                        it.type,
                        it.aggregate_id,
                        it.sequence,
                        time,
                        f"order-{partition_of(it.aggregate_id)}",
                        commit.nr,
                        index,
                    )
                    row = orders.evolve(row, it.aggregate_id, published)
                assert row is not None
                rows[it.aggregate_id] = {**row, "position": published.position, "sequence": it.sequence}
    at_once = asyncio.Semaphore(ROWS_AT_ONCE)

    async def check(key: str) -> None:
        async with at_once:
            status, row, _ = await system.get(projections, f"/orders/{key}")
        assert 200 == status, row
        assert msgspec.to_builtins(rows[key]) == row

    await asyncio.gather(*map(check, rows))
