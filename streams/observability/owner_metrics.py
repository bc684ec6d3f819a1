"""What the owners of one aggregate type count: by group, not by command."""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections.abc import Collection

from streams.deciding.decided_group import DecidedGroup, Verdict
from streams.deciding.messages import Envelope
from streams.journal.port import Fenced
from streams.observability import catalog
from streams.observability.catalog import OTHER
from streams.observability.instruments import Instruments
from streams.observability.traces import sampled_trace_id

OUTCOMES = ("accepted", "repeated", "rejected", "failed", "waiting")
"""What becomes of a command: `repeated` was accepted before, `waiting` is set aside behind a quarantine, and counts
again when it is decided."""
MOST_REASONS = 50
"""Reasons of failures are the engine's own. If there should be more all the same, the rest is `OTHER`."""

SAMPLED = frozenset("13579bdf")
"""How a `traceparent` ends that says so; the rest of it is looked at once a group."""


def outcome_of(verdict: Verdict) -> str:
    """One of `OUTCOMES`."""
    if verdict.reply is None:
        return "waiting"
    status = verdict.reply.status
    return status if verdict.rows or status != "accepted" else "repeated"


class OwnerMetrics:
    """Of all logs of a type in this worker. `commands` are the names of commands that there are."""

    def __init__(self, instruments: Instruments, type: str, commands: Collection[str] = ()) -> None:
        self._type = type
        self._known = set(commands)
        self._commands = instruments.counter(catalog.COMMANDS)
        self._seconds = instruments.histogram(catalog.COMMAND_SECONDS)
        self._events = instruments.counter(catalog.EVENTS)
        self._load = instruments.histogram(catalog.LOAD_SECONDS)
        self._decide = instruments.histogram(catalog.DECIDE_SECONDS)
        self._commit = instruments.histogram(catalog.COMMIT_SECONDS)
        self._shared = instruments.histogram(catalog.COMMIT_COMMANDS)
        self._hits = instruments.counter(catalog.CACHE_HITS)
        self._loads = instruments.counter(catalog.CACHE_LOADS)
        self._takeover = instruments.histogram(catalog.TAKEOVER_SECONDS)
        self._lost = instruments.counter(catalog.OWNERSHIP_LOST)
        self._dead_letters = instruments.counter(catalog.DEAD_LETTERS)
        self._reasons: set[str] = set()
        self._quarantines = instruments.counter(catalog.QUARANTINES)
        for command in (*self._known, OTHER):
            for outcome in ("accepted", "rejected", "failed"):
                self._commands.add(0, type, command, outcome)
        for one in (self._events, self._hits, self._loads, self._quarantines):
            one.add(0, type)
        for reason in ("fenced", OTHER):
            self._lost.add(0, type, reason)

    def taken_over(self, seconds: float) -> None:
        """An owner has taken over a log."""
        self._takeover.observe(seconds, self._type)

    def lost(self, error: Exception) -> None:
        """An owner has lost its log."""
        self._lost.add(1, self._type, "fenced" if isinstance(error, Fenced) else OTHER)

    def decided(self, group: DecidedGroup) -> None:
        """A group is decided."""
        if group.loaded:
            self._load.observe(group.load_seconds, self._type)
        self._decide.observe(group.decide_seconds, self._type)
        self._hits.add(group.cached, self._type)
        self._loads.add(group.loaded, self._type)

    def committed(self, group: DecidedGroup, seconds: float) -> None:
        """A group is committed, and its replies are on their way; its commit took so many seconds."""
        verdicts, type, now = group.verdicts, self._type, time.time()
        self._commit.observe(seconds, type)
        self._shared.observe(len(verdicts), type)
        self._events.add(sum([len(it.reply.events) for it in verdicts if it.rows and it.reply is not None]), type)
        # Kafka's times have milliseconds, and those of a batch are equal: a group has few.
        tally = Tally([(it.envelope.type, outcome_of(it), _sent_at(it.envelope)) for it in verdicts])
        failed = False
        for (command, outcome, sent_at), count in tally.items():
            self._commands.add(count, type, command if command in self._known else OTHER, outcome)
            if sent_at >= 0:
                self._seconds.observe(max(now - sent_at, 0.0), type, outcome, count=count)
            failed = failed or outcome == "failed"
        if failed:
            self._count_failures(group)
        if sampled := [it for it in verdicts if it.envelope.traceparent[-1:] in SAMPLED]:
            self._show(sampled[0], now)

    def _count_failures(self, group: DecidedGroup) -> None:
        for _, failure in group.dead_letters:
            if failure.type not in self._reasons and len(self._reasons) < MOST_REASONS:
                self._reasons.add(failure.type)
            reason = failure.type if failure.type in self._reasons else OTHER
            self._dead_letters.add(1, self._type, reason)
            self._quarantines.add(failure.quarantines, self._type)

    def _show(self, verdict: Verdict, now: float) -> None:
        """Have the trace of one command of a group be an exemplar of its seconds."""
        envelope = verdict.envelope
        trace_id, sent_at = sampled_trace_id(envelope.traceparent), _sent_at(envelope)
        if trace_id and sent_at >= 0:
            self._seconds.exemplify(max(now - sent_at, 0.0), trace_id, self._type, outcome_of(verdict))


def _sent_at(envelope: Envelope) -> float:
    """Kafka's time of a command; below 0 for none."""
    return -1.0 if envelope.message is None else envelope.message.timestamp
