"""What the owners of one aggregate type count: by group, not by command."""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections.abc import Collection

from streams.deciding.decided_group import DecidedGroup, Verdict
from streams.journal.port import Fenced
from streams.observability import catalog
from streams.observability.catalog import OTHER
from streams.observability.instruments import Instruments
from streams.observability.traces import SAMPLED, sampled_trace_id

ACCEPTED, REPEATED, REJECTED, FAILED, WAITING = "accepted", "repeated", "rejected", "failed", "waiting"
"""What becomes of a command: `REPEATED` was accepted before, `WAITING` is set aside behind a quarantine, and counts
again when it is decided."""
NOTHING_NEW, UNKNOWN = -1, -1.0
"""For the events of a command that was not accepted now, and for a time that Kafka does not say."""
MOST_REASONS = 50
"""Reasons of failures are the engine's own. If there should be more all the same, the rest is `OTHER`."""


class OwnerMetrics:
    """Of all logs of a type in this worker. `commands` are the names of commands that there are."""

    def __init__(self, instruments: Instruments, type: str, commands: Collection[str] = ()) -> None:
        self._type = type
        self._known = set(commands)
        self._commands = instruments.counter(catalog.COMMANDS)
        self._seconds = instruments.histogram(catalog.COMMAND_SECONDS)
        self._events = instruments.counter(catalog.EVENTS).of(type)
        self._load = instruments.histogram(catalog.LOAD_SECONDS).of(type)
        self._decide = instruments.histogram(catalog.DECIDE_SECONDS).of(type)
        self._commit = instruments.histogram(catalog.COMMIT_SECONDS).of(type)
        self._shared = instruments.histogram(catalog.COMMIT_COMMANDS).of(type)
        self._hits = instruments.counter(catalog.CACHE_HITS).of(type)
        self._loads = instruments.counter(catalog.CACHE_LOADS).of(type)
        self._takeover = instruments.histogram(catalog.TAKEOVER_SECONDS).of(type)
        self._fenced = instruments.counter(catalog.OWNERSHIP_LOST).of(type, "fenced")
        self._lost = instruments.counter(catalog.OWNERSHIP_LOST).of(type, OTHER)
        self._dead_letters = instruments.counter(catalog.DEAD_LETTERS)
        self._reasons: set[str] = set()
        self._quarantines = instruments.counter(catalog.QUARANTINES).of(type)
        for command in (*self._known, OTHER):
            for outcome in (ACCEPTED, REJECTED, FAILED):
                self._commands.of(type, command, outcome)

    def taken_over(self, seconds: float) -> None:
        """An owner has taken over a log."""
        self._takeover.observe(seconds)

    def lost(self, error: Exception) -> None:
        """An owner has lost its log."""
        (self._fenced if isinstance(error, Fenced) else self._lost).value += 1

    def decided(self, group: DecidedGroup) -> None:
        """A group is decided."""
        if group.loaded:
            self._load.observe(group.load_seconds)
        self._decide.observe(group.decide_seconds)
        self._hits.value += group.cached
        self._loads.value += group.loaded

    def committed(self, group: DecidedGroup, seconds: float) -> None:
        """A group is committed, and its replies are on their way; its commit took so many seconds."""
        self._commit.observe(seconds)
        self._shared.observe(len(group.verdicts))
        # All that is done for each command is this: a third of a microsecond. Kafka's times have milliseconds, and
        # those of a batch are equal, so there are few different ones in a group.
        tally = Tally(
            [
                (
                    (envelope := verdict.envelope).type,
                    reply.status if (reply := verdict.reply) is not None else WAITING,
                    len(reply.events) if verdict.rows and reply is not None else NOTHING_NEW,
                    envelope.message.timestamp if envelope.message is not None else UNKNOWN,
                    envelope.traceparent[-1:],
                )
                for verdict in group.verdicts
            ]
        )
        now, outcomes, flags = time.time(), set(), set()
        for (command, status, caused, sent_at, flag), count in tally.items():
            outcome = REPEATED if status == ACCEPTED and caused == NOTHING_NEW else status
            self._commands.of(self._type, command if command in self._known else OTHER, outcome).value += count
            if caused > 0:
                self._events.value += caused * count
            if sent_at >= 0:
                self._seconds.of(self._type, outcome).observe(max(now - sent_at, 0.0), count)
            outcomes.add(outcome)
            flags.add(flag)
        if FAILED in outcomes:
            self._count_failures(group)
        if not SAMPLED.isdisjoint(flags):
            self._show(next(verdict for verdict in group.verdicts if verdict.envelope.traceparent[-1:] in SAMPLED), now)

    def _count_failures(self, group: DecidedGroup) -> None:
        for _, failure in group.dead_letters:
            if failure.type not in self._reasons and len(self._reasons) < MOST_REASONS:
                self._reasons.add(failure.type)
            reason = failure.type if failure.type in self._reasons else OTHER
            self._dead_letters.add(1, self._type, reason)
            self._quarantines.value += failure.quarantines

    def _show(self, verdict: Verdict, now: float) -> None:
        """Have the trace of one command of a group be an exemplar of its seconds."""
        envelope, reply = verdict.envelope, verdict.reply
        trace_id, message = sampled_trace_id(envelope.traceparent), envelope.message
        if trace_id and message is not None and message.timestamp >= 0 and reply is not None:
            outcome = REPEATED if reply.status == ACCEPTED and not verdict.rows else reply.status
            self._seconds.of(self._type, outcome).exemplify(max(now - message.timestamp, 0.0), trace_id)
