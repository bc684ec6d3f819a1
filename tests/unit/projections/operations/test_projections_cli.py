"""The command `projections`: what makes no sense is refused in one line, and what a worker says is shown."""

from __future__ import annotations

from typing import Any

import pytest

from projections.operations import cli
from projections.operations.cli_status import duration, path_of, rows
from projections.operations.status import Projections, ProjectionStatus, TableStatus
from streams.cli.http import Answer, read, refused
from streams.cli.run import ERROR, USAGE, CliError

NOTHING = {"watch": False, "wait": False, "key": None, "again": False, "reason": None}


def check_use(arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
    """As the command does: action, name and position, then the options."""
    action, name, position = arguments
    cli._check_use(action, name, position=position, **{**NOTHING, **options})


def state(**changed: Any) -> ProjectionStatus:
    """A projection that is well, but for what is changed in its table."""
    table: dict[str, Any] = {"table": "orders-1", "state": "serving", "done": 9, "total": 9}
    table |= {"rate": 0.0, "seconds_left": 0.0, "error": None, "quarantined_keys": 0, "partitions": {}}
    return ProjectionStatus(
        name="orders", version=1, source="order", store="rocksdb", serving="orders-1", paused=None, skips=[],
        quarantined_keys=0, quarantined=[], tables=[TableStatus(**{**table, **changed})],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "options", "says"),
    [
        (("rebuild", None, None), {}, "name of a projection"),
        (("drop", None, None), {}, "name of a table"),
        (("drop", "orders", None), {}, "no table"),
        (("pause", "orders", None), {}, "--reason"),
        (("pause", "orders", None), {"reason": " "}, "--reason"),
        (("skip", "orders", "order-3:1:0"), {}, "--reason"),
        (("skip", "orders", None), {"reason": "x"}, "POSITION"),
        (("skip", "orders", "order-3"), {"reason": "x"}, "POSITION"),
        (("resume", "orders", "order-3:1:0"), {}, "no position"),
        (("status", "orders", None), {"reason": "x"}, "--reason is of rebuild, pause"),
        (("status", None, None), {"wait": True}, "--wait is of rebuild"),
        (("rebuild", "orders", None), {"watch": True}, "--watch is of status"),
        (("rebuild", "orders", None), {"key": "1", "wait": True}, "--key"),
        (("rebuild", "orders", None), {"key": ""}, "key of a row"),
        (("dead-letters", "orders", None), {}, "no name"),
    ],
)
def test_wrong_use(arguments: tuple[Any, ...], options: dict[str, Any], says: str) -> None:
    """Exit code 2, and what would be right."""
    with pytest.raises(CliError, match=says) as stopped:
        check_use(arguments, options)
    assert USAGE == stopped.value.code


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (("status", None, None), {"watch": True}),
        (("rebuild", "orders", None), {"wait": True, "again": True}),
        (("rebuild", "orders", None), {"key": "536365"}),
        (("pause", "orders", None), {"reason": "x"}),
        (("skip", "orders", "order-3:125:0"), {"reason": "x"}),
        (("drop", "orders-by-user-1.2", None), {}),
        (("drop", "orders-by-user-1.2", None), {"reason": "x"}),
    ],
)
def test_right_use(arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
    """Nothing is said against it."""
    check_use(arguments, options)


@pytest.mark.parametrize(
    ("changed", "well"),
    [
        ({}, True),
        ({"state": "to drop"}, True),
        ({"state": "complete"}, True),
        ({"state": "complete", "error": "keys wait"}, False),
        *(({"state": name}, False) for name in ("building", "paused", "held", "frozen")),
    ],
)
def test_when_all_is_well(changed: dict[str, Any], well: bool) -> None:
    """The exit code of `status` says whether there is something to be done or waited for."""
    assert well == state(**changed).is_well


def test_a_row_by_table() -> None:
    """Rate and time only where there are some, and in the note what keeps it."""
    [row] = rows([state(state="building", done=1000, total=9000, rate=160.0, seconds_left=3661.0)])
    assert ["orders", "orders-1", "building", "1,000", "8,000", "160/s", "1:01:01", "", ""] == row
    [row] = rows([state(state="held", error="order-3: Unavailable: no answer", quarantined_keys=2)])
    assert ["", "", 2, "order-3: Unavailable: no answer"] == row[-4:]


@pytest.mark.parametrize(("seconds", "shown"), [(0.4, "0:00"), (59.6, "1:00"), (309.0, "5:09"), (3600.0, "1:00:00")])
def test_durations(seconds: float, shown: str) -> None:
    """Minutes and seconds, and hours where there are some."""
    assert shown == duration(seconds)


@pytest.mark.parametrize(("status", "code"), [(404, ERROR), (409, ERROR), (422, USAGE), (503, USAGE)])
def test_what_a_worker_refuses(status: int, code: int) -> None:
    """Its own words, in one line; 1 for what is not so, 2 for the rest."""
    stop = refused(Answer("http://x/projections", status, b'{"detail": "orders-1\\nserves"}'))
    assert (code, True) == (stop.code, "orders-1 serves" in str(stop))
    assert "<html>" in str(refused(Answer("http://x/projections", 502, b"<html>")))


def test_an_answer_that_is_none() -> None:
    """Somebody else may listen at that port."""
    with pytest.raises(CliError, match="is not a page of a projections worker"):
        read(Answer("http://x/projections", 200, b"[]"), Projections, "a page of a projections worker")


def test_names_in_paths() -> None:
    """Whatever a key has in it stays one part of the path."""
    assert "/projections/revenue/rows/2010-12-01%7CFrance%2FX/rebuild" == path_of(
        "revenue", "rows", "2010-12-01|France/X", "rebuild"
    )
