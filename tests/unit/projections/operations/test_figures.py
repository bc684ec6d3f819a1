"""The figures of the last hour: of one worker what is new since the last point, of several as one."""

from __future__ import annotations

import pytest

from projections.operations.figures import SUMS, Figures, Window, is_command, together
from streams.observability import catalog
from streams.observability.instruments import Instruments


def test_figures_of_workers_are_added_up_or_the_largest_counts() -> None:
    """Rates are those of all workers, delays those of the slowest; what one does not know the others may."""
    first = {name: [1.0, None, None] for name in Figures.__struct_fields__}
    second = {name: [3.0, 2.0, None] for name in Figures.__struct_fields__}
    whole = together([first, second])
    for name in Figures.__struct_fields__:
        assert [4.0 if name in SUMS else 3.0, 2.0, None] == getattr(whole, name)


def test_a_point_shows_what_is_new() -> None:
    """Of commands over HTTP alone, whatever was before; nothing where there was none."""
    seconds = Instruments().histogram(catalog.HTTP_SECONDS)
    window = Window(seconds, is_command)
    route = "/orders/{id}/commands"
    seconds.of("POST", route).observe(20.0, count=100)
    window.quantiles("command")
    assert {"command_p50": None, "command_p99": None} == window.quantiles("command")
    seconds.of("GET", "/orders/{id}").observe(20.0, count=100)
    seconds.of("POST", route).observe(0.04, count=10)
    seconds.of("POST", "/users/{id}/commands").observe(0.04, count=10)
    shown = window.quantiles("command")
    assert (pytest.approx(0.0375), True) == (shown["command_p50"], 0.025 < (shown["command_p99"] or 0) <= 0.05)
