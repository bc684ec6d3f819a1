"""Takeovers of logs in the last hour: who took which log from whom, when, and how long that took.

Each owner tells of its own takeover alone, and a worker that has ended tells nothing any more. So those that were seen
are kept for an hour in the memory of the worker that has seen them. One that came and went while nobody looked is not
among them; that there were some shows, since epochs count them.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from projections.console.findings.snapshot import CommandWorker, Takeover
from streams.moments import now

HOUR = timedelta(hours=1)
MOST = 500


class Takeovers:
    """Those that were seen, by log and epoch."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, int], Takeover] = {}
        self._urls: dict[str, str] = {}
        """By the name that a journal has of an owner where its worker listens, as long as it is among these."""

    def of(self, workers: Iterable[CommandWorker], logs: Iterable[str]) -> list[Takeover]:
        """What these workers say, and what was seen before of these logs, the newest first."""
        for worker in workers:
            for status in worker.owned:
                if status.owner is None or status.since is None:
                    continue
                self._urls[status.owner] = worker.url
                self._seen[status.log, status.epoch] = Takeover(
                    log=status.log,
                    epoch=status.epoch,
                    at=status.since,
                    seconds=status.takeover_ms / 1e3,
                    by=worker.url,
                    former=self._urls.get(status.former, machine_of(status.former)),
                    idle_seconds=idle(status.former_at, status.since),
                )
        self._forget(now() - HOUR)
        wanted = {*logs}
        found = [takeover for takeover in self._seen.values() if takeover.log in wanted]
        return sorted(found, key=lambda takeover: takeover.at, reverse=True)

    def _forget(self, before: datetime) -> None:
        kept = [(place, takeover) for place, takeover in self._seen.items() if takeover.at >= before]
        self._seen = dict(sorted(kept, key=lambda item: item[1].at)[-MOST:])
        while len(self._urls) > MOST:
            del self._urls[next(iter(self._urls))]


def machine_of(owner: str) -> str:
    """An owner as its worker is known elsewhere: `host:process`. Empty for nobody."""
    return owner.rpartition(":")[0] or owner


def idle(last: datetime | None, taken: datetime) -> float | None:
    """Seconds from the last commit of the one before to the takeover: in so long nothing was decided, if only since
    nothing was asked."""
    return None if last is None else max((taken - last).total_seconds(), 0.0)
