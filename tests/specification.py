"""given / when / then, for projections too: the same words for deciders, process managers and projections.

given(revenue, published(OrderPlaced(...))).then_rows({"2011-05-17|France": {...}})
given(revenue, published(OrderPlaced(...))).when_asked(Revenue("month")).then_answer({...})
"""

from __future__ import annotations

from typing import Any

from aggregates import specification
from aggregates.specification import NOW, Outcome, Processes, accepted, answer
from tests.folded import Folded

__all__ = ["NOW", "Outcome", "Processes", "accepted", "answer", "given"]


def given(subject: Any, *events: object) -> Given:
    return Given(subject, events)


class Given(specification.Given):
    """A decider, a process manager or a projection, and what has happened to it."""

    def when_asked(self, question: object) -> Outcome:
        """Of a projection: the answer of all its partitions together."""
        return Outcome(self._folded(partitions=3).kept().ask(question))

    def then_rows(self, expected: object) -> None:
        """Of a projection: its rows by key, all aggregates being in one partition."""
        assert [expected] == self._folded(partitions=1).rows[self.subject.name]

    def _folded(self, partitions: int) -> Folded:
        folded = Folded(self.subject, partitions=partitions)
        for event in self.events:
            folded.apply(event)  # type: ignore[arg-type]
        return folded
