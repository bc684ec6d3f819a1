"""What a `traceparent` says: https://www.w3.org/TR/trace-context/#traceparent-header."""

from __future__ import annotations

import os
import re
from hashlib import blake2b
from typing import NamedTuple

HEADER = "traceparent"
"""The header of a record or request that names the span which has sent it: that of this hop. `ce_traceparent` beside it
names where the transmission began, and stays as it is on all hops:
https://github.com/cloudevents/spec/blob/main/cloudevents/extensions/distributed-tracing.md."""
HOP_BYTES = 11 + 55
"""What it adds to a record."""

SAMPLED = frozenset("13579bdf")
"""How a `traceparent` ends that somebody keeps; the rest of it is looked at where it ends so."""
SAMPLED_BYTES = frozenset(end.encode() for end in SAMPLED)

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]([0-9a-f])")


class SpanRef(NamedTuple):
    """A span of a trace that is kept, in hexadecimal digits as in a `traceparent`."""

    trace_id: str
    span_id: str

    @property
    def traceparent(self) -> str:
        """What is sent to whoever goes on from it."""
        return f"00-{self.trace_id}-{self.span_id}-01"

    def child(self, *of: object) -> SpanRef:
        """A span of the same trace. What it is `of` gives its id, so that whoever knows that knows the span, and one
        that is made twice is one; without, the id is a new one."""
        if not of:
            return SpanRef(self.trace_id, os.urandom(8).hex())
        text = "\n".join([self.trace_id, *map(str, of)])
        return SpanRef(self.trace_id, blake2b(text.encode(), digest_size=8).hexdigest())


def new_trace() -> SpanRef:
    """The first span of a trace."""
    return SpanRef(os.urandom(16).hex(), os.urandom(8).hex())


def read(traceparent: str) -> tuple[SpanRef, bool] | None:
    """The span that a `traceparent` names, and whether somebody keeps its trace; None for what is none."""
    found = _TRACEPARENT.match(traceparent)
    return None if found is None else (SpanRef(found[1], found[2]), int(found[3], 16) & 1 == 1)


def sampled(traceparent: str) -> SpanRef | None:
    """The span that a `traceparent` names; None for one of a trace that nobody keeps, and for what is none."""
    found = read(traceparent) if traceparent[-1:] in SAMPLED else None
    return found[0] if found is not None and found[1] else None


def sampled_trace_id(traceparent: str) -> str:
    """The id of a trace that somebody keeps; empty for one that nobody does, and for what is no `traceparent`."""
    found = sampled(traceparent)
    return found.trace_id if found is not None else ""


def of_command(start: SpanRef, type: str, aggregate_id: str, command_id: str) -> SpanRef:
    """The span of a command whose events are in the journal: they say all that this needs."""
    return start.child("command", type, aggregate_id, command_id)
