"""One run of a system under a schedule: whose turn it is at each step, and what goes wrong there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import Any, Generic, Protocol, TypeVar

from aggregates.decider import Decider
from aggregates.principal import Principal
from aggregates.process_manager import ProcessManager
from sourced.testing.channels import Inbox
from sourced.testing.system import System
from sourced.testing.world import CLOCK

C = TypeVar("C")

MOST_STEPS = 5_000
"""After so many without coming to rest it is a circle."""

Check = Callable[[System], object]
"""An invariant: raises, `assert` for example, where something is wrong."""


@dataclass(frozen=True)
class Sent(Generic[C]):
    """A command that a client sends: of which type, to which aggregate, in whose name; None: nobody's."""

    kind: Decider[C, Any, Any] | ProcessManager[C, Any, Any]
    id: str
    command: C
    by: Principal | None = None

    def __str__(self) -> str:
        return f"{type(self.command).__name__} to {self.kind.type} {self.id}"


Clients = Sequence[Sequence[Sent[Any]]]
"""By client what it sends, one after another: each command when the one before it is answered."""


@dataclass(frozen=True, slots=True)
class Again:
    """The last `back` messages of a channel are delivered again. `forgotten`: so late that no id is remembered."""

    channel: str
    back: int = 1
    forgotten: bool = False


@dataclass(frozen=True, slots=True)
class Crash:
    """The workers of a type end, with up to `back` events of each aggregate not yet said to be done."""

    type: str
    back: int = 1


Fault = Again | Crash


@dataclass(frozen=True)
class Faults:
    """What may go wrong in a schedule.

    delays     anything may be late: each aggregate and each reader goes on when it likes, and timers fire late
    crashes    workers end at any moment
    repeats    commands and events are delivered again
    forgotten  .. also when the engine does not remember their ids any more, after `DEDUPE_WINDOW` other commands
    """

    delays: bool = True
    crashes: bool = True
    repeats: bool = True
    forgotten: bool = True


class Schedule(Protocol):
    """Says at each step what goes wrong, and whose turn it is."""

    def faults(self, step: int, system: System) -> Sequence[Fault]: ...
    def turn(self, step: int, names: Sequence[str]) -> str:
        """One of the names; the first is that which has waited longest."""


@dataclass
class Script:
    """A schedule that is known: the first in the row has its turn, unless another one is named and there."""

    turns: dict[int, str] = field(default_factory=dict)
    wrong: dict[int, Sequence[Fault]] = field(default_factory=dict)

    def faults(self, step: int, system: System) -> Sequence[Fault]:
        return self.wrong.get(step, ())

    def turn(self, step: int, names: Sequence[str]) -> str:
        name = self.turns.get(step, "")
        return name if name in names else names[0]


class Chance:
    """A schedule by chance, the same for the same seed; `script` has it afterwards.

    Some are in order but for what goes wrong, some take anybody at each step, and some give each channel a priority
    that falls now and then, which keeps one of them waiting long: S. Burckhardt and others, "A Randomized Scheduler
    with Probabilistic Guarantees of Finding Bugs" (2010).
    """

    def __init__(self, rng: Random, faults: Faults) -> None:
        self._rng = rng
        self._faults = faults
        self._style = rng.choice(("in order", "anybody", "priorities", "priorities")) if faults.delays else "in order"
        self._rate = rng.choice((0.0, 0.03, 0.1, 0.3))
        self._left = rng.randint(0, 6)
        self._priorities: dict[str, float] = {}
        self.script = Script()

    def faults(self, step: int, system: System) -> Sequence[Fault]:
        if not self._left or self._rng.random() >= self._rate:
            return ()
        fault = self._fault(system)
        if fault is None:
            return ()
        self._left -= 1
        self.script.wrong[step] = [fault]
        return [fault]

    def _fault(self, system: System) -> Fault | None:
        rng, allowed, world = self._rng, self._faults, system.world
        if allowed.crashes and (not allowed.repeats or rng.random() < 0.3):
            types = sorted({name.split(" ")[0] for name in world.channels})
            return Crash(rng.choice(types), rng.randint(1, 3)) if types else None
        if not allowed.repeats or not world.channels:
            return None
        channel = rng.choice(list(world.channels.values()))
        forgotten = allowed.forgotten and not isinstance(channel, Inbox) and rng.random() < 0.5
        return Again(channel.name, rng.randint(1, 3), forgotten)

    def turn(self, step: int, names: Sequence[str]) -> str:
        name = self._choice(names)
        if name != names[0]:
            self.script.turns[step] = name
        return name

    def _choice(self, names: Sequence[str]) -> str:
        if self._style == "in order":
            return names[0]
        if self._style == "anybody":
            return self._rng.choice(names)
        for name in names:
            if name not in self._priorities:
                self._priorities[name] = self._rng.random()
        first = max(names, key=self._priorities.__getitem__)
        if self._rng.random() < 0.1:
            self._priorities[first] -= 1
        return first


