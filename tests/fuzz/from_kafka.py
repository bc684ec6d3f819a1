"""Readers of what stands on Kafka: commands, events, and the topics of the system's own."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from types import SimpleNamespace
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from aggregates.shop.checkout import checkout
from projections.applying import event_reader
from projections.applying.control import Control
from projections.gateway.replies import read_record
from projections.publishing.publication import Publication
from projections.publishing.resume_point import find_resume_point
from projections.publishing.tail import Tail
from projections.publishing.tail_assignment import Tailers
from projections.stores import changelog
from projections.stores.local import partition_view
from schemas.codec import Undecodable
from schemas.wire_format import from_wire
from streams.deciding.messages import Failure, Message, read_envelope
from streams.journal.commit_codec import UnreadableCommit, decode_payload, encode_payload
from streams.journal.commit_hint import signed
from streams.journal.event_decoding import NotReadableYet
from streams.journal.layout import first_layout
from streams.journal.memory import MemoryJournal
from streams.journal.port import RecordedEvent, SliceHead, Unavailable
from streams.kafka.topic_metadata import TopicMetadata
from streams.processes.event_meaning import EventMeaning
from tests.fuzz.hostile import Record, field_names, json_bytes, keyed, moments, mutated, raw, records, scalars, values
from tests.fuzz.reader import Reader
from tests.fuzz.worlds import DECIDERS, Decided, commands_of, events_of, samples, schemas_of
from tests.layouts import Known, logs_of
from tests.simulation.disk import Batch, SimulatedStore

# -- commands ------------------------------------------------------------------------------------------------------

COMMAND_HEADERS = (
    "ce_id", "ce_type", "ce_source", "ce_replyto", "ce_correlationid", "ce_causationid", "ce_traceparent",
    "ce_deadline", "ce_retryof", "ce_expectedsequence", "content-type", "dl_type", "dl_id", "dl_position", "dl_topic",
    "dl_quarantine", "dl_dropped", "dl_time", "ce_replykey",
)  # fmt: skip
CONTENT_TYPES = st.sampled_from([b"application/json", b"avro/binary", b"application/json; charset=x", b"text/plain"])
STRUCTURED = (
    "type", "data", "data_base64", "id", "replyto", "replykey", "correlationid", "traceparent", "deadline",
    "specversion",
)  # fmt: skip


def _commands(type: str) -> SearchStrategy[Record]:
    """Commands of a type as a stranger sends them: right in form, or in nothing."""
    names = [*DECIDERS[type].commands, "#release", "#other", "NoSuch"]
    classes = DECIDERS[type].commands.values()
    data = keyed(field_names(*classes)) | json_bytes
    written = [b"\xc3\x01" + bytes.fromhex(it.fingerprint) for it in commands_of(type)._own]
    avro = mutated([data + b"\0" * 30 for data in written] or [b"\xc3\x01"])
    structured = keyed(STRUCTURED, {"type": st.sampled_from(names)}) | st.builds(
        lambda name, data: b'{"type":"%s","data":%s}' % (name.encode(), data), st.sampled_from(names), data
    )
    known = {
        "ce_type": st.sampled_from(names).map(str.encode),
        "ce_id": st.sampled_from([b"c1", b"c2", b"c3"]),
        "ce_replyto": st.sampled_from([b"answers", b"", b"up/../x"]),
    }
    released = st.sampled_from([b'{"command_id":"c1"}', b"{}", b'{"command_id":1}'])
    return records(
        COMMAND_HEADERS,
        st.sampled_from([b"A-1", b"A-1", b"A-2"]),
        data | avro | structured | released,
        known | {"content-type": CONTENT_TYPES, "ce_deadline": moments.map(str.encode)},
    )


_decisions: SearchStrategy[Any] = st.sampled_from(sorted(DECIDERS)).flatmap(
    lambda type: st.tuples(st.just(type), st.booleans(), st.lists(_commands(type), min_size=1, max_size=5))
)


def _decide(given: tuple[str, bool, list[Record]]) -> None:
    type, quarantine, its = given
    asyncio.run(Decided(type, quarantine).decide(its))


def _envelope(it: Record) -> None:
    message = Message(0, it.offset, it.key, it.value, it.headers, it.timestamp / 1000)  # type: ignore[arg-type]
    read_envelope(message, "default")


# -- events --------------------------------------------------------------------------------------------------------

EVENT_HEADERS = (
    "ce_specversion", "ce_id", "ce_type", "ce_source", "ce_subject", "ce_time", "ce_sequence", "ce_position",
    "ce_correlationid", "ce_causationid", "ce_dataschema", "content-type", "ce_previous", "ce_commitend",
    "ce_traceparent",
)  # fmt: skip
POSITIONS = st.sampled_from(
    [b"order-0:1:0", b"order-0:5:2", b"order-0:x:0", b":::", b"order-0:" + b"9" * 5_000 + b":0"]
)


def _events(type: str) -> SearchStrategy[Record]:
    known = {
        "ce_position": POSITIONS,
        "ce_id": POSITIONS,
        "ce_type": st.sampled_from([name.encode() for name in DECIDERS[type].events]),
        "ce_sequence": st.sampled_from([b"1", b"7", b"-1", b"x"]),
        "ce_time": moments.map(str.encode),
        "ce_previous": POSITIONS,
    }
    return records(EVENT_HEADERS, st.just(b"A-1"), mutated(samples(type)) | json_bytes, known)


_written = ["order", "product", "user", "checkout", "email"]
_published: SearchStrategy[Any] = st.sampled_from(_written).flatmap(
    lambda type: st.tuples(st.just(type), st.lists(_events(type), min_size=1, max_size=3))
)


def _read_events(given: tuple[str, list[Record]]) -> None:
    type, its = given
    journal = MemoryJournal()
    reader = event_reader.EventReader(events_of(type), journal, logs_of(journal, type), "/source")
    asyncio.run(reader.read(its, f"{type}-0"))  # type: ignore[arg-type]


_listeners: dict[str, EventMeaning] = {}


def _hear(given: tuple[str, list[Record]]) -> None:
    type, its = given
    source = type if type in checkout.hears else next(iter(checkout.hears))
    listener = _listeners.setdefault(source, EventMeaning(checkout, source, schemas_of(source)))
    for it in its:
        listener.hear(it, 8, "/source")


class _LastRecord:
    """A broker whose events topic ends with this record."""

    def __init__(self, record: Record) -> None:
        self._record = record

    async def describe(self, topics: Sequence[str]) -> dict[str, TopicMetadata]:
        return {topic: TopicMetadata("id", 1) for topic in topics}

    async def last_records(
        self, topic: str, partitions: Iterable[int], wanted: Callable[[int, Any], bool]
    ) -> dict[int, Record]:
        return {one: self._record for one in partitions if wanted(one, self._record)}


LAYOUT = Known(first_layout(1, 1, "key"))


def _publication(type: str, broker: Any) -> Publication:
    return Publication(
        type=type, topic="events", source="/source", journal=MemoryJournal(), layout=LAYOUT, broker=broker,
        codec=events_of(type),
    )  # fmt: skip


def _last_event(given: tuple[str, list[Record]]) -> None:
    type, its = given
    broker: Any = _LastRecord(its[0])
    asyncio.run(find_resume_point(_publication(type, broker), LAYOUT.layout.log(0)))


def _hint(data: bytes) -> None:
    tailers = Tailers(_publication("order", None))
    tailers.tails[0] = Tail(tailers._publication, LAYOUT.layout.log(0))
    for value in (data, signed(data, ""), signed(data, LAYOUT.layout.hint_key)):
        asyncio.run(tailers.receive(0, [SimpleNamespace(offset=0, value=value)]))  # type: ignore[list-item]


# -- the system's own topics ----------------------------------------------------------------------------------------

KINDS = st.sampled_from([b"serving/orders", b"generation/orders-1", b"paused/orders", b"skipped/orders/x", b"dropped/x",
                         b"serving", b"paused/", b"/", b"other/orders"])  # fmt: skip
_facts = records((), KINDS, keyed(["table", "generation", "reason", "dropped"]) | json_bytes)


def _fact(it: Record) -> None:
    async def take() -> None:
        control = Control("control", None, None)  # type: ignore[arg-type]
        await control._take([it])
        for name in ("orders", "x"):
            control.serving(name), control.wanted(name, 1), control.paused(name), control.skips(name)
        control.dropped()

    asyncio.run(take())


_reply_fields = keyed(
    ["command_id", "status", "aggregate", "events", "position", "error", "command", "place", "fingerprint"],
    {
        "status": st.sampled_from(["pending", "accepted", "failed", "x"]),
        "command_id": st.sampled_from(["c1", ""]) | scalars,
        "aggregate": st.just({"type": "order", "id": "A-1", "sequence": 1}) | values,
    },
)


def _reply(it: Record) -> None:
    if (read := read_record(it)) is not None:
        with sqlite3.connect(":memory:") as file:
            file.execute("SELECT ?, ?, ?, ?, ?, ?, ?, ?", read[0])


_row_keys = st.sampled_from(
    [changelog.key_of("orders-1", kind, "A-1") for kind in (changelog.ROW, changelog.PLACE, changelog.QUARANTINED)]
    + [b"", b"orders-1", b"orders-1\0", b"\xff\0" + changelog.ROW]
)
_row_values = (
    keyed(
        ["position", "sequence", "gone", "nr", "index", "complete", "offset", "error", "events", "last"],
        {
            "position": st.sampled_from(["order-0:1:0", "x", "order-0:1"]) | scalars,
            "last": st.sampled_from(["order-0:1:0", "x"]) | scalars,
            "events": st.integers(0, 3),
            "nr": st.integers(0, 3),
            "error": st.just("an error"),
        },
    )
    | json_bytes
)


def _recovered(its: list[Record]) -> None:
    store = SimulatedStore({})
    store.table_name = "orders"
    batch = [SimpleNamespace(message=SimpleNamespace(partition=0, offset=n, key=it.key, value=it.value))
             for n, it in enumerate(its)]  # fmt: skip
    real, partition_view.WriteBatch = partition_view.WriteBatch, Batch
    try:
        store.apply_changelog_batch(batch, bytes, bytes)
    finally:
        partition_view.WriteBatch = real
    store.places(0)
    store.quarantined(0, "orders-1")
    store.get_many(0, "orders-1", ["A-1"])


# -- all of them ---------------------------------------------------------------------------------------------------

_stored = st.sampled_from(_written).flatmap(lambda type: st.tuples(st.just(type), mutated(samples(type)) | raw))
_rows_of_commits = [
    encode_payload(
        {1: SliceHead(7, 3), 5: SliceHead()},
        [RecordedEvent("A-1", 1, "LineAdded", b"data" * 20, "c1", "x"), RecordedEvent("A-1", 1, "", b"1", "c2")],
    ),
    encode_payload({}, []),
]

READERS = [
    Reader("a partition's commands", _decisions, _decide),
    Reader("a command", _decisions.flatmap(lambda it: st.sampled_from(it[2])), _envelope, (Failure,), watched=True),
    Reader("an event", _published, _read_events, (Undecodable, NotReadableYet, Unavailable)),
    Reader("the last event of a topic", _published, _last_event, (Unavailable,)),
    Reader("what is heard", _published, _hear, (NotReadableYet,)),
    Reader("a hint", raw, _hint),
    Reader("a fact of control", _facts, _fact, watched=True),
    Reader("a reply", records((), st.just(b"c1"), _reply_fields | json_bytes), _reply, watched=True),
    Reader("a changelog", st.lists(records((), _row_keys, _row_values), min_size=1, max_size=6), _recovered),
    Reader(
        "stored data",
        _stored,
        lambda it: (events_of(it[0]).decode(it[1]), events_of(it[0]).decode_to_builtins(it[1])),
        (Undecodable,),
        watched=True,
    ),
    Reader(
        "stored data for people", _stored, lambda it: events_of(it[0]).decode_as_written(it[1]), (Undecodable,), True
    ),
    Reader("data in wire format", raw | mutated([b"\0\0\0\0\1abc"]), lambda it: from_wire(it, {}), (Undecodable,)),
    Reader("a commit", mutated(_rows_of_commits), decode_payload, (UnreadableCommit,), watched=True),
]
