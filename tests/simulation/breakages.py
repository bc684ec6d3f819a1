"""Deliberate breakages: small edits of the product's source, each of which the simulation must find."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType
from typing import Any

from projections.tailer import Tail
from streams.cache import Aggregate, Cache
from streams.handler import Handler, load_aggregate
from streams.indexer import Indexer
from streams.intake import Intake
from streams.journal_memory import MemoryJournal
from streams.owner import Owner
from streams.ownership import Ownership
from streams.takeover import first_commit, take_over


@dataclass(frozen=True)
class Edit:
    """In the source of `function`, dedented: `new` in the place of `old`, which must stand there once."""

    function: Callable[..., Any]
    old: str
    new: str


APPEND = """    derived = await until_it_answers(
        lambda: self._journal.append(commit, lambda: [pending.encode() for pending in snapshots]),
        f"{self.stream}: appending commit {commit.nr}",
        Unavailable,
    )
"""
ONCE = """    try:
        derived = await self._journal.append(commit, lambda: [pending.encode() for pending in snapshots])
    except Unavailable:
        derived = False
"""
AGAIN = """    tried = []

    def attempt():
        tried.append(commit)
        return self._journal.append(msgspec.structs.replace(commit, nr=commit.nr + len(tried) - 1), tuple)

    derived = await until_it_answers(attempt, "append", Unavailable)
"""
REPLY = "    await self._outbox.replies(self._replies(verdicts))\n"

BREAKAGES: dict[str, tuple[Edit, ...]] = {
    "no fence: a later append overwrites": (
        Edit(MemoryJournal.append, "raise fenced(present, commit)", "log[commit.nr - 1] = commit"),
    ),
    "no fence: a later append takes the next free place": (
        Edit(
            MemoryJournal.append,
            "raise fenced(present, commit)",
            "log.append(__import__('msgspec').structs.replace(commit, nr=len(log) + 1))",
        ),
    ),
    "takeover: without a commit of its own": (
        Edit(take_over, "commit = first_commit(", "commit = old or first_commit("),
    ),
    "takeover: the epoch is not raised": (Edit(first_commit, "old.epoch + 1", "old.epoch"),),
    "takeover: derived rows are not repaired": (Edit(Indexer.repair, "await self._journal.index(commits)", "pass"),),
    "takeover: remembered ids are forgotten": (
        Edit(load_aggregate, "    return aggregate\n", "    aggregate.outcomes.clear()\n    return aggregate\n"),
    ),
    "takeover: the incarnation of the topic is ignored": (
        Edit(first_commit, "if old.topic_id != topic_id:", "if False:"),
    ),
    "reply before the commit": (Edit(Owner._process, REPLY, ""), Edit(Owner._process, APPEND, REPLY + APPEND)),
    "unknown outcome taken for success": (Edit(Owner._process, APPEND, ONCE),),
    "unknown outcome taken for failure: the next number is tried": (Edit(Owner._process, APPEND, AGAIN),),
    "no seek: the group's committed offset is trusted": (
        Edit(Ownership.assign, "return {p: self.owners[p].next_offset for p in self._serving}", "return {}"),
        Edit(Owner.deliver, "or delivery.offset < self.next_offset", ""),
    ),
    "a command delivered again is decided again": (Edit(Owner.deliver, "or delivery.offset < self.next_offset", ""),),
    "a gap is not looked into": (
        Edit(Owner.deliver, "if await self._commands.gap_is_empty(due, delivery.offset):", "if True:"),
    ),
    "let go: the queue is kept": (Edit(Intake.close, "while self._queue:", "while False:"),),
    "let go: the messages of a group given up are kept": (Edit(Owner._work, "delivery.discard()", "pass"),),
    "failures are not kept as dead letters": (Edit(Owner._process, "if letters:", "if False:"),),
    "a commit says that all before it is indexed": (
        Edit(Owner._process, "self._indexer.indexed_nr,\n        draft", "self.head.nr,\n        draft"),
    ),
    "accepted commands without an event are not remembered": (
        Edit(
            Handler.accepted,
            "aggregate.remember(rows, draft.nr, self._window)",
            "if types:\n        aggregate.remember(rows, draft.nr, self._window)",
        ),
    ),
    "an event that a snapshot holds is applied again": (
        Edit(load_aggregate, "row.event.sequence > base_sequence", "row.event.sequence >= base_sequence"),
    ),
    "a snapshot has no remembered ids": (Edit(Aggregate.capture, "dict(self.outcomes)", "{}"),),
    "the cache forgets what is not indexed yet": (
        Edit(Cache.shrink, "if self._aggregates[aggregate_id].nr <= indexed_nr:", "if True:"),
    ),
    "the tailer believes a hint": (
        Edit(
            Tail.wake,
            "self._wake.set()",
            "self.published = Published(max(nr - 1, self.published.nr), -1)\n    self._wake.set()",
        ),
    ),
    "the tailer reads only when it gets a hint": (
        Edit(Tail.run, "await asyncio.wait_for(self._wake.wait(), POLL_SECONDS)", "await self._wake.wait()"),
    ),
    "the tailer resumes behind the commit of the last event": (
        Edit(
            Tail._find,
            "return read_position(record.headers)[1]",
            "return Published(read_position(record.headers)[1].nr, -1)",
        ),
    ),
}
"""Bugs that the simulation has found in the product are here too, so that they are found again."""


@contextmanager
def broken(name: str) -> Iterator[None]:
    """The product with that breakage, for as long as the context lasts; unbroken when `name` is empty."""
    edits = edited(BREAKAGES[name]) if name else {}
    originals = {function: function.__code__ for function in edits}
    try:
        for function, code in edits.items():
            function.__code__ = code
        yield
    finally:
        for function, code in originals.items():
            function.__code__ = code


def edited(edits: Sequence[Edit]) -> dict[Any, CodeType]:
    """The new code by function. Raises `ValueError` when the product no longer reads as an edit expects."""
    sources = {edit.function: textwrap.dedent(inspect.getsource(edit.function)) for edit in edits}
    for edit in edits:
        source = sources[edit.function]
        if source.count(edit.old) != 1:
            name = edit.function.__qualname__
            raise ValueError(f"{name} has {edit.old!r} {source.count(edit.old)} times, not once: mend the breakage")
        sources[edit.function] = source.replace(edit.old, edit.new)
    return {function: _compiled(function, source) for function, source in sources.items()}


def _compiled(function: Any, source: str) -> CodeType:
    namespace: dict[str, Any] = {}
    code = compile("from __future__ import annotations\n" + source, "<breakage>", "exec")
    exec(code, function.__globals__, namespace)
    return namespace[function.__name__].__code__  # type: ignore[no-any-return]
