"""What a `traceparent` says: https://www.w3.org/TR/trace-context/#traceparent-header."""

from __future__ import annotations

import re

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]([0-9a-f])")


def sampled_trace_id(traceparent: str) -> str:
    """The id of a trace that somebody keeps; empty for one that nobody does, and for what is no `traceparent`."""
    found = _TRACEPARENT.match(traceparent)
    return found[1] if found is not None and int(found[2], 16) & 1 else ""
