"""The command `timers`: times as people type them, and what makes no sense refused in one line."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from projections.timers.cli import read_due, schedule
from streams.cli.run import USAGE, CliError

NOW = datetime(2026, 11, 26, 12, 0, 0, 500_000, UTC)


@pytest.mark.parametrize(
    ("typed", "due"),
    [
        ("+90s", "2026-11-26T12:01:30.500Z"),
        ("+10m", "2026-11-26T12:10:00.500Z"),
        ("+2h", "2026-11-26T14:00:00.500Z"),
        ("+3d", "2026-11-29T12:00:00.500Z"),
        ("2026-12-24T18:00:00Z", "2026-12-24T18:00:00.000Z"),
        ("2026-12-24T18:00:00+02:00", "2026-12-24T16:00:00.000Z"),
        ("2026-12-24 18:00", "2026-12-24T18:00:00.000Z"),
        ("2026-12-24", "2026-12-24T00:00:00.000Z"),
    ],
)
def test_due(typed: str, due: str) -> None:
    """A time in ISO 8601, in UTC unless it names a zone, or so long from now."""
    assert due == read_due(typed, NOW)


@pytest.mark.parametrize(
    "typed", ["", "soon", "90s", "+90", "+1w", "+999999999d", "0001-01-01T00:00:00+09:00", "25:00"]
)
def test_no_time(typed: str) -> None:
    """Exit code 2, and what a time looks like."""
    with pytest.raises(CliError, match=r"2026-12-24T18:00:00Z, or from now: \+90s") as stopped:
        read_due(typed, NOW)
    assert USAGE == stopped.value.code


def test_fields() -> None:
    """The fields of the command are sent as the text of their JSON; without them there are none."""
    typed = ["2026-12-24", "order", "1", "ShipOrder"]
    fields = {"due": "2026-12-24T00:00:00.000Z", "to": "order", "id": "1", "command": "ShipOrder"}
    assert fields == msgspec.json.decode(schedule(typed))
    assert fields | {"data": '{"a": 1}'} == msgspec.json.decode(schedule([*typed, '{"a": 1}']))
    with pytest.raises(CliError, match="not a JSON object"):
        schedule([*typed, "[]"])
