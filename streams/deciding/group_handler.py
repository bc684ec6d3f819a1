"""The way from the messages of one log to what their commit writes. Knows neither Kafka nor Faust nor which journal."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from schemas.sealing import ITSELF, KeysNeeded
from streams.concurrency.retry import until_it_answers
from streams.deciding.cache import Aggregate, Cache
from streams.deciding.command_handler import UNKNOWN_KEY, CommandHandler
from streams.deciding.decided_group import DecidedGroup, failure_over
from streams.deciding.loading import EvolveFailed, load_aggregate
from streams.deciding.messages import Envelope, Failure, Message
from streams.deciding.orders import DROP
from streams.deciding.quarantine_policy import QuarantinePolicy
from streams.journal.event_decoding import NotReadableYet
from streams.journal.port import Aggregates, Commit, Unavailable
from streams.moments import now
from streams.slices import slice_of

LOADS_AT_ONCE = 64


class GroupHandler:
    """Decides the messages of one log in groups. State lives in `cache`; a group in work has its aggregates out.

    After `decide_group` the group is to be committed, then `settle` called; or else the handler dropped, since its
    aggregates have run ahead of the journal.

    log       its name
    slices    how many the type has, in all its logs
    advice    why somebody may send to a wrong partition; empty: he uses another partitioner
    """

    def __init__(
        self,
        commands: CommandHandler,
        *,
        journal: Aggregates,
        cache: Cache,
        log: str,
        slices: int,
        advice: Callable[[], str] = lambda: "",
    ) -> None:
        self.decider = commands.decider
        self.limits = commands.limits
        self.log = log
        self.cache = cache
        self.touched: dict[str, Aggregate] = {}
        """The aggregates of the group in work."""
        self._broken: dict[str, Failure] = {}
        self._unreadable: dict[str, NotReadableYet] = {}
        self._journal = journal
        self._slices = slices
        self._advice = advice
        self._loads = asyncio.Semaphore(LOADS_AT_ONCE)
        self._cached = self._loaded = 0
        """Aggregates of the group in work."""
        self._commands = commands
        self._quarantine = QuarantinePolicy(commands)

    async def decide_group(
        self, messages: Sequence[Message], head: Commit, waits: Callable[[Exception | None], None] | None = None
    ) -> DecidedGroup:
        """Decide as many messages as fit into one commit, the next one after `head`. Where an aggregate has an event
        that this code does not know, what follows in its slice is left out, and `held`.

        Waits for a journal that does not answer, of which `waits` is told as by `until_it_answers`. Raises the other
        errors of the journal: what is raised over one command is the failure of that command.
        """
        group = DecidedGroup(self.log, self.decider.type, self.limits, head.nr + 1, dict(head.slices), now())
        group.is_discreet = self._commands.is_discreet
        commands = [self._read(message, head.topic_id) for message in messages]
        if any(failure is not None and failure.type == UNKNOWN_KEY for _, failure in commands):
            await until_it_answers(self._commands.keys.catch_up, f"{self.log}: reading keys", Unavailable, waits)
            commands = [self._read(message, head.topic_id) for message in messages]
        ids = [envelope.aggregate_id for envelope, failure in commands if failure is None]
        began = time.monotonic()
        self._cached = self._loaded = 0
        await until_it_answers(lambda: self.load(ids), f"{self.log}: loading aggregates", Unavailable, waits)
        group.cached, group.loaded, loaded_at = self._cached, self._loaded, time.monotonic()
        for message, (envelope, failure) in zip(messages, commands, strict=True):
            if self._is_held(message, envelope, failure, group):
                group.done += 1
                continue
            while True:
                group.needed = None
                try:
                    is_decided = self._decide(envelope, failure, group)
                except KeysNeeded as needed:
                    behind = [its.aggregate_id for its, why in commands[group.done :] if why is None]
                    await self._fetch(needed, behind, waits)
                else:
                    break
            if group.needed is not None:
                await self._fetch(group.needed, (), waits)
            if not is_decided:
                break
            group.cover(message)
            if group.is_full:
                break
        group.snapshots = [
            aggregate.capture(aggregate_id, self.decider)
            for aggregate_id, aggregate in self.touched.items()
            if aggregate.nr == group.nr and aggregate.wants_snapshot(self.limits.snapshot_every)
        ]
        group.load_seconds, group.decide_seconds = loaded_at - began, time.monotonic() - loaded_at
        return group

    async def _fetch(
        self, needed: KeysNeeded, ids: Iterable[str], waits: Callable[[Exception | None], None] | None
    ) -> None:
        """Get keys of persons; where a key is to be made, those of the aggregates behind it too, all at once."""
        sealer = self._commands.events.sealer
        assert sealer is not None, "it is who needs them"
        subjects = set(needed.subjects)
        if ITSELF in self._commands.events.personal_subjects:
            subjects |= {*ids}
        fetch = partial(sealer.fetch, subjects, needed.create)
        await until_it_answers(fetch, f"{self.log}: fetching keys", Unavailable, waits)

    def _read(self, message: Message, topic_id: str) -> tuple[Envelope, Failure | None]:
        """A message as a command, and the failure when it is none that its partition takes."""
        envelope, failure = self._commands.read(message)
        if not envelope.id:
            # The time, too: a topic that has lost its end gives the same offsets to other commands.
            envelope.id = f"{topic_id}/{message.partition}/{message.offset}/{message.timestamp:.3f}"
        if failure is not None:
            return envelope, failure
        size, most = message.size, self.limits.command_bytes
        if size > most:
            return envelope, Failure("TooLarge", f"the command has {size} bytes with key and headers, more than {most}")
        right = slice_of(envelope.aggregate_id, self._slices)
        if right != message.partition:
            advice = self._advice() or "use the murmur2 partitioner (librdkafka: partitioner=murmur2_random)"
            wrong = f"key {envelope.aggregate_id!r} belongs to partition {right}, not {message.partition}: {advice}"
            return envelope, Failure("WrongPartition", wrong)
        return envelope, None

    async def load(self, ids: Iterable[str]) -> None:
        """Bring the aggregates of a group into work, the cold ones concurrently.

        One that the domain cannot make from its events stays out, and its commands fail. One with an event that this
        code does not know stays out, and its slice is held. Raises `Unavailable`.
        """
        cold = []
        # In the order of their commands, each once: a set has another order in every process.
        for aggregate_id in dict.fromkeys(ids):
            if aggregate_id in self.touched:
                continue
            aggregate = self.cache.take(aggregate_id)
            if aggregate is None:
                cold.append(aggregate_id)
            else:
                self.touched[aggregate_id] = aggregate
                self._cached += 1
        for error in await asyncio.gather(*map(self._load, cold), return_exceptions=True):
            if error is not None:
                raise error

    async def warm(self, messages: Iterable[Message], derived_nr: int) -> None:
        """Load the aggregates of commands that are to come, while there is no group, and nobody changes them.

        Commits up to `derived_nr` are derived.

        Not those of other slices, to which senders without the partitioner may write: others may change these, and
        whoever goes on from several logs has what all of them keep.
        """
        keys = dict.fromkeys((message.partition, message.key) for message in messages if message.key is not None)
        found = [(slice, key.decode(errors="replace")) for slice, key in keys]
        ids = [id for slice, id in found if slice == slice_of(id, self._slices) and id not in self.cache]
        await asyncio.gather(*(self._warm(id, derived_nr) for id in ids))

    async def _warm(self, aggregate_id: str, derived_nr: int) -> None:
        with contextlib.suppress(Exception):  # it is met again, and said, when the aggregate is needed
            async with self._loads:
                aggregate = await self.look(aggregate_id)
            if aggregate_id not in self.cache:
                self.cache.put(aggregate_id, aggregate)
                self.cache.shrink(derived_nr)  # others are still being loaded

    async def _load(self, aggregate_id: str) -> None:
        async with self._loads:
            try:
                self.touched[aggregate_id] = await self.look(aggregate_id)
                self._loaded += 1
            except EvolveFailed as error:
                why = error.__cause__ or error
                self._broken[aggregate_id] = failure_over(why, is_discreet=self._commands.is_discreet)
            except NotReadableYet as error:
                self._unreadable[aggregate_id] = error

    async def look(self, aggregate_id: str) -> Aggregate:
        """An aggregate as the journal has it. Raises what `load_aggregate` raises."""
        return await load_aggregate(
            self._journal, self.decider, self._commands.events, aggregate_id, self._commands.window
        )

    def _is_held(self, message: Message, envelope: Envelope, failure: Failure | None, group: DecidedGroup) -> bool:
        """Whether a message cannot be decided yet, or one before it in its slice."""
        if message.partition in group.held:
            return True
        aggregate_id = envelope.aggregate_id
        if failure is not None or aggregate_id in self.touched or aggregate_id not in self._unreadable:
            return False
        group.hold(message, aggregate_id, self._unreadable[aggregate_id])
        return True

    def _decide(self, envelope: Envelope, failure: Failure | None, group: DecidedGroup) -> bool:
        """Decide one command. False where it is to be decided again, for the next commit, which is the rest of it."""
        aggregate = self.touched.get(envelope.aggregate_id)
        if failure is not None:
            group.refuse(envelope, failure, 0)
        elif aggregate is None and envelope.type == DROP:
            return self._quarantine.drop(envelope, None, group)
        elif aggregate is None:
            group.refuse(envelope, self._broken[envelope.aggregate_id], 0)
        elif self.limits.quarantine or aggregate.quarantine is not None or envelope.is_control:
            return self._quarantine.decide(envelope, aggregate, group)
        else:
            self._commands.decide(envelope, aggregate, group)
        return True

    def settle(self, derived_nr: int) -> None:
        """The group is committed, or nothing of it is decided: its aggregates go back into the cache."""
        for aggregate_id, aggregate in self.touched.items():
            self.cache.put(aggregate_id, aggregate)
        self.touched, self._broken, self._unreadable = {}, {}, {}
        self.cache.shrink(derived_nr)
