"""A tracer that keeps what it is given, and makes its spans when a test asks for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from streams.observability.traces import SpanRef, new_trace, read
from streams.observability.tracing import Span


class KeptSpans:
    """Wants all traces, or, where it is `shy`, none but those that others have begun."""

    def __init__(self, is_shy: bool = False) -> None:
        self.is_shy = is_shy
        self.counted = 0
        self._given: list[Callable[[], Iterable[Span]]] = []
        self._spans: list[Span] = []

    def begin(self, traceparent: str, name: str) -> SpanRef | None:
        came = read(traceparent)
        if came is not None:
            return came[0].child() if came[1] else None
        return None if self.is_shy else new_trace()

    def put(self, count: int, spans: Callable[[], Iterable[Span]]) -> None:
        self.counted += count
        self._given.append(spans)

    @property
    def spans(self) -> list[Span]:
        """All spans of what was given; each is made once."""
        while self._given:
            self._spans += self._given.pop(0)()
        return self._spans

    def named(self, name: str) -> list[Span]:
        """Those of this name."""
        return [span for span in self.spans if span.name == name]
