"""What the whole shop takes of the machine while nobody wants anything of it, with few partitions and many, in turn.

One worker of each context, the timers, and the read side. There are some orders, so that every partition has something;
then all workers are stopped, and started again at once.

* *start*: until the last of them is ready: the first time, when topics and tables are made; and again. Beside it stands
  the processor time that the workers had taken by then, which other work on the machine changes little.
* *of a core*: processor time of the processes, when all that came before is over.
* *memory*: what the processes have resident. Kafka's is that of a server with all that it ever had, so it is left out.
* *disk*: the blocks that files take: the folders of the workers, and those of the topics at a Kafka of this machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from pathlib import Path

from servers.where import Where, used_instead
from tests.bench.load import Load
from tests.bench.report import Row
from tests.bench.space import Space, space
from tests.bench.usage import Usage, open_files, servers
from tests.bench.worker import Worker, say
from tests.e2e.worker import CHECKOUT, ORDERS, PRODUCTS, PROJECTIONS, TIMERS, USERS, free_port

NAMES = {
    ORDERS: "orders",
    PRODUCTS: "products",
    USERS: "users",
    CHECKOUT: "checkout",
    TIMERS: "timers",
    PROJECTIONS: "the read side",
}
SOME_ORDERS = 1_000
SETTLE_SECONDS = 12.0
READY_SECONDS = 200.0
"""For six workers at once, on a machine that has other things to do."""
BLOCK = 512

Figures = defaultdict[str, list[float]]


async def measure_idle_system(numbers: Sequence[int], rounds: int, seconds: float) -> list[Row]:
    """Each of these numbers of partitions in turn, `rounds` times; idle for so many seconds."""
    figures: dict[int, Figures] = {number: defaultdict(list) for number in numbers}
    for _ in range(rounds):
        for number in numbers:
            async with space(PARTITIONS=str(number)) as here:
                await _measure(here, figures[number], seconds)
            say(f"{number} partitions: " + ", ".join(f"{what} {its[-1]:.2f}" for what, its in figures[number].items()))
    few, *others = numbers
    rows = []
    for what, its in figures[few].items():
        rows.append(Row(f"{what}: {few} partitions", its))
        rows += [Row(f"- {many}", figures[many][what], f"{few}", its, less=True) for many in others]
    return rows


async def _measure(here: Space, figures: Figures, seconds: float) -> None:
    folders = {module: here.folder() for module in NAMES}
    async with _shop(here, folders, figures, "start, topics and tables are made") as running:
        load = Load(here.settings, SOME_ORDERS, [running[ORDERS]])
        async with load.clients():
            await load.open()
    async with _shop(here, folders, figures, "start") as running:
        await asyncio.sleep(SETTLE_SECONDS)
        workers = {NAMES[module]: [one.pid] for module, one in running.items()}
        usage = Usage({**workers, **servers()})
        await asyncio.sleep(seconds)
        spent = usage.spent(1)
        shares = {name: us / 1e4 / spent.seconds for name, us in spent.each.items()}
        memory = {NAMES[module]: one.memory_mb() for module, one in running.items()}
        _note(figures, "of a core, %", shares, [*workers, *servers()])
        _note(figures, "memory, MB", memory, workers)
        figures["open files, the read side"].append(open_files(running[PROJECTIONS].pid))
    figures["disk, the workers, MB"].append(_disk_mb(folders.values()))
    figures["disk, the topics at Kafka, MB"].append(_disk_mb(_topics(here.settings.namespace)))


def _note(figures: Figures, what: str, found: Mapping[str, float], names: Iterable[str]) -> None:
    figures[f"{what}, all"].append(sum(found.values()))
    for name in names:
        figures[f"{what}, {name}"].append(found[name])


@contextlib.asynccontextmanager
async def _shop(
    here: Space, folders: Mapping[str, Path], figures: Figures, what: str
) -> AsyncIterator[Mapping[str, Worker]]:
    """All workers, started at once, for the length of a block."""
    url = here.settings.journal_url
    with contextlib.ExitStack() as stack:
        began = time.perf_counter()
        running = {
            module: stack.enter_context(here.worker(module, folder, free_port(), JOURNAL_URL=url))
            for module, folder in folders.items()
        }
        await asyncio.gather(*(one.says("ready: ", READY_SECONDS) for one in running.values()))
        figures[f"{what}, s"].append(time.perf_counter() - began)
        figures[f"{what}, processor time of the workers, s"].append(sum(one.cpu_seconds() for one in running.values()))
        figures[f"{what}, that of the read side, s"].append(running[PROJECTIONS].cpu_seconds())
        yield running


def _topics(namespace: str) -> list[Path]:
    """The folders of the topics of a namespace, at the Kafka that the project starts on this machine."""
    where = Where.from_environment()
    if used_instead("kafka", where):
        return []
    return list((where.folder("kafka") / "data").glob(f"{namespace}*"))


def _disk_mb(folders: Iterable[Path]) -> float:
    blocks = 0
    for folder in folders:
        for parent, _, names in os.walk(folder):
            blocks += sum((Path(parent) / name).lstat().st_blocks for name in names)
    return blocks * BLOCK / 2**20
