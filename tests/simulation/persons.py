"""Persons in a simulated world: owners that seal and take each other's log over, erasures, renewals, lost answers.

Everything but the faults is the product's own: keys, fences, the handler of commands, the cache, the follower that
erases. Time, the order of steps and what fails come from one seed. Any process may be killed or stopped between any two
steps; any answer of the stores and of the key management may be lost, before or after what was asked is done.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from aggregates.personal import Erased, Known, Sealed
from aggregates.subject import ErasureOrdered, subject
from schemas.codec import Codec
from schemas.registry import Schemas
from schemas.sealing import Place, with_keys
from streams.concurrency.retry import until_it_answers
from streams.deciding.cache import Budget, Cache, encode_snapshots
from streams.deciding.command_handler import CommandHandler
from streams.deciding.group_handler import GroupHandler
from streams.deciding.messages import Message
from streams.journal.memory import MemoryJournal, MemoryStore
from streams.journal.port import Commit, Fenced, RecordedEvent, SliceHead, Unavailable
from streams.keys import envelope
from streams.keys.fences import Fences
from streams.keys.keys import SWEEPS_A_LEASE, Keys
from streams.keys.management.port import KeyDestroyed
from streams.keys.memory import MemoryKeyRows
from streams.keys.port import KeyRow
from streams.keys.records import SUBJECT, decode_subject, next_erasure
from streams.keys.sweeping import sweep
from streams.limits import Limits
from streams.moments import now
from streams.processes.erasures import Erasures
from tests.simulation.loop import PROCESS, Loop, Process
from tests.unit.streams.keys.club import member, write_schemas
from tests.unit.streams.keys_world import MemoryManagement

T = TypeVar("T")

LOG = "member@0"
LEASE = 2.0
STATED = LEASE * (2 + 1 / SWEEPS_A_LEASE)
FAULTY_SECONDS, HEALING_SECONDS = 12.0, 60.0
MOST_STEPS = 300_000
PEOPLE = [f"M{number}" for number in range(8)]


class Broken(Exception):
    """An invariant does not hold; its name, and what was found."""


@cache
def _schemas() -> tuple[Schemas, Schemas]:
    """Those of members, and of subjects."""
    with tempfile.TemporaryDirectory() as folder:
        write_schemas(Path(folder))
        return Schemas.load(Path(folder), "member"), Schemas.load("engine", "subject")


class Line:
    """What is asked goes over a network: it takes its time, and the answer may get lost, there or on the way back."""

    def __init__(self, world: PersonWorld) -> None:
        self._world = world

    async def ask(self, asked: Callable[[], Awaitable[T]]) -> T:
        random, lose = self._world.random, 0.0 if self._world.healed else 0.04
        await asyncio.sleep(random.random() * (0.02 if self._world.healed or random.random() < 0.85 else 2.0))
        if random.random() < lose:
            raise Unavailable("lost on the way there")
        answer = await asked()
        await asyncio.sleep(random.random() * 0.02)
        if random.random() < lose:
            raise Unavailable("lost on the way back")
        return answer


class WatchedRows(MemoryKeyRows):
    """The rows of keys over the network. Whoever watches sees each that is written."""

    def __init__(self, world: PersonWorld) -> None:
        super().__init__(world.rows)
        self._world = world

    async def get(self, ids: Collection[str]) -> Mapping[str, KeyRow]:
        return await self._world.line.ask(lambda: super(WatchedRows, self).get(ids))

    async def insert(self, id: str, value: bytes) -> KeyRow:
        return await self._world.line.ask(lambda: self._written(super(WatchedRows, self).insert(id, value)))

    async def replace(self, id: str, version: int, value: bytes) -> KeyRow | None:
        return await self._world.line.ask(lambda: self._written(super(WatchedRows, self).replace(id, version, value)))

    async def _written(self, writing: Awaitable[T]) -> T:
        row = await writing
        if isinstance(row, KeyRow):
            self._world.watch(row)
        return row

    async def all(self) -> AsyncIterator[KeyRow]:
        for row in list(self._world.rows.values()):
            await self._world.line.ask(_nothing)
            yield self._world.rows[row.id] if self._world.random.random() < 0.5 else row


async def _nothing() -> None:
    return None


class Management(MemoryManagement):
    """The key management over the network."""

    def __init__(self, world: PersonWorld) -> None:
        super().__init__()
        self._line = world.line

    async def create(self, name: str) -> str:
        return await self._line.ask(lambda: super(Management, self).create(name))

    async def wrap(self, key: str, secret: bytes) -> bytes:
        return await self._line.ask(lambda: super(Management, self).wrap(key, secret))

    async def unwrap(self, key: str, wrapped: bytes) -> bytes:
        return await self._line.ask(lambda: super(Management, self).unwrap(key, wrapped))

    async def destroy(self, key: str) -> Any:
        return await self._line.ask(lambda: super(Management, self).destroy(key))


class WatchedKeys(Keys):
    """The keys of one process. Nothing is sealed or read with a key that was erased a lease ago."""

    world: PersonWorld

    async def fetch(self, subjects: Collection[str], create: bool = False) -> None:
        """In an order that does not depend on how this interpreter hashes, so that a seed is one run."""
        await super().fetch(sorted(subjects), create)

    def seal(self, type: str, place: Place, field: str, subject: str, value: str) -> bytes:
        sealed = super().seal(type, place, field, subject, value)
        self.world.used(subject, envelope.number_of(sealed), "sealed")
        return sealed

    def unseal(self, sealed: Sealed) -> str | None:
        value = super().unseal(sealed)
        if value is not None:
            self.world.used(sealed.subject, envelope.number_of(sealed.envelope), "read")
        return value


class PersonWorld:
    """One run, made from its seed."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.loop = Loop(self.random)  # type: ignore[abstract]
        self.healed = False
        self.line = Line(self)
        self.rows: dict[str, KeyRow] = {}
        self.management = Management(self)
        self.store = MemoryStore(created=True)
        self.subjects = Codec([it for it in _schemas()[1] if it.name in subject.decider.events], subject.decider.events)
        self.ordered: dict[str, int] = defaultdict(int)
        """By subject the number of the last erasure that somebody has ordered."""
        self.done: dict[str, int] = defaultdict(int)
        """By subject the number of the last erasure that was said to be done."""
        self.fences: dict[tuple[str, int], float] = {}
        """Since when keys are erased: by subject and number, as far as one had a key of such a number."""
        self.states: dict[str, dict[int, str]] = defaultdict(dict)
        """By subject and version of its row."""
        self.backups: list[dict[str, KeyRow]] = []
        self.failed = ""
        self.budgets: list[tuple[Process, Budget]] = []
        self.counts: dict[str, int] = defaultdict(int)
        self._processes = 0

    def fail(self, invariant: str, text: str) -> None:
        self.failed = self.failed or f"{invariant}: {text}"
        self.loop.stop()

    # -- who watches ---------------------------------------------------------------------------------------------------

    def watch(self, row: KeyRow) -> None:
        """A row stands so."""
        if row.id[:1] != SUBJECT or row.id == "current":
            return
        key, who = decode_subject(row.value), row.id[1:]
        self.states[who][row.version] = key.state
        if key.has_key and self.states[who].get(row.version - 1) == "erased":
            self.fail("no subject comes back unless it is allowed", f"{who} is {key.state} after it was erased")
        if key.erasures > self.ordered[who]:
            self.fail(
                "no living key is destroyed", f"{who} was erased {key.erasures} times, {self.ordered[who]} ordered"
            )
        erased = [number for id, number in self.fences if id == who]
        if key.has_key and key.number in erased:
            self.fail("no key comes back", f"key {key.number} of {who} is {key.state} again")
        if key.state == "erased" and (who, key.number) not in self.fences:
            self.fences[who, key.number] = self.loop.time()

    def used(self, who: str, number: int, how: str) -> None:
        since = self.fences.get((who, number))
        if since is not None and self.loop.time() > since + LEASE + 0.01:
            self.fail("nothing is done with a key a lease after the fence", f"{how} with key {number} of {who}")
        self.counts[how] += 1

    # -- processes -----------------------------------------------------------------------------------------------------

    def keys(self) -> WatchedKeys:
        keys = WatchedKeys(WatchedRows(self), self.management, "", lease=LEASE)
        keys.world = self
        return keys

    def spawn(self, name: str, main: Callable[[], Awaitable[None]]) -> Process:
        self._processes += 1
        process = Process(f"{name}/{self._processes}")

        async def run() -> None:
            with suppress(asyncio.CancelledError):
                await main()

        self.loop.spawn(process, run())
        return process

    def again_and_again(self, name: str, main: Callable[[], Awaitable[None]]) -> None:
        """A process that is killed or stopped at any step, and begun anew, until all is healed."""
        process = self.spawn(name, main)

        def strike() -> None:
            if self.healed:
                process.paused and self.loop.resume(process)  # type: ignore[func-returns-value]
                return
            if self.random.random() < 0.5:
                process.alive = False
                self.again_and_again(name, main)
            else:
                process.paused = True
                self.loop.outside(self.random.random() * 2 * LEASE, go_on)

        def go_on() -> None:
            self.loop.resume(process)
            aim()

        def aim() -> None:
            process.on_fuse, process.fuse = strike, self.random.randint(20, 4_000)

        aim()

    async def own(self) -> None:
        """An owner: takes the log over, and decides until it is fenced; then again."""
        while True:
            await self._own(f"{PROCESS.get()}")
            await asyncio.sleep(self.random.random() * 6)

    async def _own(self, identity: str) -> None:
        members, keys, budget = _schemas()[0], self.keys(), Budget(10**6)
        process = PROCESS.get()
        assert process is not None
        self.budgets.append((process, budget))
        events = Codec([it for it in members if it.name in member.events], member.events, sealer=keys)
        commands = Codec([it for it in members if it.name in member.commands], member.commands)
        handler = GroupHandler(
            CommandHandler(decider=member, events=events, commands=commands, window=5, limits=Limits(snapshot_every=2)),
            journal=JournalLine(self),
            cache=Cache(budget),
            log=LOG,
            slices=1,
        )
        sweeping = asyncio.create_task(sweep([keys], budget.expire))
        try:
            head = await self._take_over(identity)
            derived = head.nr
            handler.cache.follow(lambda: derived)
            while True:
                await asyncio.sleep(self.random.random() * 0.2)
                if self.healed:
                    continue
                group = await handler.decide_group(self._messages(head), head)
                commit = Commit(LOG, group.nr, head.epoch, identity, "t", group.slices, derived, now(), group.events)
                await self._answered(lambda commit=commit: self.journal.append(commit))  # type: ignore[misc]
                await self._answered(lambda commit=commit: self.journal.derive([commit]))  # type: ignore[misc]
                head, derived = commit, commit.nr
                snapshots = encode_snapshots(group.snapshots)
                await self._answered(lambda some=snapshots: self.journal.save_snapshots("member", some))  # type: ignore[misc]
                handler.settle(derived)
                self.counts["commits"] += 1
        except Fenced:
            handler.cache.close()
            self.counts["takeovers"] += 1
        finally:
            sweeping.cancel()

    @property
    def journal(self) -> MemoryJournal:
        return MemoryJournal(self.store)

    async def _answered(self, ask: Callable[[], Awaitable[T]]) -> T:
        return await until_it_answers(lambda: self.line.ask(ask), "the journal", Unavailable)

    async def _take_over(self, identity: str) -> Commit:
        while True:
            old = await self._answered(lambda: self.journal.head(LOG))
            nr, epoch = (old.nr, old.epoch) if old is not None else (0, 0)
            slices = old.slices if old is not None else {0: SliceHead()}
            commit = Commit(LOG, nr + 1, epoch + 1, identity, "t", slices, nr, now())
            with suppress(Fenced):
                await self._answered(lambda commit=commit: self.journal.append(commit))  # type: ignore[misc]
                commits = await self._answered(lambda: self.journal.commits(LOG, 0, 10**6))
                await self._answered(lambda commits=commits: self.journal.derive(commits))  # type: ignore[misc]
                return commit

    def _messages(self, head: Commit) -> list[Message]:
        """Some commands: who joins has a name that tells whose it is, and may have brought another one along."""
        messages = []
        for at in range(self.random.randint(1, 4)):
            who, friend = self.random.choice(PEOPLE), self.random.choice(PEOPLE)
            data = {"name": f"name of {who}", "friend": f"name of {friend}", "friend_id": friend}
            kind = self.random.choice(("Join", "Join", "Greet"))
            text = json.dumps(data if kind == "Join" else {}).encode()
            messages.append(
                Message(0, head.slices[0].offset + 1 + at, who.encode(), text, [("ce_type", kind.encode())], 1.0)
            )
        return messages

    async def forget(self) -> None:
        """Somebody who orders erasures, as the command line does, and does each himself, or leaves it to the log; what
        the log has done before it does again, at any time. And one who lets subjects have another key."""
        while not self.healed:
            await asyncio.sleep(self.random.random() * 2)
            who, fences = self.random.choice(PEOPLE), Fences(WatchedRows(self))
            with suppress(Unavailable):
                match self.random.randrange(4):
                    case 0:
                        await fences.allow(who)
                    case 1 if self.ordered[who]:
                        await self._by_log(who, self.random.randint(1, self.ordered[who]))
                    case _:
                        erasure = next_erasure(await fences.look(who))
                        self.ordered[who] = max(self.ordered[who], erasure)
                        if self.random.random() < 0.5:
                            await fences.erase(who, "", erasure)
                            self.done[who] = max(self.done[who], erasure)
                        else:
                            await self._by_log(who, erasure)

    async def _by_log(self, who: str, erasure: int) -> None:
        data = self.subjects.encode(ErasureOrdered(erasure))
        row = RecordedEvent(who, 1, ErasureOrdered.__name__, data, "c", "", "")
        commit = Commit("subject@0", 1, 1, "a", "t", {0: SliceHead()}, 0, now(), (row,))
        context: Any = type("Context", (), {"events": self.subjects, "settings": None})
        await Erasures(context, self.journal, lambda: Fences(WatchedRows(self))).before_sending([commit])
        self.done[who] = max(self.done[who], erasure)

    async def renew(self) -> None:
        """One who renews much too often, and one who keeps a copy of the rows."""
        while not self.healed:
            await asyncio.sleep(self.random.random() * 2)
            if self.random.random() < 0.3:
                self.backups.append(dict(self.rows))
            with suppress(Unavailable):
                await self.keys().renew()
                self.counts["renewals"] += 1

    # -- a run ---------------------------------------------------------------------------------------------------------

    @property
    def footprint(self) -> str:
        """What another run of the same seed has alike."""
        return f"{self.loop.steps} steps, {self.loop.time():.9f} s, {sorted(self.counts.items())}, {self.failed}"

    def run(self) -> str:
        """Empty when all held, or which invariant did not."""
        monotonic, time.monotonic = time.monotonic, self.loop.time
        try:
            for number in range(3):
                self.again_and_again(f"owner {number}", self.own)
            for number in range(2):
                self.again_and_again(f"eraser {number}", self.forget)
                self.again_and_again(f"renewer {number}", self.renew)
            self.loop.outside(FAULTY_SECONDS, self._heal)
            self.loop.run(FAULTY_SECONDS + HEALING_SECONDS, MOST_STEPS)
        finally:
            time.monotonic = monotonic
            self.loop.close()
        return self.failed

    def _heal(self) -> None:
        self.healed = True
        self.backups.append(dict(self.rows))
        self.loop.outside(STATED + 2, lambda: self.spawn("the end", self._end))

    async def _end(self) -> None:
        try:
            await self._look()
        except Broken as broken:
            self.fail(*broken.args)
        except Exception as error:
            self.fail("in the end all can be read", repr(error))
        self.loop.stop()

    async def _look(self) -> None:
        """All that must hold in the end."""
        for process, budget in self.budgets:
            if process.alive and not process.paused:
                for who, name in _open_names(budget):
                    if (who, 1) in self.fences and self._is_erased(who):
                        raise Broken("who is forgotten is out of memory", f"{name} in {process}")
        for who, erasure in self.done.items():
            key = await self.keys().look(who)
            if key is None or key.erasures < erasure:
                raise Broken("no subject is half erased", f"{who}: erasure {erasure} was said to be done: {key}")
        await self._read_all()
        await self.keys().renew()
        await self._read_all()
        for backup in self.backups:
            restored = Keys(MemoryKeyRows(dict(backup)), self.management, lease=LEASE)
            for who in PEOPLE:
                if self._is_erased(who):
                    with suppress(Unavailable, KeyDestroyed):  # as it is to be: its period's key is destroyed
                        await restored.fetch([who])
                        held = restored._held[who]
                        if held.cipher is not None and (who, held.number) in self.fences:
                            raise Broken("an old copy of the keys opens nothing", who)

    def _is_erased(self, who: str) -> bool:
        row = self.rows.get(f"{SUBJECT}{who}")
        return row is not None and decode_subject(row.value).state == "erased"

    async def _read_all(self) -> None:
        """Each personal value of the journal: of a key that is erased nobody reads it, of any other everybody."""
        keys = self.keys()
        members = _schemas()[0]
        codec = Codec([it for it in members if it.name in member.events], member.events, sealer=keys)
        closed = Codec([it for it in members if it.name in member.events], member.events)
        for commit in self.store.log[LOG]:
            for row in commit.events:
                if not row.is_event:
                    continue
                place = Place(row.aggregate_id, row.sequence)
                [opened] = await with_keys(keys, lambda data=row.data, at=place: codec.decode(data, at))  # type: ignore[misc]
                [sealed] = closed.decode(row.data, place)
                for name in ("name", "friend"):
                    was, now_ = getattr(sealed, name, None), getattr(opened, name, None)
                    if type(was) is Known and was.sealed is not None:
                        self._compare(was.sealed, now_)

    def _compare(self, sealed: Sealed, found: object) -> None:
        number = envelope.number_of(sealed.envelope)
        if (sealed.subject, number) in self.fences:
            if type(found) is not Erased:
                raise Broken("no subject is half erased", f"{sealed.subject}: what key {number} sealed is read")
        elif found != Known(f"name of {sealed.subject}"):
            raise Broken("no living key is destroyed", f"{sealed.subject}: what key {number} sealed is {found}")


class JournalLine:
    """What an owner loads from."""

    def __init__(self, world: PersonWorld) -> None:
        self._world = world

    async def events(self, *asked: Any) -> Any:
        return await self._world.line.ask(lambda: self._world.journal.events(*asked))

    async def snapshot(self, type: str, id: str) -> Any:
        return await self._world.line.ask(lambda: self._world.journal.snapshot(type, id))

    async def schemas(self) -> Any:
        return await self._world.line.ask(self._world.journal.schemas)


def _open_names(budget: Budget) -> Iterator[tuple[str, str]]:
    """Who is in the caches of a worker with a name that is open."""
    for held in list(budget._caches):
        for id, aggregate in held._aggregates.items():
            if type(name := aggregate.state.name) is Known and name.is_open:
                yield id, name.value


@contextmanager
def with_edits(edits: Sequence[Any]) -> Iterator[None]:
    """The product with these edits, for as long as the context lasts."""
    from tests.simulation.breakages import edited

    codes = edited(edits)
    originals = {function: function.__code__ for function in codes}
    try:
        for function, code in codes.items():
            function.__code__ = code
        yield
    finally:
        for function, code in originals.items():
            function.__code__ = code
