"""One reader after another, each with so many examples, from a seed or from whatever Hypothesis remembers."""

from __future__ import annotations

import itertools
import logging
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.fuzz.reader import Reader
from tests.fuzz.readers import READERS

EXAMPLES = 1_000
"""Of one reader from one seed of a long search."""
PHASES = Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink
"""Without the one that looks for an explanation, which takes long."""


def hold(reader: Reader, examples: int) -> None:
    """Try it. Raises what it must not raise; what has failed before is tried first."""

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), phases=PHASES)
    @given(st.data())
    def read(data: st.DataObject) -> None:
        reader.hold(data.draw(reader.given, label=reader.name))

    read()


def found(reader: Reader, number: int, examples: int) -> str:
    """What a search from this seed finds, with the smallest input that shows it; nothing when all held."""

    @seed(number)
    @settings(
        max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck), phases=PHASES
    )
    @given(st.data())
    def read(data: st.DataObject) -> None:
        reader.hold(data.draw(reader.given, label=reader.name))

    try:
        read()
    except Exception as error:
        return "".join(traceback.format_exception(error))
    return ""


Job = tuple[str, int]


def search(names: list[str], first: int, jobs: int, until: float) -> Iterator[tuple[Job, str]]:
    """Each reader in turn, with one seed after another, until the time is up; one that has failed is left out."""
    left = ((name, seed) for seed in itertools.count(first) for name in names)
    failed: set[str] = set()
    running: dict[Future[str], Job] = {}
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_prepare) as pool:
        while True:
            while len(running) < jobs and time.monotonic() < until and len(failed) < len(names):
                name, seed = next(left)
                if name not in failed:
                    running[pool.submit(_job, name, seed)] = name, seed
            if not running:
                return
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                job, text = running.pop(done), done.result()
                if text:
                    failed.add(job[0])
                yield job, text


def _job(name: str, seed: int) -> str:
    [reader] = [reader for reader in READERS if reader.name == name]
    return found(reader, seed, EXAMPLES)


def _prepare() -> None:
    logging.disable(logging.CRITICAL)
