"""The system looked at as a whole, for all who ask together: of each part at most every few seconds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
from aiokafka.errors import KafkaError

from projections.app import ReadSide
from projections.console.contexts import Contexts, faults_of, silent, tails
from projections.console.findings.snapshot import ReadWorker, Snapshot
from projections.console.findings.verdict import FirstSeen, Verdict, verdict_of
from projections.console.letters import Letters
from projections.console.shared import Shared
from projections.http.forwarding import HOP_SECONDS
from projections.http.problems import HttpProblem
from projections.operations.lag import all_lags
from projections.operations.status import gather
from projections.routing.cutover import first_projection
from projections.stores.local.queries import in_order
from projections.timers.projection import DUE, timers
from streams.cli.run import CliError
from streams.journal.port import Unavailable
from streams.notices import NOTICES
from streams.runtime.log_lines import RateLimit
from streams.text import one_line

log = logging.getLogger(__name__)
log.addFilter(RateLimit(60.0))

OFTEN, SELDOM = 1.0, 5.0
"""Seconds between two looks: at what is in memory of workers, and at what others keep."""
PATIENCE = HOP_SECONDS + 1.0
"""For so long a part may take; the others are shown without it. Longer than one worker is waited for: it is to be said
which one is silent."""
PATH = "/findings"

T = TypeVar("T")


class Observer:
    """Looks at the whole system from one worker of the read side."""

    def __init__(self, side: ReadSide) -> None:
        self._side = side
        self._seen = FirstSeen()
        self.letters = letters = Letters(side)
        self.contexts = Shared(Contexts(side).all, seconds=OFTEN, patience=PATIENCE)
        self._streams = Shared(lambda: all_lags(side), seconds=OFTEN, patience=PATIENCE)
        self._projections = Shared(lambda: gather(side), seconds=OFTEN, patience=PATIENCE)
        self._workers = Shared(self._all_workers, seconds=OFTEN, patience=PATIENCE)
        self._tails = Shared(lambda: tails(side), seconds=OFTEN, patience=PATIENCE)
        self._groups = Shared(letters.groups, seconds=SELDOM, patience=PATIENCE)
        self.alike = Shared(letters.alike, seconds=OFTEN, patience=PATIENCE)
        self.quarantined = Shared(letters.quarantined, seconds=SELDOM, patience=PATIENCE)
        self._verdict = Shared(self._judge, seconds=OFTEN, patience=2 * PATIENCE)

    async def verdict(self) -> Verdict:
        """Whether all is well."""
        return await self._verdict.get()

    async def _judge(self) -> Verdict:
        return verdict_of(await self.snapshot(), self._seen)

    async def snapshot(self) -> Snapshot:
        """The system as it is now, as far as it can be looked at."""
        faults: dict[str, str] = {}
        (contexts, streams, apart), (projections, workers, groups, quarantined) = await asyncio.gather(
            asyncio.gather(
                _look(faults, "owners", self.contexts.get()),
                _look(faults, "lag", self._streams.get()),
                _look(faults, "notices", self._tails.get()),
            ),
            asyncio.gather(
                _look(faults, "tables", self._projections.get()),
                _look(faults, "timers", self._workers.get()),
                _look(faults, "dead letters", self._groups.get()),
                _look(faults, "quarantine", self.quarantined.get()),
            ),
        )
        if contexts and (unknown := [*faults_of(contexts)]):
            faults["owners"] = unknown[0]
        if apart and (unknown := [*silent(apart)]):
            faults["notices"] = unknown[0]
        return Snapshot(
            at=datetime.now(UTC),
            app=self._side.app.module,
            contexts=contexts or [],
            streams=streams or [],
            projections=projections or [],
            workers=workers or [],
            tails=apart or [],
            letters=groups or [],
            quarantined=quarantined or [],
            faults=faults,
        )

    async def _all_workers(self) -> list[ReadWorker]:
        side = self._side
        parts = await side.doors.each(first_projection(side.sources), PATH, {}, lambda: worker_here(side))
        return [msgspec.convert(part, ReadWorker) for part in parts]


def worker_here(side: ReadSide) -> ReadWorker:
    """How this worker is."""
    troubles = dict(side.app.supervisor.troubles)
    return ReadWorker(side.doors.own_url, troubles, side.limits, _first_due(side), NOTICES.all)


def _first_due(side: ReadSide) -> str | None:
    """When the first of the timers here is due."""
    table = side.control.serving(timers.name)
    if timers.source not in side.local or table is None:
        return None
    store = side.local[timers.source].store
    firsts = (next(in_order(store, number, table, DUE), None) for number in side.doors.here(timers.name))
    return min((first[0] for first in firsts if first is not None), default=None)


async def _look(faults: dict[str, str], check: str, looking: Awaitable[T]) -> T | None:
    """What was seen; None, with the reason among the faults, where there was no looking."""
    try:
        return await looking
    except (HttpProblem, Unavailable, CliError, KafkaError, OSError, TimeoutError) as error:
        faults[check] = f"there is no answer within {PATIENCE:g} s" if _is_late(error) else one_line(error)
        return None
    except Exception as error:  # what nobody has foreseen in one part hides none of the others
        log.exception("nobody can say how it is with the %s", check)
        faults[check] = f"a bug, {type(error).__name__}: the log of this worker has its trace"
        return None


def _is_late(error: Any) -> bool:
    return isinstance(error, TimeoutError) and not str(error)
