"""Rules about what workers have said once, and went on: the lines of the log that are for people.

What can be undone is there until it is undone, or the worker is started again; of what has happened, which nobody can
undo, nothing is said an hour later.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import NamedTuple

from projections.console.findings.finding import Concern, Finding, Remedy, Severity, faust, some_of
from projections.console.findings.snapshot import Snapshot
from streams.notices import Notice

HOUR = timedelta(hours=1)
MOST_CONCERNS = 10
SERIOUS_ABOVE = 3
"""An owner is fenced when a worker was slow once; a log that loses its owners again and again is for people."""
REPORT = "Report it: the log of the worker has a trace."


class Meaning(NamedTuple):
    """What it means that something was said, and what is to be done.

    command    arguments of the command line of the worker's app
    lasts      it is so until it is undone
    times      so often it is to have been said to matter
    act_after  seconds after which it becomes urgent; None: never
    """

    title: str
    text: str
    severity: Severity = "look"
    command: tuple[str, ...] = ()
    lasts: bool = False
    times: int = 1
    act_after: float | None = None


MEANINGS: Mapping[str, Meaning] = {
    "audit-gap": Meaning(
        "The audit does not have the end of an order", "Look whether Kafka takes what is written to the audit."
    ),
    "client-connections": Meaning(
        "One client opens as many connections as it may",
        "Look who it is: raise HTTP_CLIENT_CONNECTIONS for a proxy that stands for many.",
    ),
    "commands-lost": Meaning(
        "Kafka has lost commands that it had acknowledged",
        "Have whoever got no reply send again, and look at the disks of the brokers.",
        "act",
    ),
    "connections-full": Meaning(
        "A worker has as many connections as it may", "Look who opens them; raise `ulimit -n` where all are meant."
    ),
    "events-lost": Meaning(
        "A topic of events is shorter than it was",
        "Nothing is lost: the journal has them, and they are published again. Look at the disks of the brokers.",
    ),
    "fenced": Meaning(
        "Owners lose their logs again and again",
        "Find out why their workers pause: memory, processors, swap.",
        times=SERIOUS_ABOVE,
    ),
    "file-unreadable": Meaning(
        "A file was changed to something that cannot be read",
        "Mend it: what stood there before goes on to count, and it is read again when it changes.",
        "act",
        lasts=True,
    ),
    "host-down": Meaning(
        "A host of Cassandra is down", "Start it, or look at its log. Others have its rows.", lasts=True
    ),
    "journal-hole": Meaning(
        "A commit of the journal cannot be read, and nothing behind it is published",
        "Verify the journal, and restore the commit from a copy: the journal has lost what it had acknowledged.",
        "act",
        ("journal", "verify"),
    ),
    "keys-not-renewed": Meaning(
        "The keys of persons cannot be renewed",
        "See whether the key management answers this worker, and lets it: whoever was forgotten is readable in old"
        " copies of the keys until then.",
        lasts=True,
    ),
    "keys-unreadable": Meaning(
        "The keys of an issuer of tokens cannot be read",
        "See whether the issuer answers this worker: keys of the last day go on to count.",
        lasts=True,
    ),
    "letter-too-large": Meaning(
        "A letter about a key that waits is too large for its topic", "Raise max.message.bytes of that topic."
    ),
    "no-replies": Meaning(
        "Somebody wants replies on a topic that gets none", "Tell whoever sends: the name, or the right, is wrong."
    ),
    "no-snapshot": Meaning(
        "Aggregates have no snapshot, and are loaded from all their events",
        "Make their state smaller, or such that it comes back from JSON as it was.",
    ),
    "owner-failed": Meaning("The owner of a log failed, and began anew", REPORT),
    "reading-failed": Meaning("Reading a topic failed, and began anew", REPORT),
    "replies-lost": Meaning(
        "Replies were lost; their commits stand",
        "Whoever waits sends again with the same id. Look at what Kafka says of the topic.",
    ),
    "rows-gone": Meaning(
        "The rows of a table that answered were gone: it is built again",
        "Queries are 503 until it is. Find out whether the changelog or the read model was lost, or is another one.",
    ),
    "strangers-record": Meaning(
        "Somebody else writes to topics of this system",
        "Find out who, and take the right away: what cannot be read is passed over, and nothing is lost by it.",
    ),
    "table-damaged": Meaning(
        "Files of a table were damaged, and are made again from the changelog", "Look at the disk if it comes again."
    ),
    "tokens-in-clear": Meaning(
        "Tokens come to a port in the clear", "Give it a certificate, or a proxy that has one.", lasts=True
    ),
    "topic-clock": Meaning(
        "The commands of a topic are dated by their senders' clocks",
        "Set message.timestamp.type=LogAppendTime on it.",
        lasts=True,
    ),
    "topic-copies": Meaning(
        "Topics have fewer copies than they might",
        "Give them more by kafka-reassign-partitions, then start the workers anew: with a broker they may lose "
        "what was acknowledged.",
        lasts=True,
    ),
    "topic-made-again": Meaning(
        "A topic of commands was deleted and made again", "Know who did it: what was not read of it is gone."
    ),
    "topic-one-copy": Meaning(
        "What one broker alone has is acknowledged",
        "Set min.insync.replicas=2 on these topics, and start the workers anew.",
        lasts=True,
    ),
    "waiting": Meaning(
        "A worker waits for an answer",
        "Mend the server that does not answer: it is tried again, and goes on by itself.",
        lasts=True,
        act_after=30.0,
    ),
    "worker-disbelieved": Meaning(
        "A worker does not believe another one to be one",
        "Clocks may differ by a minute; the name of a worker is to be in HTTP_ALLOWED_HOSTS of the others.",
    ),
    "worker-gone": Meaning(
        "A worker has ended without a word, and others have taken over", "See why it died: the end of its log, memory."
    ),
}
"""By kind of notice (`streams.notices.Kind`)."""
UNKNOWN = Meaning("A worker says what this one does not know", "Update this worker; the log of the other says more.")


class Said(NamedTuple):
    """What a worker of an app has said."""

    worker: str
    app: str
    notice: Notice


def somebody_should_know(snapshot: Snapshot) -> Iterator[Finding]:
    """What workers have said once, one finding for each kind."""
    by_kind: dict[str, list[Said]] = {}
    for said in _said(snapshot):
        by_kind.setdefault(said.notice.kind, []).append(said)
    for kind, all_said in by_kind.items():
        meaning = MEANINGS.get(kind, UNKNOWN)
        fresh = [one for one in all_said if meaning.lasts or snapshot.at - one.notice.last <= HOUR]
        if sum(one.notice.times for one in fresh) >= meaning.times:
            yield _finding(kind, meaning, fresh)


def _said(snapshot: Snapshot) -> Iterator[Said]:
    for context in snapshot.contexts:
        for worker in context.workers:
            yield from (Said(worker.url, context.app, notice) for notice in worker.notices)
    for reader in snapshot.workers:
        yield from (Said(reader.url, snapshot.app, notice) for notice in reader.notices)
    for tail in snapshot.tails:
        yield from (Said(tail.url, snapshot.app, notice) for notice in tail.notices)


def _finding(kind: str, meaning: Meaning, all_said: list[Said]) -> Finding:
    newest = max(all_said, key=lambda said: said.notice.last)
    about = list(dict.fromkeys(said.notice.about for said in all_said if said.notice.about))
    times = sum(said.notice.times for said in all_said)
    again = f" (said {times:,} times)" if times > 1 and not meaning.lasts else ""
    concerns = [Concern("subject", name) for name in about]
    return Finding(
        id=f"said:{kind}",
        severity=meaning.severity,
        title=f"{meaning.title}: {some_of(about)}" if about else meaning.title,
        detail=f"{newest.notice.text}{again}",
        concerns=[*concerns, *(Concern("worker", url) for url in dict.fromkeys(said.worker for said in all_said))][
            :MOST_CONCERNS
        ],
        since=min(said.notice.first for said in all_said),
        act_after=meaning.act_after,
        remedy=Remedy(text=meaning.text, command=faust(newest.app, *meaning.command) if meaning.command else ""),
    )
