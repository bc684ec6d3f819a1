"""Deliberate breakages: small edits of the product's source, each of which the simulation must find."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType
from typing import Any

from projections.applying.control import Control
from projections.applying.event_processor import EventProcessor
from projections.applying.event_reader import EventReader
from projections.applying.event_source import EventSource
from projections.applying.fold import TableFold, _Batch
from projections.applying.partition_processor import PartitionProcessor
from projections.applying.projection_group import ProjectionGroup
from projections.projection import Projection
from projections.publishing.hints.carried_commits import CarriedCommits
from projections.publishing.resume_point import _last_records, _point, find_resume_point, with_leader
from projections.publishing.slice_tails import LeftBehind, SliceTails
from projections.publishing.tail import Tail
from projections.routing.cutover import Cutover
from projections.stores.changelog import is_newer, records_of
from projections.stores.local.indexes import IndexWriter
from projections.stores.local.rocksdb import RocksDBStore
from projections.stores.local.tables import LocalRows
from projections.stores.shared.memory import MemoryRows
from streams.deciding import messages, quarantine_policy
from streams.deciding.cache import Aggregate, Cache
from streams.deciding.command_handler import CommandHandler
from streams.deciding.decided_group import DecidedGroup, row_of
from streams.deciding.group_handler import GroupHandler
from streams.deciding.loading import load_aggregate
from streams.deciding.quarantine_policy import QuarantinePolicy
from streams.journal.layout import Layout
from streams.journal.memory import MemoryJournal
from streams.journal.slice_log import SliceLog, _seal
from streams.kafka.client import KafkaClient
from streams.kafka.command_reader import KafkaCommandReader
from streams.kafka.command_slices import CommandSlices
from streams.kafka.records import PartitionRecords
from streams.ownership.command_reading import CommandReading
from streams.ownership.derivation import Derivation
from streams.ownership.intake.partition_intake import PartitionIntake
from streams.ownership.owned_log import OwnedLog
from streams.ownership.owner import Owner
from streams.ownership.takeover import _inherited, first_commit, take_over
from streams.principals import signature


@dataclass(frozen=True)
class Edit:
    """In the source of `function`, dedented: `new` in the place of `old`, which must stand there once."""

    function: Callable[..., Any]
    old: str
    new: str


APPEND = """    await until_it_answers(
        lambda: self._journal.append(commit, snapshots),
        f"{self.log}: appending commit {commit.nr}",
        Unavailable,
        self._waits,
    )
"""
ONCE = """    try:
        await self._journal.append(commit, snapshots)
    except Unavailable:
        pass
"""
AGAIN = """    tried = []

    def attempt():
        tried.append(commit)
        return self._journal.append(msgspec.structs.replace(commit, nr=commit.nr + len(tried) - 1))

    await until_it_answers(attempt, "append", Unavailable)
