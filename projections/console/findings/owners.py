"""Rules about the write side: its workers, its logs, and what its process managers hear."""

from __future__ import annotations

from collections.abc import Iterator

from projections.console.findings.finding import Concern, Finding, Remedy, faust, several
from projections.console.findings.snapshot import CommandWorker, Context, Snapshot
from streams.journal.port import log_type
from streams.journal.position import stream_name

TAKEOVER_SECONDS = 15.0
"""A takeover, a start or a rebalance is over by then."""
QUEUED = 20_000
"""Commands that wait at one owner; a healthy one decides thousands a second."""
BEHIND = 10_000
"""Events that a process manager has not heard yet."""


def nobody_decides(snapshot: Snapshot) -> Iterator[Finding]:
    """A context without a worker."""
    for context in snapshot.contexts:
        if not context.workers and not context.fault:
            yield Finding(
                id=f"no-worker:{context.name}",
                severity="act",
                title=f"Nobody decides the commands of {context.name}",
                detail="No worker is up. Commands wait on Kafka, and nothing is lost.",
                concerns=[Concern("context", context.name)],
                remedy=Remedy(text=f"Start a worker of {context.name}.", command=faust(context.app, "worker")),
            )


def worker_is_silent(snapshot: Snapshot) -> Iterator[Finding]:
    """A member of a context's group that does not say how it is, or is in trouble."""
    for context in snapshot.contexts:
        for worker in context.workers:
            if worker.fault:
                yield Finding(
                    id=f"worker-silent:{context.name}:{worker.url}",
                    severity="look",
                    title=f"A worker of {context.name} does not say how it is",
                    detail=worker.fault,
                    concerns=[Concern("worker", worker.url), Concern("context", context.name)],
                    act_after=TAKEOVER_SECONDS,
                    remedy=Remedy(text="Look at its process and its log. One that is stopped keeps its logs: end it."),
                )
            elif worker.troubles:
                yield _in_trouble(context, worker)


def _in_trouble(context: Context, worker: CommandWorker) -> Finding:
    return Finding(
        id=f"worker-trouble:{context.name}:{worker.url}",
        severity="look",
        title=f"A worker of {context.name} is not ready",
        detail=worker.troubles,
        concerns=[Concern("worker", worker.url), Concern("context", context.name)],
        act_after=TAKEOVER_SECONDS,
        remedy=Remedy(text="It tries again by itself. Mend what it names; its log says more."),
    )


def log_is_not_served(snapshot: Snapshot) -> Iterator[Finding]:
    """A log without an owner, in a context that has workers which answer."""
    for context in snapshot.contexts:
        if not context.workers or any(worker.fault for worker in context.workers):
            continue
        placed = {log.log: log for worker in context.workers for log in worker.owned}
        for name in context.logs:
            log = placed.get(name)
            if log is None or not log.serving:
                reason = log.waits if log is not None else ""
                yield Finding(
                    id=f"log-unserved:{name}",
                    severity="look",
                    title=f"The commands of {name} wait: no owner serves this log",
                    detail=reason or "It is about to be taken over, or no worker was given it.",
                    concerns=[Concern("log", name), Concern("context", context.name)],
                    act_after=TAKEOVER_SECONDS,
                    remedy=Remedy(
                        text="It is tried again by itself. Mend what the owner waits for.",
                        command=faust(context.app, "owners"),
                    ),
                )


def slice_is_held(snapshot: Snapshot) -> Iterator[Finding]:
    """A slice whose commands wait although its log is served."""
    for context in snapshot.contexts:
        for log in (log for worker in context.workers for log in worker.owned):
            for slice, reason in log.held.items():
                stream = stream_name(log_type(log.log), slice)
                yield Finding(
                    id=f"slice-held:{stream}",
                    severity="act",
                    title=f"The commands of {stream} wait",
                    detail=reason,
                    concerns=[Concern("stream", stream), Concern("log", log.log)],
                    remedy=Remedy(text=f"Deploy the version of {context.name} that can read its newest events."),
                )


def queue_is_long(snapshot: Snapshot) -> Iterator[Finding]:
    """An owner that cannot keep up."""
    for context in snapshot.contexts:
        for log in (log for worker in context.workers for log in worker.owned):
            if log.queued >= QUEUED:
                yield Finding(
                    id=f"queue-long:{log.log}",
                    severity="look",
                    title=f"{several(log.queued, 'command')} wait for {log.log}",
                    concerns=[Concern("log", log.log)],
                    remedy=Remedy(
                        text="Let senders be slower, start another worker, or split the log.",
                        command=faust(context.app, "logs", "split", log.log),
                    ),
                )


def nobody_hears(snapshot: Snapshot) -> Iterator[Finding]:
    """A process manager that an event keeps from hearing those behind it, or that is far behind."""
    for context in snapshot.contexts:
        for position in (position for worker in context.workers for position in worker.inputs):
            place = f"{position.topic}-{position.partition}"
            if position.held:
                yield Finding(
                    id=f"input-held:{context.name}:{place}",
                    severity="act",
                    title=f"{context.name} hears nothing of {place} any more",
                    detail=position.held,
                    concerns=[Concern("context", context.name)],
                    remedy=Remedy(text=f"Deploy the version of {context.name} that can hear this event."),
                )
            elif position.behind >= BEHIND:
                yield Finding(
                    id=f"input-behind:{context.name}:{place}",
                    severity="look",
                    title=f"{context.name} has {several(position.behind, 'event')} of {place} still to hear",
                    concerns=[Concern("context", context.name)],
                    remedy=Remedy(text=f"It catches up by itself; another worker of {context.name} shares the work."),
                )
