"""Asks timers to fire when their time has come: with the owner of their log, from that log alone.

Each owner of a log of timers has a watch. It follows the commits of the log: they say which timers are pending.
To one that is due it sends `FireTimer`, as a command like any other, which the owner decides. Of a takeover it needs to
know nothing but the log: it asks again who may have been asked, and only the first `FireTimer` fires a timer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from aggregates.timer import FireTimer, TimerFired, TimerScheduled
from streams.aggregate_type import AggregateType
from streams.concurrency.fairness import yield_if_due
from streams.concurrency.retry import until_it_answers
from streams.concurrency.supervisor import Supervisor
from streams.concurrency.tasks import all_of
from streams.deciding.messages import command_headers
from streams.journal.event_decoding import decode_event, place_of
from streams.journal.layout import LogSpan
from streams.journal.port import Commit, Journal, Snapshot, Unavailable, log_name
from streams.journal.position import position_text, stream_name
from streams.journal.snapshots import MOST_BYTES
from streams.kafka.client import KafkaClient, ProducerRecord
from streams.moments import in_utc
from streams.observability import catalog
from streams.observability.event_traces import Sending, SendTraces, SentBatch
from streams.observability.instruments import Instruments
from streams.observability.traces import of_command, sampled
from streams.ownership.follower import LogFollower
from streams.principals.signature import SigningKeys
from streams.processes.pending_timers import FORM, PAGES, Page, PendingTimer, PendingTimers
from streams.processes.process_signature import ProcessSignature, cause_of
from streams.slices import slice_of

log = logging.getLogger(__name__)

FIRE = FireTimer.__name__
PAGE_TYPE = "timer#pending"
"""Under this type the journal keeps the pages, as snapshots of `<stream>/<page>`. No aggregate type has a `#`."""
ROWS_AROUND = 8_000
"""Rows of the log in which all pages are saved, one after another: a new owner reads as many at most."""
COMMITS_AT_ONCE = 100
RECENT_COMMITS = 64
"""Commits kept in memory for a watch that is busy; what it misses it reads from the journal."""
LONGEST_SLEEP = 1.0
"""Seconds: then it looks at the clock again, which may have been set."""
LATE_SECONDS = 1.0
"""Between two looks how many timers are late."""
MOST_ASKED = 1_000
"""Timers of one log that were asked to fire and are still pending. With so many no other one is asked."""
FIRST_REPEAT, LONGEST_REPEAT = 60, 3_600
"""Seconds after which a timer that is still pending is asked again; each pause is twice as long as the one before."""


class TimerWatch(LogFollower):
    """Watches the timers of one log for one owner."""

    def __init__(
        self,
        context: AggregateType,
        span: LogSpan,
        journal: Journal,
        broker: KafkaClient,
        supervisor: Supervisor,
        instruments: Instruments | None = None,
        keys: SigningKeys | None = None,
        traces: SendTraces | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._type = context.decider.type
        self._log = log_name(self._type, span.number)
        self._span = span
        self._slices = context.settings.partitions
        self._codec = context.events
        self._topic = context.commands_topic
        self._source = f"/{context.settings.namespace}{context.name}"
        self._journal = journal
        self._broker = broker
        self._supervisor = supervisor
        self._signature = ProcessSignature(self._type, keys)
        self._traces = traces
        self._now = now
        self._head = self._taken = 0
        """The newest commit that is durable, and the one with which the owner has taken over."""
        self._recent: deque[Commit] = deque(maxlen=RECENT_COMMITS)
        self._too_large: set[Page] = set()
        """Pages that were too large to save, each said once."""
        instruments = instruments or Instruments()
        self._late = instruments.gauge(catalog.TIMERS_LATE)
        self._late_seconds = instruments.gauge(catalog.TIMERS_LATE_SECONDS)
        self._delay = instruments.histogram(catalog.TIMER_DELAY).of()
        self._said_late = float("-inf")
        self._changed = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    # -- called by the owner ---------------------------------------------------------------------------

    def taken(self, head: Commit) -> None:
        self._head = self._taken = head.nr
        self._running = self._supervisor.keep(f"timers of {self._log}", self._run)

    def committed(self, commit: Commit) -> None:
        self._head = commit.nr
        self._recent.append(commit)
        self._changed.set()

    def lost(self) -> None:
        if self._running is not None:
            self._running.cancel()

    # -- the task --------------------------------------------------------------------------------------

    def _waits(self, error: Exception | None) -> None:
        """The journal is waited for, because of an error, or not any more."""
        name = f"timers of {self._log} wait"  # not the task's: it runs as it should
        if error is None:
            self._supervisor.well(name)
        else:
            self._supervisor.trouble(name, str(error))

    async def _run(self) -> None:
        """Watch until it is cancelled. Begins anew, from the pages, when it is called again."""
        with contextlib.ExitStack() as at_end:
            at_end.callback(self._waits, None)
            for late in (self._late, self._late_seconds):
                at_end.callback(late.remove, self._log)
            timers = at_end.enter_context(contextlib.closing(PendingTimers(self._slices)))
            saved = await self._read_pages(timers)
            await self._follow_former_logs(saved, timers)
            nr, rows = max(min(saved.values()), self._span.begins_after), 0
            rows_a_page = max(1, ROWS_AROUND // len(saved))
            while True:
                self._changed.clear()
                while nr < self._head:
                    for commit in await self._commits(nr):
                        await self._follow(commit, timers)
                        nr, rows = commit.nr, rows + max(1, len(commit.events))
                        for _ in range(min(rows // rows_a_page, len(saved))):
                            await self._save_page(saved, nr, timers)
                        rows %= rows_a_page
                pause = await self._ask(timers)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._changed.wait()

    async def _commits(self, nr: int) -> Sequence[Commit]:
        """The commits that follow `nr`, at least one."""
        recent = [commit for commit in self._recent if commit.nr > nr]
        if recent and recent[0].nr == nr + 1:
            return recent
        return await self._read(self._log, nr, self._head)

    async def _read(self, log: str, nr: int, last: int) -> Sequence[Commit]:
        """The commits of a log that follow `nr`, at least one: it has them up to `last`."""

        async def read() -> Sequence[Commit]:
            if commits := await self._journal.commits(log, nr, COMMITS_AT_ONCE):
                return commits
            raise Unavailable(f"commit {nr + 1} of {last} cannot be read yet")

        return await until_it_answers(read, f"{log}: reading commits for its timers", Unavailable, self._waits)

    async def _follow_former_logs(self, saved: Mapping[Page, int], timers: PendingTimers) -> None:
        """Read what the pages lack of the logs that had the slices before."""
        if not self._span.parents:
            return
        layout = await until_it_answers(
            lambda: self._journal.layout(self._type), f"{self._log}: reading the layout", Unavailable, self._waits
        )
        former = [log for log in layout.logs if log.sealed is not None] if layout is not None else []
        for span in sorted(former, key=lambda log: log.begins_after):
            its = [nr for (slice, _), nr in saved.items() if slice in span.slices]
            last = span.sealed or 0
            nr = max(min(its, default=last), span.begins_after)
            while nr < last:
                for commit in await self._read(log_name(self._type, span.number), nr, last):
                    await self._follow(commit, timers)
                    nr = commit.nr

    async def _follow(self, commit: Commit, timers: PendingTimers) -> None:
        """Take in the events of the slices that are watched."""
        for index, row in enumerate(commit.events):
            await yield_if_due()
            if not row.is_event or slice_of(row.aggregate_id, self._slices) not in self._span.slices:
                continue
            for event in await decode_event(self._codec, self._journal, row.data, place_of(row)):
                if isinstance(event, TimerScheduled):
                    due = in_utc(event.due)
                    timer = PendingTimer(
                        row.aggregate_id,
                        due,
                        commit.nr,
                        index,
                        row.correlation_id,
                        row.principal,
                        row.sequence,
                        row.traceparent,
                        row.command_id if sampled(row.traceparent) else "",
                        commit.recorded_at.timestamp(),
                    )
                    timers.schedule([timer])
                else:
                    timers.end(row.aggregate_id)
                if isinstance(event, TimerFired) and commit.nr > self._taken:
                    self._delay.observe((commit.recorded_at - event.due.astimezone(UTC)).total_seconds())

    async def _ask(self, timers: PendingTimers) -> float:
        """Ask what is due to fire. Returns how long, in seconds, there is nothing more to ask."""
        now = self._now()
        room = max(MOST_ASKED - timers.asked, 0)
        due = timers.due(in_utc(now), room + 1)
        # However many others wait: one that was asked, and lost on the way, keeps a place of theirs.
        to_ask = timers.due_again(in_utc(now)) + [(timer, 0) for timer in due[:room]]
        if to_ask:
            await self._send([timer for timer, _ in to_ask])
        for timer, pause in to_ask:
            pause = min(2 * pause, LONGEST_REPEAT) or FIRST_REPEAT
            timers.ask_again(timer, in_utc(now + timedelta(seconds=pause)), pause)
        self._say_late(timers, now)
        next_time = timers.next_time
        if next_time is None or len(due) > room:  # the others follow as these fire
            return LONGEST_SLEEP
        return min(LONGEST_SLEEP, (datetime.fromisoformat(next_time) - self._now()).total_seconds())

    def _say_late(self, timers: PendingTimers, now: datetime) -> None:
        """Keep the gauges up to date, once a second: it asks after each commit."""
        if (moment := time.monotonic()) - self._said_late < LATE_SECONDS:
            return
        self._said_late = moment
        count, since = timers.late(in_utc(now))
        self._late.set(count, self._log)
        self._late_seconds.set((now - datetime.fromisoformat(since)).total_seconds() if since else 0.0, self._log)

    async def _send(self, timers: Sequence[PendingTimer]) -> None:
        """Send `FireTimer` to each of these; durable on return."""
        records: dict[int, list[ProducerRecord]] = defaultdict(list)
        traced = self._traces.batch(self._topic) if self._traces is not None else None
        for timer in timers:
            slice = slice_of(timer.id, self._slices)
            records[slice].append(self._fire_timer(timer, stream_name(self._type, slice), traced))
        await asyncio.gather(*(self._broker.publish(self._topic, *batch) for batch in records.items()))
        if traced is not None:
            traced.sent()

    def _fire_timer(self, timer: PendingTimer, stream: str, traced: SentBatch | None) -> ProducerRecord:
        key, data, headers = fire_timer(timer, stream, self._source, self._sending(timer, traced))
        said = {name: value.decode() for name, value in headers}
        signature = self._signature.headers(
            self._type,
            timer.id,
            said["ce_id"],
            FIRE,
            data or b"",
            cause_of(timer.principal),
            expected_sequence=said.get("ce_expectedsequence", ""),
        )
        return key, data, headers + signature

    def _sending(self, timer: PendingTimer, traced: SentBatch | None) -> Sending | None:
        """The span of the sending, below that of the command that has scheduled the timer; None for one of a trace that
        nobody keeps."""
        start = sampled(timer.traceparent) if traced is not None else None
        if traced is None or start is None:
            return None
        cause = of_command(start, self._type, timer.id, timer.command_id)
        return traced.begin(timer.traceparent, cause, timer.scheduled, FIRE)

    # -- pages -----------------------------------------------------------------------------------------

    async def _read_pages(self, timers: PendingTimers) -> dict[Page, int]:
        """Take in the pages that the journal has. Returns of each up to which commit it is complete."""
        wanted = [(slice, number) for slice in self._span.slices for number in range(PAGES)]
        pages = await until_it_answers(
            lambda: all_of(self._journal.snapshot(PAGE_TYPE, self._page_id(page)) for page in wanted),
            f"{self._log}: reading its pending timers",
            Unavailable,
            self._waits,
        )
        saved = {}
        for place, page in zip(wanted, pages, strict=True):
            # A page from beyond the head is of a log that somebody has put back to an older one.
            is_usable = page is not None and page.version == FORM and page.nr <= self._head
            saved[place] = page.nr if page is not None and is_usable else 0
            if page is not None and is_usable:
                timers.add_page(page.state)
                await yield_if_due()
        return saved

    async def _save_page(self, saved: dict[Page, int], nr: int, timers: PendingTimers) -> None:
        """Save the oldest page as it is after commit `nr`."""
        place = min(saved, key=lambda place: saved[place])
        page = Snapshot(self._page_id(place), 0, nr, FORM, timers.page(place))
        if len(page.state) > MOST_BYTES:
            if place not in self._too_large:
                text = "%s: %d bytes of pending timers are too many to save: the next owner reads more of the log"
                log.warning(text, page.aggregate_id, len(page.state))
            self._too_large.add(place)
            return
        self._too_large.discard(place)
        await until_it_answers(
            lambda: self._journal.save_snapshots(PAGE_TYPE, [page]),
            f"{self._log}: saving its pending timers",
            Unavailable,
            self._waits,
        )
        saved[place] = nr

    def _page_id(self, page: Page) -> str:
        slice, number = page
        return f"{stream_name(self._type, slice)}/{number}"


def fire_timer(timer: PendingTimer, stream: str, source: str, sending: Sending | None = None) -> ProducerRecord:
    """The command to a timer as a record. Its id is made of the event that has scheduled it: it fires once for each. It
    goes on in the trace of whoever scheduled it, unless the span of its `sending` says another. It expects the timer
    where that event has left it: it is on behalf of who has scheduled that one, and must not fire what somebody else
    has put in its place."""
    id = f"fire:{position_text(stream, timer.nr, timer.index)}"
    expected = str(timer.sequence) if timer.sequence else ""
    headers = command_headers(
        id,
        FIRE,
        source,
        correlation_id=timer.correlation_id,
        traceparent=timer.traceparent if sending is None else sending.traceparent,
        expected_sequence=expected,
    )
    if sending is not None:
        headers += sending.headers
    return timer.id.encode(), msgspec.json.encode({"due": timer.due}), headers