"""
HINT = "    self._replies.hint(self.span.seat, commit, self._hinted or head)\n"
REPLY = "    await self._replies.replies(group.replies)\n"

PLACED = "        yield key_of(table, PLACE), _encode(change.place)\n"
WAITING = "        yield key_of(table, QUARANTINED, key), _encode(quarantined)\n"

BREAKAGES: dict[str, tuple[Edit, ...]] = {
    "no fence: a later append overwrites": (
        Edit(MemoryJournal.append, "raise Fenced.by(present, commit)", "commits[index] = commit"),
    ),
    "no fence: a later append takes the next free place": (
        Edit(
            MemoryJournal.append,
            "raise Fenced.by(present, commit)",
            "commits.append(__import__('msgspec').structs.replace(commit, nr=commits[-1].nr + 1))",
        ),
    ),
    "takeover: without a commit of its own": (
        Edit(take_over, "commit = first_commit(", "commit = old or first_commit("),
    ),
    "takeover: the epoch is not raised": (Edit(first_commit, "old.epoch + 1", "old.epoch"),),
    "takeover: derived rows are not repaired": (
        Edit(Derivation.repair, "await self._journal.derive(commits)", "pass"),
    ),
    "takeover: what was loaded before all was derived is kept": (
        Edit(Owner.take_over, "if not self.is_first:", "if False:"),
        Edit(CommandReading.settle, "        owner.forget()\n", ""),
    ),
    "takeover: remembered ids are forgotten": (
        Edit(load_aggregate, "    return aggregate\n", "    aggregate.outcomes.clear()\n    return aggregate\n"),
    ),
    "takeover: the incarnation of the topic is ignored": (
        Edit(first_commit, "if old.topic_id != topic_id:", "if False:"),
    ),
    "reply before the commit": (
        Edit(Owner._commit_group, REPLY, ""),
        Edit(Owner._commit_group, APPEND, REPLY + APPEND),
    ),
    "unknown outcome taken for success": (Edit(Owner._commit_group, APPEND, ONCE),),
    "unknown outcome taken for failure: the next number is tried": (Edit(Owner._commit_group, APPEND, AGAIN),),
    "an owner reads from the beginning, and decides all again": (
        Edit(CommandReading._read, "run(self._from,", "run(dict.fromkeys(self._owner.slices, 0),"),
        Edit(PartitionIntake.deliver, "if message.offset >= self.next_offset:", "if True:"),
    ),
    "a commit covers the offsets of the wrong slice": (
        Edit(
            DecidedGroup.cover,
            "self.slices[message.partition] = SliceHead(message.offset, self.slices[message.partition].eventful_nr)",
            "slice = max(self.slices)\n"
            "    self.slices[slice] = SliceHead(max(message.offset, self.slices[slice].offset), "
            "self.slices[slice].eventful_nr)",
        ),
    ),
    "a commit says of one slice what it holds of another": (
        Edit(DecidedGroup.holds_event, "self.slices[slice] = ", "slice = min(self.slices)\n    self.slices[slice] = "),
    ),
    "a takeover begins one slice one too far": (
        Edit(
            Owner.open,
            "self.intakes[slice].open(offset)",
            "self.intakes[slice].open(offset + (slice == max(self.slices)))",
        ),
    ),
    "a takeover covers one command too many of one slice": (
        Edit(
            first_commit,
            "    return replace(\n        old,",
            "    slices[max(slices)] = replace(slices[max(slices)], offset=slices[max(slices)].offset + 1)\n"
            "    return replace(\n        old,",
        ),
    ),
    "an event that cannot be read holds the whole log": (
        Edit(
            GroupHandler._load,
            "self._unreadable[aggregate_id] = error",
            "raise Unavailable(str(error)) from None",
        ),
    ),
    "what follows a command that has to wait is decided": (
        Edit(GroupHandler._is_held, "if message.partition in group.held:", "if False:"),
    ),
    "a slice that was held goes on behind the command that had to wait": (
        Edit(Owner._go_on, "intake.open(intake.next_offset)", "intake.open(intake.next_offset + 1)"),
    ),
    "what waits in the queue when its slice is held stays there": (
        Edit(PartitionIntake.hold, "self._queue.forget(self._slice)", "pass"),
    ),
    "a slice that was held is not read again": (
        Edit(Owner._go_on, "self._source.go_on(slice, intake.next_offset)", "pass"),
    ),
    "a topic of commands that is deleted is waited for": (
        Edit(KafkaCommandReader.run, ", self._until_gone(consumer._client.cluster))", ")"),
    ),
    "a command delivered again is decided again": (
        Edit(PartitionIntake.deliver, "if message.offset >= self.next_offset:", "if True:"),
    ),
    "a gap is not looked into": (Edit(PartitionIntake._check_gap, "if not is_empty and", "if False and"),),
    "failures are not kept as dead letters": (
        Edit(Owner._commit_group, "if letters := group.dead_letters:", "if False:"),
    ),
    "a commit says that all before it is indexed": (
        Edit(Owner._commit_group, "derived_nr=self.derivation.derived_nr", "derived_nr=head.nr"),
    ),
    "accepted commands without an event are not remembered": (
        Edit(
            CommandHandler.accept,
            "return group.accept(envelope, aggregate.remember(rows, group.nr, self.window), rows)",
            "first = aggregate.remember(rows, group.nr, self.window)\n"
            "    if not first.events:\n"
            "        del aggregate.outcomes[envelope.id]\n"
            "    return group.accept(envelope, first, rows)",
        ),
    ),
    "an event that a snapshot holds is applied again": (
        Edit(load_aggregate, "row.event.sequence > base_sequence", "row.event.sequence >= base_sequence"),
    ),
    "a snapshot has no remembered ids": (Edit(Aggregate.capture, "dict(self.outcomes)", "{}"),),
    "the cache forgets what is not indexed yet": (
        Edit(Cache.shrink, "if aggregate.nr <= self._derived_nr:", "if True:"),
    ),
    "the tailer believes a hint": (
        Edit(
            Tail.wake,
            "self._wake.set()",
            "self._tails.stand(max(nr - 1, self._tails.read))\n    self._wake.set()",
        ),
    ),
    "the tailer believes a hint of any later commit": (
        Edit(CarriedCommits.take, "carried.previous not in (self._last, self._last_eventful)", "False"),
    ),
    "a hint brings a commit that is not written yet": (Edit(Owner._commit_group, APPEND, HINT + APPEND),),
    "the tailer reads only when it gets a hint": (
        Edit(Tail._publish_all, "asyncio.timeout(self._until_next_look())", "asyncio.timeout(None)"),
    ),
    "the tailer resumes behind the commit of the last event": (
        Edit(_point, "place = last.position.place", "place = (last.position.nr + 1, -1)"),
    ),
    "the tailer resumes where the log is published, whatever its slices have": (
        Edit(_point, "max(place, all_out) if last.reaches(eventful_nr) else place", "all_out"),
    ),
    "the tailer moves on although one slice was not published": (
        Edit(
            SliceTails.publish,
            "for slice in taking.values() if slice.has_records",
            "for slice in list(taking.values())[:-1] or taking.values() if slice.has_records",
        ),
    ),
    "a partition that takes nothing holds its whole log": (Edit(SliceTails._send, "timeout=TAKEN_SECONDS, ", ""),),
    "a partition without a leader holds the tail of its log": (Edit(with_leader, "if slice not in without", ""),),
    "a slice that was left behind is taken along before it has come": (
        Edit(LeftBehind.catch_up, "while self.nr < goal():", "while False:"),
    ),
    "a takeover waits for the leader of each slice": (Edit(CommandSlices._ends, "if slice not in without", ""),),
    "an event is applied again": (Edit(_Batch.apply, "if row is not None and event.at <= row.at:", "if False:"),),
    "a late duplicate takes a table back": (
        Edit(TableFold.fold, "if event.at > newest:", "if True:"),
        Edit(EventSource._next, "if event.at <= self._at:", "if False:"),
    ),
    "a batch counts as applied before it is kept": (
        Edit(
            TableFold.fold,
            "    return FoldResult(changes,",
            "    self.place = place\n    return FoldResult(changes,",
        ),
    ),
    "rows wait as checkpoints do that move alone": (Edit(TableFold.must_be_stored, "folded.touches or ", ""),),
    "an event that waits is counted again": (
        Edit(_Batch._wait, "if waits.events and event.at <= waits.at:", "if False:"),
    ),
    "what waits is kept after the place, or never": (Edit(EventProcessor._save, "if folded.waiting:", "if False:"),),
    "a gap in the events is not looked into": (Edit(EventSource._next, "if not self._follows(event):", "if False:"),),
    "a log that ends early is taken for its end": (
        Edit(EventReader.from_log, "raise Unavailable(", "return\n            raise Unavailable("),
    ),
    "a topic that does not reach back is not completed from the log": (
        Edit(EventSource._next, "if not self._follows(event):", "if self._joined and not self._follows(event):"),
    ),
    "a topic that has lost its end is not completed from the log": (
        Edit(EventSource._rest_of_journal, "head = await self._head(since)", "head = 0, SliceHead()"),
    ),
    "a reader takes the log's head for the slice's": (
        Edit(EventSource._rest_of_journal, "if of_slice.eventful_nr > self._complete:", "if False:"),
    ),
    "a reader takes another slice's head for its own": (
        Edit(
            SliceLog.head,
            "commit.slices.get(self.slice, SliceHead())",
            "min(commit.slices.values(), key=lambda head: head.eventful_nr)",
        ),
    ),
    "events are read from where the first of several tables is": (
        Edit(EventProcessor.batches, "min(places,", "max(places,"),
    ),
    "a table joins the others without what is in between": (
        Edit(PartitionProcessor._join, "await self._come_to(main, table, build)", "pass"),
    ),
    "a store that fails is taken for done": (
        Edit(EventProcessor._save, "        return {table.table: error for table, _ in results}\n", "        pass\n"),
    ),
    "a table that was set aside stays there": (
        Edit(PartitionProcessor._apply, "self._catch_up(self.tables[table.table])", "pass"),
    ),
    "a reader waits for ever on a topic that is another by now": (
        Edit(EventSource._next, "LOOK_SECONDS if self._offset < self.end else _idle_seconds()", "None"),
    ),
    "events are applied after their partition is lost": (
        Edit(
            PartitionProcessor.close,
            "await asyncio.gather(*map(cancel, [*tasks, *self._work]), return_exceptions=True)",
            "pass",
        ),
    ),
    "a table answers before it has all": (
        Edit(EventProcessor.has_all, "return self._caught_up and table.place.at >= self.at", "return True"),
    ),
    "a table answers before it is complete in all partitions": (
        Edit(
            Cutover._complete_everywhere,
            "if sorted(partition for partition, _ in complete) == self._doors.all_partitions:",
            "if complete:",
        ),
    ),
    "the table that answers is removed": (Edit(ProjectionGroup._drop, " - wanted - serving", ""),),
    "the place to go on from is on the changelog before the rows": (
        Edit(records_of, "    rows = prefix_of(table, ROW)\n", f"    rows = prefix_of(table, ROW)\n{PLACED}"),
        Edit(records_of, WAITING + PLACED, WAITING),
    ),
    "a row is in the table before it is on the changelog": (
        Edit(
            LocalRows._keep,
            "    offset = await",
            "    self.store._db_for_partition(partition).content.update(records)\n        offset = await",
        ),
    ),
    "a recovery takes older rows for newer ones": (
        Edit(is_newer, "return head_of(value).at >= head_of(present).at", "return True"),
    ),
    "a shared store takes older rows for newer ones": (
        Edit(
            MemoryRows.save,
            "if key not in table.rows or row.at >= head_of(table.rows[key]).at:",
            "if True:",
        ),
    ),
    "bytes: over a record that cannot be unpacked reading ends": (
        Edit(PartitionRecords._unpack_records, "except Exception as error:", "except ZeroDivisionError as error:"),
    ),
    "bytes: a record whose headers are no text ends its batch's reading": (
        Edit(PartitionRecords._of_batch, "except Exception as error:", "except ZeroDivisionError as error:"),
    ),
    "a command that is nested too deeply is not its own failure": (
        Edit(messages._read_structured, "except RecursionError:", "except ZeroDivisionError:"),
        Edit(CommandHandler.read, "except Exception as error:", "except Failure as error:"),
    ),
    "a time beyond the calendar is not its command's failure": (
        Edit(messages._time, "except (ValueError, OverflowError, OSError):", "except ZeroDivisionError:"),
        Edit(CommandHandler.read, "except Exception as error:", "except Failure as error:"),
    ),
    "a command with two types is decided by the last": (
        Edit(messages.read_envelope, "    if twice:", "    if False:"),
        Edit(messages._take_out_what_is_there_twice, "del attributes[name]", "pass"),
    ),
    "what no control command is ends the partition": (
        Edit(
            quarantine_policy.poison_of,
            "except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:",
            "except ZeroDivisionError as error:",
        ),
        Edit(QuarantinePolicy._control, "except Exception as error:", "except (Failure, Rejected) as error:"),
    ),
    "a stranger's record is taken for an event": (Edit(EventReader.read, "if published is None:", "if False:"),),
    "a stranger's record ends the following of orders": (
        Edit(Control._take, "except Exception as error:", "except ZeroDivisionError as error:"),
    ),
    "a stranger's record ends a recovery": (
        Edit(RocksDBStore._newer, "in ours(records, self.table_name):", "in records:"),
    ),
    "the tailer goes on behind a stranger's record": (
        Edit(_last_records, "slices, is_published)", "slices, lambda slice, record: True)"),
    ),
    "what is raised over a gap ends the reading of a log": (
        Edit(Owner.deliver, "except Exception as error:", "except ZeroDivisionError as error:"),
        Edit(CommandReading._read, "except Exception as error:", "except ZeroDivisionError as error:"),
    ),
    "an owner that fails is not begun anew": (
        Edit(OwnedLog._own, "except Exception as error:", "except Unavailable as error:"),
        Edit(OwnedLog._failed, "return error is not None", "return False"),  # neither at the next look at the layout
    ),
    "an error that no journal declares ends the indexer unseen": (
        Edit(Owner._derive, "self.lose(", "(lambda *why: None)("),
    ),
    "a refused batch is left out, and what is behind it is sent": (
        Edit(KafkaClient.send, "await self._was_refused(topic, batch, count, sent)", "sent += count"),
    ),
    "a producer that has lost count goes on": (Edit(KafkaClient.deliver, "self._producers.spent(producer)", "pass"),),
    "what evolve gets is what it returned, not what is kept": (
        Edit(Projection.after, "if evolved is not row:", "if False:"),
    ),
    "a log begins before the seals of all those before": (
        Edit(Layout.seal, "None not in ends:", "ends.count(None) < len(ends):"),
        Edit(_seal, " or not seal.is_seal or seal.nr > span.begins_after:", ":"),
    ),
    "a log is sealed before all is derived": (
        Edit(Owner.seal, "finish(SEAL_SECONDS)", "finish(0)"),
        Edit(Owner.seal, "if self.derivation.has_pending:", "if False:"),
        Edit(Owner.seal, "if self.derivation.derived_nr < head.nr:", "if False:"),
    ),
    "a log begins without the offsets of the seals": (Edit(take_over, "= _inherited(", "= {} and _inherited("),),
    "a log begins with the offsets of another slice": (
        Edit(
            _inherited,
            "{slice: head for slice, head in seal.slices.items() if slice in span.slices}",
            "{slice: seal.slices[min(seal.slices)] for slice in seal.slices if slice in span.slices}",
        ),
    ),
    "a layout is written whichever is there": (
        Edit(
            MemoryJournal.change_layout,
            "if layout.version == (present.version + 1 if present is not None else 1):",
            "if True:",
        ),
    ),
    "a merged log begins behind the lower seal": (
        Edit(Layout.seal, "after=max(", "after=min("),
        Edit(_seal, " or seal.nr > span.begins_after:", ":"),
    ),
    "a log has the slices twice of one that was named twice": (
        Edit(Layout.merge, "sorted({*numbers})", "sorted(numbers)"),
    ),
    "a log is published before those that it goes on from": (Edit(Tail.run, "await self._parents_are_out()", "pass"),),
    "a tail ends when its log is sealed, published or not": (
        Edit(
            Tail._publish_all,
            "while self.published != self._sealed:",
            "while self._publication.layout.layout.log(self._span.number).sealed is None:",
        ),
    ),
    "a log that is sealed though its end was taken back has no heir": (
        Edit(Layout.seal, "_with_heirs(opened, self.slices, self._first_free)", "opened"),
    ),
    "a log that is sealed is taken over": (Edit(take_over, "if old is not None and old.is_seal:", "if False:"),),
    "a merged log waits for a seal that was noted before": (
        Edit(
            Layout.seal,
            "seals = {log.number: log.sealed for log in logs}",
            "seals = {log.number: log.sealed if log.number == number else None for log in logs}",
        ),
    ),
    "a seal that is found is noted once, or never": (
        Edit(
            OwnedLog._is_done,
            "await self._note_seal(sealed.nr)",
            "await __import__('asyncio').gather(self._note_seal(sealed.nr), return_exceptions=True)",
        ),
    ),
    "a former tail's late record is taken for the newest event of the logs before": (
        Edit(find_resume_point, "not found.reaches(before):", "False:"),
    ),
    "what stands on the topic behind a sealed log is held against it": (
        Edit(find_resume_point, "not (is_sealed and found.position.nr > ends_at)", "True"),
        Edit(Tail.run, "if await self._is_out(self._span):", "if False:"),
    ),
    "the rule of a type is not asked": (
        Edit(CommandHandler._decide, "self._check_principal(envelope, command, aggregate.state)", "pass"),
    ),
    "a rule is asked of the state before the group": (
        Edit(
            CommandHandler._decide,
            "self._check_principal(envelope, command, aggregate.state)",
            "self._check_principal(envelope, command, self.decider.initial)",
        ),
    ),
    "a principal is believed without its signature": (
        Edit(signature.verified, "if not hmac.compare_digest(", "if False and not hmac.compare_digest("),
    ),
    "an event does not say who has sent its command": (Edit(row_of, "envelope.principal.text", '""'),),
    "rows stay in the index where they were": (
        Edit(IndexWriter.change, "self._counted[count_prefix(table, name) + before.encode()] -= 1", "pass"),
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
    # The function itself, and not the helper that a decorator has put around it.
    functions = {edit: inspect.unwrap(edit.function) for edit in edits}
    sources = {function: textwrap.dedent(inspect.getsource(function)) for function in functions.values()}
    for edit, function in functions.items():
        source = sources[function]
        if source.count(edit.old) != 1:
            name = function.__qualname__
            raise ValueError(f"{name} has {edit.old!r} {source.count(edit.old)} times, not once: mend the breakage")
        sources[function] = source.replace(edit.old, edit.new)
    return {function: _compiled(function, source) for function, source in sources.items()}


def _compiled(function: Any, source: str) -> CodeType:
    namespace: dict[str, Any] = {}
    code = compile("from __future__ import annotations\n" + source, "<breakage>", "exec")
    exec(code, function.__globals__, namespace)
    return inspect.unwrap(namespace[function.__name__]).__code__  # type: ignore[no-any-return]
