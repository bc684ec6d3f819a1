"""What goes wrong, when, and to whom: drawn from the seed. Each seed has some kinds of faults and not others."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from streams.journal.commit_hint import read_hint
from tests.simulation.disk import Disk
from tests.simulation.hostile import Strangers
from tests.simulation.loop import Process
from tests.simulation.operator import Operator
from tests.simulation.planner import Planner
from tests.simulation.projecting import ProjectionWorker
from tests.simulation.stuck import StuckSlice
from tests.simulation.topic_faults import TopicFaults
from tests.simulation.topics import COMMANDS_TOPIC, COMMITS_TOPIC, HINT_KEY
from tests.simulation.workers import CommandWorker

if TYPE_CHECKING:
    from tests.simulation.world import World

MOST_STRIKES = 8
STEPS_TO_LIVE = 80
"""A kill or pause comes up to so many steps after its time: in the middle of something."""
RESTART_SECONDS = 4.0
STEPS_TO_SEND = 15
"""So many steps after it has begun to send, a worker has sent nothing yet, or not all."""
LONG = 9.0
"""Seconds of pause after which a worker has lost its partitions, and does not know."""
PAUSE_SECONDS = (0.5, 3.0, LONG, 14.0)
OUTAGE_SECONDS = (1.0, 5.0, 12.0)
JUMPS = (-3_600.0, -5.0, 5.0, 86_400.0)


class Slot:
    """A place where one worker runs, and again after it was killed. The disk stays."""

    def __init__(self, world: World, name: str, kind: type[CommandWorker] | type[ProjectionWorker]) -> None:
        self.disk: Disk = {}
        self.old_disk: Disk = {}
        self.name = name
        self.kind = kind
        self._world = world
        self._starts = 0
        self.start()

    @property
    def projects(self) -> bool:
        """Whether it is a projection worker."""
        return self.kind is ProjectionWorker

    def start(self) -> None:
        """A new process."""
        self._starts += 1
        self.process = Process(f"{self.name}.{self._starts}")
        if self.projects:
            self.worker: Any = ProjectionWorker(self._world, self.process.name, self.disk)
        else:
            self.worker = CommandWorker(self._world, self.process.name)
        self._world.note("start", self.process)
        self._world.loop.spawn(self.process, self._main())

    async def _main(self) -> None:
        process = self.process
        try:
            await self.worker.main()
        except Exception as error:
            self._world.checks.fail("crash", f"{process}: {error!r}")
        process.alive = False

    def kill(self) -> None:
        """SIGKILL."""
        self._world.note("kill", self.process)
        self.process.alive = False

    def pause(self) -> None:
        """SIGSTOP."""
        self._world.note("pause", self.process)
        self.process.paused = True

    def resume(self) -> None:
        """SIGCONT."""
        if self.process.paused:
            self._world.note("resume", self.process)
            self._world.loop.resume(self.process)


class Faults:
    """Kills, pauses, stops, rebalances, outages, lost sessions, topics that are deleted or lose records, clocks, bad
    deliveries and hints."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.slots: list[Slot] = []
        self.hints_lost = 0.0
        self.commits_lost = 0.0
        self._takeovers_hit = 0.0
        self._sending_hit = 0.0
        self._slips: dict[str, float] = {}
        self._healed = False
        self._topics = TopicFaults(world)
        self.operator = Operator(world)
        self._planner = Planner(world)
        self._strangers = Strangers(world)
        self.stuck = StuckSlice(world)
        self._again = 0.0

    def start(self) -> None:
        """Start the processes, and draw what will happen to them."""
        world, random = self._world, self._world.random
        self.slots += [Slot(world, f"commands-{n}", CommandWorker) for n in range(world.shape.command_workers)]
        self.slots += [Slot(world, f"projections-{n}", ProjectionWorker) for n in range(world.shape.projection_workers)]
        for service in ("journal", "kafka", "produce", "store", "http"):
            if random.random() < 0.4:
                world.network.trouble[service] = random.choice((0.02, 0.1, 0.3))
        for service in ("journal", "kafka", "produce", "store", "http"):
            if random.random() < 0.15:
                world.network.bugs[service] = random.choice((0.01, 0.05, 0.2))
        if random.random() < 0.4:
            self._slips = {COMMANDS_TOPIC: random.choice((0.05, 0.2)), COMMITS_TOPIC: 0.05}
        self.hints_lost = random.choice((0.0, 0.0, 0.5, 1.0))
        self.commits_lost = random.choice((0.0, 0.0, 0.5, 1.0))
        self._takeovers_hit = random.choice((0.0, 0.0, 0.0, 0.3))
        self._sending_hit = random.choice((0.0, 0.0, 0.05, 0.2))
        kinds: list[Callable[[], None]] = [
            lambda: self._kill(self._victim()),
            lambda: self._pause(self._victim()),
            self._stop,
            self._rebalance,
            self._outage,
            self._jump,
            self._cut_off,
            self._topics.forget_events,
            self._topics.refuse,
        ]
        kinds = random.sample(kinds, random.randint(1, len(kinds)))
        for _ in range(random.randint(0, MOST_STRIKES)):
            world.loop.outside(random.uniform(0, 14), self._strike, random.choice(kinds))
        if self._topics.start():
            self._takeovers_hit = 0.5
        self.operator.start()
        self.stuck.start()
        if not self.stuck.keeps_heirs_waiting:
            self._planner.start()
        self._strangers.start()
        self._again = random.choice((0.0, 0.0, 0.3))

    def heal(self) -> None:
        """Nothing fails any more; whoever is dead is started, whoever is stopped goes on."""
        self._healed = True
        self.hints_lost = self.commits_lost = self._takeovers_hit = self._sending_hit = self._again = 0.0
        self._slips = {}
        self._world.network.heal()
        self._world.command_group.unheard.clear()
        self._world.projection_group.unheard.clear()
        self._topics.heal()
        self.stuck.heal()
        for slot in self.slots:
            slot.process.fuse = 0
            slot.resume()
            if not slot.process.alive:
                slot.start()
        self.operator.heal()

    def hint(self, value: bytes) -> bytes | None:
        """What a hint says: not always the number of a commit that is there. None for a hint that is lost."""
        random = self._world.random
        if self.hints_lost and random.random() < self.hints_lost:
            return None
        wrong = random.choice((0, 0, 0, -1, 5)) if self.hints_lost else 0
        return b"%d" % (read_hint(value, HINT_KEY).nr + wrong) if wrong else value

    def slip(self, topic: str) -> int:
        """How far a fetch misses its place: back to what it had delivered, or ahead."""
        random = self._world.random
        if not self._slips or random.random() >= self._slips.get(topic, 0.0):
            return 0
        distance = random.choice((-7, -2, -1, 1, 3))
        self._world.note("slip", topic, distance)
        return distance

    def assigned(self) -> None:
        """A rebalance is over: the moment when all that is new begins."""
        if self._world.random.random() < self._takeovers_hit:
            self._pause(self._victim())

    def again(self) -> str:
        """How an assignment comes: as it should, mostly; or twice, or empty first, or in the middle of the next."""
        random = self._world.random
        if not self._again or random.random() >= self._again:
            return ""
        return random.choice(("twice", "empty", "overtaken"))

    def redeploy(self, names: Collection[str]) -> None:
        """The workers at these places are killed, and started again with other code."""
        for slot in self.slots:
            if slot.name in names:
                self._kill(slot)

    def sending(self, name: str) -> None:
        """A projection worker begins to send events or rows."""
        random = self._world.random
        if self._sending_hit and random.random() < self._sending_hit:
            slot = next(slot for slot in self.slots if slot.process.name == name)
            if random.random() < 0.5:
                self._pause(slot, LONG, STEPS_TO_SEND)
            else:
                self._kill(slot, STEPS_TO_SEND)

    def _strike(self, kind: Callable[[], None]) -> None:
        if not self._healed:
            kind()

    def _victim(self) -> Slot:
        return self._world.random.choice(self.slots)

    def _soon(self, slot: Slot, action: Callable[[], None], steps: int = STEPS_TO_LIVE) -> None:
        """Within the process's next steps."""
        process = slot.process
        process.fuse = self._world.random.randint(1, steps)
        process.on_fuse = action

    def _kill(self, slot: Slot, steps: int = STEPS_TO_LIVE) -> None:
        random = self._world.random

        def strike() -> None:
            slot.kill()
            self._damage(slot)
            self._world.loop.outside(random.uniform(0.1, RESTART_SECONDS), self._restart, slot)

        if slot.process.alive:
            self._soon(slot, strike, steps)

    def _damage(self, slot: Slot) -> None:
        match self._world.random.randrange(5):
            case 0:
                self._world.note("disk lost", slot.name)
                slot.disk.clear()
            case 1:
                self._world.note("older disk", slot.name)
                slot.disk.clear()
                slot.disk.update({place: dict(rows) for place, rows in slot.old_disk.items()})
            case 2:
                slot.old_disk = {place: dict(rows) for place, rows in slot.disk.items()}

    def _restart(self, slot: Slot) -> None:
        if not slot.process.alive:
            slot.start()

    def _restart_stopped(self, slot: Slot, process: Process) -> None:
        """When it has ended: while it is paused, or finishes what it has begun, it is still there."""
        self._restart(slot)
        if slot.process is process:
            self._world.loop.outside(RESTART_SECONDS, self._restart_stopped, slot, process)

    def _pause(self, slot: Slot, seconds: float = 0.0, steps: int = STEPS_TO_LIVE) -> None:
        seconds = seconds or self._world.random.choice(PAUSE_SECONDS)

        def strike() -> None:
            slot.pause()
            self._world.loop.outside(seconds, slot.resume)

        self._soon(slot, strike, steps)

    def _stop(self) -> None:
        slot = self._victim()
        if isinstance(slot.worker, CommandWorker) and slot.process.alive:
            self._world.note("stop", slot.process)
            slot.worker.stopping.set()
            self._world.loop.outside(RESTART_SECONDS, self._restart_stopped, slot, slot.process)

    def _rebalance(self) -> None:
        world = self._world
        world.note("rebalance")
        world.random.choice((world.command_group, world.projection_group)).rebalance()

    def _outage(self) -> None:
        world = self._world
        services = world.random.choice((("journal",), ("kafka", "produce"), ("store",)))
        world.note("down", *services)
        world.network.down.update(services)

        def over() -> None:
            world.note("up", *services)
            world.network.down.difference_update(services)

        world.loop.outside(world.random.choice(OUTAGE_SECONDS), over)
        if world.random.random() < 0.8:
            world.loop.outside(world.random.uniform(0.0, 3.0), self._strike, self._rebalance)

    def _cut_off(self) -> None:
        """The group does not hear from a worker, which goes on with partitions that it has lost."""
        world, slot = self._world, self._victim()
        group = world.command_group if isinstance(slot.worker, CommandWorker) else world.projection_group
        name, seconds = slot.process.name, world.random.choice(PAUSE_SECONDS)
        world.note("cut off", name)
        group.unheard.add(name)
        world.loop.outside(seconds, group.unheard.discard, name)

    def _jump(self) -> None:
        slot = self._victim()
        slot.process.skew += self._world.random.choice(JUMPS)
        self._world.note("clock", slot.process, slot.process.skew)
