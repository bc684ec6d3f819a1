"""Many seeds, on all cores; the same with the product broken on purpose; and one seed with its trace."""

from __future__ import annotations

import faulthandler
import gc
import itertools
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from tests.simulation.breakages import BREAKAGES, broken
from tests.simulation.loop import PROCESS
from tests.simulation.world import Result, World

CHUNK = 20
LONGEST_RUN = 300.0
"""Seconds, of which a run takes less than one: the steps of a run are bounded, and so is each step."""
LOGGERS = ("streams", "projections")
NOTED = Path(__file__).with_name("found.json")
"""By breakage the seed that has found it: `--breakages --note` writes it."""


@dataclass(frozen=True)
class Found:
    """How a breakage was found: by which seed and which invariant; `seed` is None when none has found it."""

    breakage: str
    seed: int | None
    invariant: str = ""
    text: str = ""
    seconds: float = 0.0


def run(seed: int, breakage: str = "") -> Result:
    """One run."""
    with broken(breakage):
        return World(seed).run()


def traced(seed: int, breakage: str = "") -> tuple[Result, list[str]]:
    """The very same run, and all that happened in it, line by line, with what the product logged."""
    world = World(seed)
    lines: list[tuple[float, str]] = []
    logging.disable(logging.NOTSET)

    class ToTrace(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            cause = f" {record.exc_info[1]!r}" if record.exc_info else ""
            lines.append((world.loop.time(), f"log        {PROCESS.get()}: {record.getMessage()}{cause}"))

    handler = ToTrace()
    for name in LOGGERS:
        logging.getLogger(name).addHandler(handler)
        logging.getLogger(name).propagate = False
    try:
        with broken(breakage):
            result = world.run()
    finally:
        for name in LOGGERS:
            logging.getLogger(name).removeHandler(handler)
            logging.getLogger(name).propagate = True
    lines += [(at, f"{kind:10} {' '.join(map(str, what))}") for at, kind, what in world.trace]
    return result, [str(world.shape), *(f"{at:10.5f} {text}" for at, text in sorted(lines, key=lambda line: line[0]))]


def simulate(seeds: Iterable[int], jobs: int) -> Iterator[Result]:
    """The results of many seeds as they come, from `jobs` processes."""
    numbers = iter(seeds)
    with _pool(jobs) as pool:
        waiting = set()
        while True:
            while len(waiting) < 2 * jobs and (chunk := list(itertools.islice(numbers, CHUNK))):
                waiting.add(pool.submit(_run_all, chunk))
            if not waiting:
                return
            done = next(as_completed(waiting))
            waiting.remove(done)
            yield from done.result()


def hunt(
    most: int, jobs: int, names: Iterable[str] = BREAKAGES, noted: Mapping[str, int] | None = None
) -> Iterator[Found]:
    """Look for each breakage with the seeds 0, 1, .. `most` - 1, but first with the one that is `noted` for it."""
    noted = noted or {}
    with _pool(jobs) as pool:
        for done in as_completed([pool.submit(find, name, most, noted.get(name)) for name in names]):
            yield done.result()


def find(breakage: str, most: int, noted: int | None = None) -> Found:
    """Look for one breakage."""
    seconds = 0.0
    with broken(breakage):
        for seed in itertools.chain(() if noted is None else (noted,), range(most)):
            result = _run(seed)
            seconds += result.seconds
            if result.invariant:
                return Found(breakage, seed, result.invariant, result.text, seconds)
    return Found(breakage, None, seconds=seconds)


def noted_seeds() -> dict[str, int]:
    """By breakage the seed that has found it. Any change of the product may make it another one."""
    return dict(json.loads(NOTED.read_text()))


def note_seeds(found: Iterable[Found]) -> None:
    """Begin with these the next time."""
    now = {one.breakage: one.seed for one in found if one.seed is not None}
    seeds = {name: seed for name, seed in {**noted_seeds(), **now}.items() if name in BREAKAGES}
    NOTED.write_text(json.dumps(seeds, indent=1, sort_keys=True) + "\n")


def _pool(jobs: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_prepare)


def _prepare() -> None:
    """Nobody reads the log of thousands of runs, what was imported is never garbage, and a run is so as a whole."""
    logging.disable(logging.CRITICAL)
    gc.collect()
    gc.freeze()
    gc.disable()


def _run_all(seeds: list[int]) -> list[Result]:
    return [_run(seed) for seed in seeds]


def _run(seed: int) -> Result:
    """One run. A step that does not end, as it may in a broken product, ends the process, which says where it stood."""
    faulthandler.dump_traceback_later(LONGEST_RUN, exit=True)
    try:
        return World(seed).run()
    finally:
        faulthandler.cancel_dump_traceback_later()
        gc.collect()
