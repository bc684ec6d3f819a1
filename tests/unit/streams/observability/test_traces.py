"""Which spans are made of commands and events, and how they find each other: nothing but what the journal and the
headers of records hold."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

import pytest

from streams.deciding.messages import Message, command_headers, read_envelope
from streams.journal.port import RecordedEvent
from streams.moments import in_utc
from streams.observability.event_traces import AppliedEvent, PublishTraces, SendTraces, TableTraces
from streams.observability.owner_traces import OF_COMMIT, OwnerTraces, Stages
from streams.observability.traces import HEADER, SpanRef, of_command, sampled
from streams.observability.tracing import JOIN_SECONDS, Span
from tests.kept_spans import KeptSpans
from tests.unit.streams.observability.test_owner_metrics import LINE, OPEN, World

TRACE, OTHER_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736", "1" * 32
START, HOP = SpanRef(TRACE, "00f067aa0ba902b7"), SpanRef(TRACE, "1111111111111111")
OTHER = SpanRef(OTHER_TRACE, "2222222222222222")
UNSAMPLED = f"00-{TRACE}-{START.span_id}-00"
OLD = timedelta(seconds=JOIN_SECONDS + 1)


class Nobody:
    """A tracer whom nobody is to ask anything."""

    def begin(self, traceparent: str, name: str) -> SpanRef | None:
        raise AssertionError(f"{name} begins")

    def put(self, count: int, spans: Callable[[], Iterable[Span]]) -> None:
        raise AssertionError(f"{count} spans")


def command(traceparent: str = "", hop: str = "") -> Message:
    headers = command_headers("c1", "OpenOrder", "/tests", traceparent=traceparent)
    return Message(0, 1, b"A", b"{}", [*headers, *([(HEADER, hop.encode())] if hop else [])], time.time())


async def decided(world: World, traces: OwnerTraces, *messages: Message) -> None:
    """Have a group decided and told, as if its write had taken 4 ms and its replies 1."""
    group = await world.handler.decide_group(messages, world.head)
    world.handler.settle(0)
    now = time.monotonic()
    traces.committed(group, Stages(now, now, now + 0.004, now + 0.005))


def event(traceparent: str = START.traceparent) -> RecordedEvent:
    return RecordedEvent("A", 1, "OrderOpened", b"", "c1", "c1", traceparent, "")


# -- what comes along -------------------------------------------------------------------------------------------------


def test_a_message_names_its_start_and_its_hop() -> None:
    """The one stays as it is on all hops. Whoever sends the plain header alone begins there, and what is no header of
    a trace hurts nobody."""
    found = read_envelope(command(START.traceparent, HOP.traceparent), "")
    assert (START.traceparent, HOP.traceparent) == (found.traceparent, found.hop)
    found = read_envelope(command(hop=HOP.traceparent), "")
    assert (HOP.traceparent, HOP.traceparent) == (found.traceparent, found.hop)
    found = read_envelope(command(START.traceparent), "")
    assert (START.traceparent, "") == (found.traceparent, found.hop)
    for bytes_of_others in (b"\xff\xfe", b"x" * 20_000):
        message = command()
        message.headers = [*message.headers, (HEADER, bytes_of_others)]
        assert sampled(read_envelope(message, "").traceparent) is None


def test_a_span_that_is_made_again_is_the_same() -> None:
    """Of a command all that the journal has; another command, or another trace, is another span."""
    ref = of_command(START, "order", "A", "c1")
    assert ref == of_command(HOP, "order", "A", "c1")
    others = [of_command(START, *of) for of in (("product", "A", "c1"), ("order", "B", "c1"), ("order", "A", "c2"))]
    assert 4 == len({ref, *others})
    assert of_command(OTHER, "order", "A", "c1").span_id != ref.span_id
    assert START.child() != START.child()


# -- commands ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trace", ["", UNSAMPLED, "nothing of the kind 1"])
async def test_a_trace_that_nobody_keeps_costs_nothing(trace: str) -> None:
    """No span is made, and nobody is asked; of what only looks like a trace that is kept there are none either."""
    world, kept = World(), KeptSpans()
    tracer = kept if trace.endswith("1") else Nobody()
    await decided(world, OwnerTraces(tracer, "order", "order-commands"), world.message("OpenOrder", OPEN, trace=trace))
    assert [] == kept.spans


async def test_commands_share_a_commit_whose_stages_are_told_apart() -> None:
    """Each of a kept trace has its span, with what it waited and what the stages took; the commit stands in the trace
    of the first, is linked to all, and they to it. Others of the group have none."""
    world, kept = World(), KeptSpans()
    traces = OwnerTraces(kept, "order", "order-commands")
    await decided(
        world,
        traces,
        world.message("OpenOrder", OPEN, id="open", trace=START.traceparent, age=3.0),
        world.message("AddLine", LINE, trace=UNSAMPLED),
        world.message("AddLine", LINE, id="line", trace=OTHER.traceparent),
        world.message("AddLine", LINE, key="B", trace=START.traceparent),
    )
    opened, added, rejected = kept.named("process order-commands")
    [commit] = kept.named("commit order")
    assert 3 + OF_COMMIT == kept.counted == len(kept.spans)
    assert (of_command(START, "order", "A", "open"), START.span_id) == (opened.ref, opened.parent)
    assert (of_command(OTHER, "order", "A", "line"), OTHER.span_id) == (added.ref, added.parent)
    assert (opened.ref.trace_id, opened.ref.span_id) == (commit.ref.trace_id, commit.parent)
    assert [opened.ref, added.ref, rejected.ref] == commit.links
    assert [(), (commit.ref,), (commit.ref,)] == [span.links for span in (opened, added, rejected)]
    assert 2.999 <= opened.attributes["sourced.queue_seconds"] < 4.0
    assert {"accepted", "rejected"} == {span.attributes["sourced.outcome"] for span in (opened, added, rejected)}
    assert pytest.approx(0.004, abs=1e-5) == opened.shared["sourced.write_seconds"]
    assert pytest.approx(0.001, abs=1e-5) == opened.shared["sourced.reply_seconds"]
    stages = [span for span in kept.spans if span.parent == commit.ref.span_id]
    assert ["load order", "decide order", "write order", "reply order"] == [span.name for span in stages]
    assert commit.began == stages[0].began <= stages[0].ended == stages[1].began <= stages[2].began
    assert pytest.approx(0.004, abs=1e-5) == stages[2].ended - stages[2].began
    assert stages[3].ended == commit.ended == opened.ended
    assert (4, 3) == (commit.attributes["sourced.commands"], commit.attributes["sourced.events"])


async def test_a_command_is_below_the_hop_that_brought_it() -> None:
    """Where that is of the same trace; one of another trace is linked."""
    world, kept = World(), KeptSpans()
    traces = OwnerTraces(kept, "order", "order-commands")
    for number, hop in enumerate((HOP, OTHER)):
        message = world.message("OpenOrder", OPEN, key=f"{number}", trace=START.traceparent)
        message.headers = [*message.headers, (HEADER, hop.traceparent.encode())]
        await decided(world, traces, message)
    near, far = kept.named("process order-commands")
    assert (HOP.span_id, ()) == (near.parent, near.links)
    assert (START.span_id, (OTHER,)) == (far.parent, far.links)


async def test_a_command_that_is_repeated_is_another_span() -> None:
    """What goes on from the events of the first one is not below it."""
    world, kept = World(), KeptSpans()
    traces = OwnerTraces(kept, "order", "order-commands")
    for _ in range(2):
        await decided(world, traces, world.message("OpenOrder", OPEN, id="open", trace=START.traceparent))
    first, again = kept.named("process order-commands")
    assert ["accepted", "repeated"] == [span.attributes["sourced.outcome"] for span in (first, again)]
    assert of_command(START, "order", "A", "open") == first.ref != again.ref


# -- events -----------------------------------------------------------------------------------------------------------


def test_an_event_is_published_below_its_command() -> None:
    """Its record names the span of that; an old one has none, nor one of a trace that nobody keeps."""
    kept, now = KeptSpans(), datetime.now(UTC)
    traces = PublishTraces(kept, "order", "order-events")
    hop = traces.hop(event(), "order-1:7:0", now)
    assert hop is not None
    assert traces.hop(event(UNSAMPLED), "order-1:7:1", now) is None
    assert traces.hop(event(), "order-1:6:0", now - OLD) is None
    assert [] == kept.spans
    traces.published()
    traces.published()
    [span] = kept.spans
    assert (HEADER, span.ref.traceparent.encode()) == hop
    assert of_command(START, "order", "A", "c1").span_id == span.parent
    assert ("send order-events", "order-1:7:0") == (span.name, span.attributes["sourced.position"])
    traces.hop(event(), "order-1:8:0", now)
    traces.forget()
    traces.published()
    assert [span] == kept.spans


def test_a_table_joins_what_is_new_and_links_what_is_old() -> None:
    """A table that is built anew hangs nothing onto traces that have ended: its batch has a trace of its own, if the
    sampler wants that."""
    now = datetime.now(UTC)
    for is_shy in (False, True):
        kept = KeptSpans(is_shy)
        young = AppliedEvent(HOP.traceparent, "order-1:7:0", "OrderOpened", in_utc(now))
        old = [AppliedEvent(OTHER.traceparent, "order-1:1:0", "OrderOpened", in_utc(now - OLD)) for _ in range(200)]
        TableTraces(kept, "order-events").applied([*old, young], ["orders", "users_orders"], 0.02)
        joined, *linked = kept.spans
        assert (TRACE, HOP.span_id, ()) == (joined.ref.trace_id, joined.parent, joined.links)
        assert ["orders", "users_orders"] == joined.shared["sourced.tables"]
        assert pytest.approx(0.02, abs=1e-5) == joined.ended - joined.began
        if is_shy:
            assert [] == linked
        else:
            [batch] = linked
            assert batch.ref.trace_id not in (TRACE, OTHER_TRACE)
            assert ("", [OTHER] * 128, 200) == (batch.parent, batch.links, batch.attributes["sourced.events"])


def test_a_command_that_an_event_causes_is_below_it() -> None:
    """Both headers: the start of the transmission as it was, and the span of the sending."""
    kept = KeptSpans()
    batch = SendTraces(kept, "checkout").batch()
    sending = batch.of_event(event(), "order", datetime.now(UTC), "ReserveStock", "product-commands")
    assert sending is not None
    assert batch.of_event(event(UNSAMPLED), "order", datetime.now(UTC), "ReserveStock", "product-commands") is None
    assert [] == kept.spans
    batch.sent()
    [span] = kept.spans
    assert (START.traceparent, [(HEADER, span.ref.traceparent.encode())]) == sending
    assert (of_command(START, "order", "A", "c1").span_id, ()) == (span.parent, span.links)
    assert ("send product-commands", "checkout") == (span.name, span.shared["sourced.process"])


def test_what_an_old_event_causes_begins_a_trace() -> None:
    """Linked to the former one; or none, where the sampler does not want it."""
    kept, long_ago = KeptSpans(), datetime.now(UTC) - OLD
    batch = SendTraces(kept, "checkout").batch()
    sending = batch.of_event(event(), "order", long_ago, "ReserveStock", "product-commands")
    batch.sent()
    [span] = kept.spans
    assert sending is not None
    assert (span.ref.traceparent, [(HEADER, span.ref.traceparent.encode())]) == sending
    assert span.ref.trace_id != TRACE
    assert ("", (of_command(START, "order", "A", "c1"),)) == (span.parent, span.links)
    shy = SendTraces(KeptSpans(is_shy=True), "checkout").batch()
    assert ("", ()) == shy.of_event(event(), "order", long_ago, "ReserveStock", "product-commands")