class Play:
    """Takes the steps of a schedule until all is at rest. `step` is the number of the present one."""

    def __init__(
        self, system: System, clients: Clients, schedule: Schedule, always: Check | None, horizon: timedelta
    ) -> None:
        self.system = system
        self.step = 0
        self.wrong = 0
        self._schedule = schedule
        self._always = always
        self._clients = [_Client(f"client {number}", system, sends) for number, sends in enumerate(clients, 1)]
        self._until = system.now + horizon

    def run(self, at_the_end: Check | None) -> None:
        """Raises what the domain and the invariants raise."""
        with _quiet():
            while names := self._ready():
                if self.step >= MOST_STEPS:
                    raise AssertionError(f"after {MOST_STEPS:,} steps it has not come to rest: {names[0]} is next")
                if faults := self._schedule.faults(self.step, self.system):
                    for fault in faults:
                        self._do(fault)
                    names = self._ready()
                self._turn(self._schedule.turn(self.step, names))
                self.step += 1
                if self._always is not None:
                    self._always(self.system)
            self.system.world.check_states()
            if at_the_end is not None:
                at_the_end(self.system)

    def _ready(self) -> list[str]:
        world = self.system.world
        names = [channel.name for channel in world.ready()]
        names += [client.name for client in self._clients if client.is_ready]
        due = world.next_due
        return [*names, CLOCK] if due is not None and due <= self._until else names

    def _turn(self, name: str) -> None:
        world = self.system.world
        if name == CLOCK:
            assert world.next_due is not None
            world.now = world.next_due
            self._tell(f"{CLOCK}: it is {world.now:%Y-%m-%d %H:%M:%S}")
        elif name in world.channels:
            world.run(world.channels[name])
        else:
            client = next(client for client in self._clients if client.name == name)
            self._tell(f"{name}: {client.send()}")

    def _do(self, fault: Fault) -> None:
        world = self.system.world
        match fault:
            case Again(name, back, forgotten):
                channel = world.channels.get(name)
                said = channel.again(back, forgotten) if channel is not None else ""
                said += ", and its ids are forgotten" if said and forgotten else ""
            case Crash(type, back):
                said = world.crash(type, back) if type in world.wiring.types else ""
        if said:
            self.wrong += 1
            self._tell(f"! {said}")

    def _tell(self, line: str) -> None:
        if self.system.world.story is not None:
            self.system.world.story.append(line)


class _Client:
    def __init__(self, name: str, system: System, sends: Sequence[Sent[Any]]) -> None:
        self.name = name
        self._system = system
        self._ahead = list(sends)
        self._asked = ""

    @property
    def is_ready(self) -> bool:
        return bool(self._ahead) and (not self._asked or self._asked in self._system.world.replies)

    def send(self) -> str:
        sent = self._ahead.pop(0)
        self._asked = self._system.put(sent.kind, sent.id, sent.command, by=sent.by)
        return str(sent)


@contextmanager
def _quiet() -> Iterator[None]:
    """What the engine would log of a command that fails is said once, with the schedule."""
    logger = logging.getLogger("streams.deciding")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
