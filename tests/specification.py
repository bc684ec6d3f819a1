"""given / when / then as `sourced.testing` has it, and questions to a projection whose events are in many partitions.

given(revenue, published(OrderPlaced(...))).then_rows({"2011-05-17|France": {...}})
given(revenue, published(OrderPlaced(...))).when_asked(Revenue("month")).then_answer({...})
"""

from __future__ import annotations

from typing import Any

from aggregates.specification import NOW, Outcome, Processes, accepted, answer
from projections.projection import Projection
from sourced import testing
from sourced.testing.rows import in_sequence
from sourced.testing.specification import GivenRows
from tests.folded import Folded

__all__ = ["NOW", "Outcome", "Processes", "accepted", "answer", "given"]


def given(subject: Any, *events: object) -> Any:
    return GivenPartitions(subject, events) if isinstance(subject, Projection) else testing.given(subject, *events)


class GivenPartitions(GivenRows):
    """A projection, and what has happened to it."""

    def when_asked(self, question: object) -> Outcome[Any]:
        """The answer of all its partitions together."""
        folded = Folded(self.subject, partitions=3)
        for event in in_sequence(self.events):
            folded.apply(event)
        return Outcome(folded.kept().ask(question))
