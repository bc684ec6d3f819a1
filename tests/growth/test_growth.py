"""Logs are split and merged under 500 commands a second, with workers killed and stopped in the middle: nothing is
lost, doubled or out of order, for readers in other languages too, and no key stands still for long."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.foreign.conftest import Program
from tests.growth.in_order import in_order
from tests.growth.results import Changes
from tests.growth.rig import PACE, Fault, Rig, killed, stopped

LONGEST_SECONDS = 5.0
"""Generous, for a machine that does something else too; `make growth` reports what it was."""
PROGRAMS = Path(__file__).parent / "programs"

FAULTS: dict[str, list[Fault | None]] = {
    "nothing": [None],
    "kill -9 of the worker of a log that ends": [killed("parent")],
    "kill -9 of the worker of a log that begins": [killed("child")],
    "SIGSTOP of the worker of a log that ends": [stopped("parent", 2.0), stopped("parent", 7.5)],
    "SIGSTOP of the worker of a log that begins": [stopped("child", 2.0), stopped("child", 7.5)],
}


@pytest.mark.full
@pytest.mark.parametrize("fault", FAULTS)
async def test_split_and_merged(
    rig: Rig, fault: str, java: Program, node: Program, pytestconfig: pytest.Config
) -> None:
    """Ten times each, or as often as `--times` says. Whoever reads in Java or in Node has every event once, behind the
    one that it names as the one before it."""
    changes = await _changed(rig, fault, pytestconfig.getoption("times"))
    for program, file in ((java, "PrintEvents.java"), (node, "print-events.js")):
        printed = await program(PROGRAMS / file, ",".join(rig.system.servers), rig.system.topic("order-events"))
        assert changes.sent == in_order(printed, "order")


@pytest.mark.parametrize("fault", list(FAULTS)[:2])
async def test_split_and_merged_once(rig: Rig, fault: str) -> None:
    """The same once each, with fewer commands, and a reader in Python."""
    changes = await _changed(rig, fault, 1, PACE / 3)
    printed = "\n".join(map(_shown, await rig.system.read("order-events")))
    assert changes.sent == in_order(printed, "order")


async def _changed(rig: Rig, fault: str, times: int, pace: float = PACE) -> Changes:
    """So many splits and merges; each command has had one event."""
    faults = FAULTS[fault]
    load = await rig.start()
    async with rig.under_load(load, fault, pace) as changes:
        for number in range(times):
            for action in ("split", "merge"):
                await rig.change(changes, action, faults[number % len(faults)])
    assert (0, 0) == (changes.lost, changes.doubled)
    assert changes.worst < LONGEST_SECONDS
    return changes


def _shown(record: Any) -> str:
    headers = {name: value.decode() for name, value in record.headers}
    return json.dumps({"partition": record.partition, "offset": record.offset, "key": record.key.decode(), **headers})
