"""One reader after another, each with so many examples, from a seed or from whatever Hypothesis remembers."""

from __future__ import annotations

import traceback

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.fuzz.reader import Reader

PHASES = Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink
"""Without the one that looks for an explanation, which takes long."""


def hold(reader: Reader, examples: int) -> None:
    """Try it. Raises what it must not raise; what has failed before is tried first."""

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), phases=PHASES)
    @given(st.data())
    def read(data: st.DataObject) -> None:
        reader.hold(data.draw(reader.given, label=reader.name))

    read()


def found(reader: Reader, number: int, examples: int) -> str:
    """What a search from this seed finds, with the smallest input that shows it; nothing when all held."""

    @seed(number)
    @settings(
        max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck), phases=PHASES
    )
    @given(st.data())
    def read(data: st.DataObject) -> None:
        reader.hold(data.draw(reader.given, label=reader.name))

    try:
        read()
    except Exception as error:
        return "".join(traceback.format_exception(error))
    return ""
