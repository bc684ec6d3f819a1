"""Who watches: what must hold after each step, and when everything has come to rest."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from streams.deciding.messages import decode_reply
from streams.journal.port import NOTHING_CONSUMED, log_name
from streams.journal.position import stream_name
from streams.ownership.owner import Owner
from tests.simulation import ending, reading
from tests.simulation.account import TYPE
from tests.simulation.log_checks import LogChecks
from tests.simulation.operator import fact
from tests.simulation.topics import COMMANDS_TOPIC, CONTROL_TOPIC, EVENTS_TOPIC

if TYPE_CHECKING:
    from tests.simulation.faults import Slot
    from tests.simulation.projecting import ProjectionWorker
    from tests.simulation.world import World


class Checks:
    """The first invariant that breaks ends the run: `failed` is its name, and what was seen."""

    def __init__(self, world: World) -> None:
        self.failed: tuple[str, str] | None = None
        self.logs = LogChecks(world)
        self.replies: list[bytes] = []
        self._when: dict[str, dict[int, tuple[int, int]]] = {}
        self._serving: dict[str, str] = {}
        self._world = world

    def fail(self, invariant: str, text: str) -> None:
        """An invariant does not hold."""
        if self.failed is None:
            self.failed = invariant, text
            self._world.note("FAILED", invariant, text)
            self._world.loop.stop()

    # -- after each step -----------------------------------------------------------------------------

    def replied(self, replies: Sequence[tuple[str, str, bytes]]) -> None:
        """An owner hands over replies: a commit covers each of the commands."""
        for _, _, value in replies:
            self.replies.append(value)
            reply = decode_reply(value)
            if not any(self._covered(*place) for place in self._world.client.places_of(reply.command_id)):
                self.fail("no reply before its commit", f"{reply.command_id} is answered {reply.status}")

    def _covered(self, topic_id: str, partition: int, offset: int) -> bool:
        log = reading.log_of(self._world, partition)
        return any(it.topic_id == topic_id and it.slices[partition].offset >= offset for it in reversed(log))

    def bounds(self, owner: Owner) -> None:
        """A queue holds no more than two groups; a cache beyond its limit only what could not be loaded again."""
        limits, cache = self._world.shape.limits, owner.handler.cache
        if len(owner.queue) > 2 * limits.group_commands:
            self.fail("queues are bounded", f"{owner.log}: {len(owner.queue)} commands wait")
        if owner.head is not None and cache.weight > cache.limit and not owner.handler.touched:
            # It shrinks with each commit, by what was indexed then.
            idle = [id for id, aggregate in cache._aggregates.items() if aggregate.nr <= owner.head.derived_nr]
            if idle:
                self.fail("caches are bounded", f"{owner.log}: {idle} might be out, limit {cache.limit}")

    # -- at rest -------------------------------------------------------------------------------------

    def at_rest(self, without: Collection[int] = ()) -> bool:
        """Whether all is answered, committed, derived, published and applied, but for what is of some slices."""
        return not self.what_is_missing(without)

    def what_is_missing(self, without: Collection[int] = ()) -> str:
        """The first thing that is not done yet, or nothing."""
        world = self._world
        if world.layout.planned:
            return f"logs are planned: {world.layout.planned}"
        if unanswered := world.client.unanswered(without):
            return f"no reply to {unanswered}"
        topic = world.kafka.topics[COMMANDS_TOPIC]
        for partition, commands in enumerate(topic.partitions):
            if partition in without:
                continue
            stream, span = stream_name(TYPE, partition), world.layout.of(partition)
            log = reading.log_of(world, partition)
            covered = log[-1].slices[partition].offset if log and log[-1].topic_id == topic.id else NOTHING_CONSUMED
            if covered < commands.last_message:
                return f"{stream}: offset {commands.last_message} of {topic.id} is not covered"
            owner = self._slot(world.command_group.owners.get(span.seat))
            owned = owner.worker.ownership.logs.get(span.number) if owner is not None else None
            if owned is None or owned.owner is None:
                return f"{stream}: nobody owns its log"
            present = world.store.log[log_name(TYPE, span.number)]
            if not present:
                return f"{stream}: its log has not begun"
            # A zombie may have taken over for a moment: its empty commit has no rows.
            rows_nr = max((commit.nr for commit in present if commit.events), default=0)
            if owned.owner.derivation.derived_nr < rows_nr:
                return f"{stream}: derived rows are not written"
            positions = reading.positions(reading.happened(world, partition))
            published = reading.published(world.kafka.history(EVENTS_TOPIC, partition))
            if positions and positions[-1] not in published:
                return f"{stream}: {positions[-1]} is not published"
            reader = self._slot(world.projection_group.owners.get(partition))
            if reader is None:
                return f"{stream}: nobody projects it"
            if without and world.faults.stuck.keeps_tables_waiting:
                continue
            if missing := self._is_behind(reader.worker, partition, positions[-1] if positions else (0, -1)):
                return f"{stream}: {missing}"
        return ""

    def is_in_between(self) -> bool:
        """Whether something has failed that somebody may be about to look at, or a log has a seal that is not noted."""
        return bool(self._world.loop.died_unseen()) or bool(ending.unlike_its_span(self._world))

    def why_not_at_rest(self) -> tuple[str, str]:
        """The invariant that is broken where all should have come to rest, and what was seen."""
        if (stuck := self._world.faults.stuck.slices) and (missing := self.what_is_missing(stuck)):
            return "the trouble of a slice is its own", f"{sorted(stuck)} cannot go on, nor does {missing}"
        return "liveness", self.what_is_missing()

    def _is_behind(self, worker: ProjectionWorker, partition: int, newest: tuple[int, int]) -> str:
        """What a projection worker has still to do in a partition."""
        orders, control = self._world.kafka.partition(CONTROL_TOPIC, 0), worker.control
        if control.offset + 1 < len(orders.records):
            return f"{worker.name} has followed {control.offset + 1} of {len(orders.records)} orders"
        if too_large := self._world.faults.operator.too_large():
            return f"rows of {sorted(too_large)} are aside"
        if standing := [name for name in worker.supervisor.troubles if name.startswith("tail ")]:
            return f"{standing} stand still"
        if partition not in worker.source.partitions or not worker.ready:
            return f"{worker.name} does not serve it"
        kept = worker.source.partitions[partition]
        wanted = {it.table for it in worker.source._wanted(partition)}
        if kept.tables.keys() != wanted:
            return f"{sorted(kept.tables)} are kept, and not {sorted(wanted)}"
        for name, table in kept.tables.items():
            if not kept.is_current(name) or table.place.at < newest:
                return f"{name} is at {table.place}, and not at {newest}"
        for name, wanted_table in worker.source.newest().items():
            if control.serving(name) != wanted_table:
                return f"{control.serving(name)} answers, and not {wanted_table}"
            if control.paused(name) is not None:
                return f"{name} is paused"
        return ""

    # -- what is ordered -----------------------------------------------------------------------------

    def ordered(self, records: Sequence[tuple[bytes, bytes | None, object]]) -> None:
        """Orders are on their topic. A table that is put in charge has what was published when it was ordered, or as
        much as the one before it."""
        for key, value, _ in records:
            kind, name, what = fact(key, value)
            self._world.note("fact", kind, name, what)
            if kind == "generation" and what is not None:
                published = {p: self._published(p) for p in range(self._world.shape.partitions)}
                self._when.setdefault(f"{name}.{what['generation']}", published)
            if kind == "serving" and what is not None:
                self._check_switch(name, what["table"])

    def _published(self, partition: int) -> tuple[int, int]:
        return max(reading.published(self._world.kafka.history(EVENTS_TOPIC, partition)), default=(0, -1))

    def _check_switch(self, projection: str, table: str) -> None:
        before = self._serving.get(projection)
        self._serving[projection] = table
        for partition, published in self._when.get(table, {}).items():
            owner = self._slot(self._world.projection_group.owners.get(partition))
            if owner is not None and (replaced := owner.worker.source.table(partition, before or table)) is not None:
                due = min(published, replaced.place.at)
                found = reading.durable_place(self._world, partition, table)
                if found < due and found < reading.last_change(self._world, partition, table, due):
                    text = f"{table} of {partition} has {found}, and not {due}"
                    self.fail("a table answers when it is complete", text)

    def _slot(self, name: str | None) -> Slot | None:
        """Where the process of that name runs now."""
        return next((slot for slot in self._world.faults.slots if slot.process.name == name), None)

    def at_the_end(self) -> None:
        """All that must hold now that nothing moves any more."""
        readers = {p: self._slot(name) for p, name in self._world.projection_group.owners.items()}
        for invariant, check in ending.INVARIANTS.items():
            if text := check(self._world, readers):
                self.fail(invariant, text)
                return
