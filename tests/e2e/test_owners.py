"""Ownership is visible: `/owners`, the command that prints it, and one line in the log per change of hands."""

from __future__ import annotations

import re
import signal
from typing import Any

import pytest

from tests.e2e.client import PARTITIONS, eventually
from tests.e2e.system import System
from tests.e2e.worker import ORDERS, Worker

pytestmark = pytest.mark.asyncio(loop_scope="module")
JOURNAL = "sqlite"

ORDER = {"user_id": "17850", "kind": "sale"}


def said(worker: Worker, words: str) -> list[int]:
    """The numbers of the logs of which a worker says this, each as often as it does."""
    found = (re.search(rf"order@(\d): {words}", line) for line in worker.lines)
    return sorted(int(match[1]) for match in found if match)


async def owned(system: System, worker: Worker) -> dict[int, dict[str, Any]]:
    """The answer of `/owners` by the number of the log."""
    status, body, _ = await system.get(worker, "/owners")
    assert (200, ORDERS) == (status, body["app"])
    return {number_of(row["log"]): row for row in body["owners"]}


def number_of(log: str) -> int:
    return int(log.rpartition("@")[2])


async def test_owners_and_changes_of_hands(system: System) -> None:
    """A worker joins and leaves: each log that moves is given up once and taken over once, and says why; of those
    that stay nothing is said; `/owners` and `owners` agree with it."""
    nobody = await system.run("-A", ORDERS, "owners")
    assert 2 == nobody.returncode
    assert "has no members" in nobody.stderr

    first = system.start(ORDERS, level="info")
    await system.all_served(first)
    everything = [0, 1]
    assert everything == said(first, "taken over from nobody: epoch 1 ")
    for number in range(40):
        reply = await system.ask("order", f"owners-{number}", "OpenOrder", ORDER)
        assert "accepted" == reply["status"]
    before = await owned(system, first)
    assert everything == list(before)
    assert 40 == sum(sum(row["next_offsets"].values()) for row in before.values())
    assert list(range(PARTITIONS)) == sorted(slice for row in before.values() for slice in row["slices"])
    assert 40 == sum(row["aggregates"] for row in before.values())
    heads = {p: log[-1] for p, log in (await system.commits("orders", "order")).items()}
    for number, row in before.items():
        head = heads[number]
        assert (number, list(head.slices)) == (row["seat"], row["slices"])
        assert (head.owner, 1, head.nr, head.eventful_nr) == tuple(
            row[column] for column in ("owner", "epoch", "head", "eventful")
        )
        assert (True, 0, 0) == (row["serving"], row["queued"], row["queued_bytes"])

    second = system.start(ORDERS, level="info")
    await system.all_served(first, second)
    moved = list(await owned(system, second))
    assert 1 == len(moved)
    assert moved == said(first, "given up: ") == said(first, "given up: assigned to another worker")
    owners = "|".join(re.escape(str(before[p]["owner"])) for p in moved)
    assert moved == said(second, f"taken over from ({owners}) ")
    assert everything == said(first, "taken over")
    after = {**await owned(system, first), **await owned(system, second)}
    assert [2 if p in moved else 1 for p in everything] == [after[p]["epoch"] for p in everything]
    stayed = [p for p in everything if p not in moved]
    assert [before[p]["since"] for p in stayed] == [after[p]["since"] for p in stayed]

    table = await system.run("-A", ORDERS, "owners")
    assert 0 == table.returncode, table.stderr
    lines = [line.split() for line in table.stdout.splitlines()[1:]]
    assert [[f"order@{p}", str(p), f"{p},{p + 2}", "yes", after[p]["owner"]] for p in everything] == [
        line[:5] for line in lines
    ]
    some = await system.run("-A", ORDERS, "owners", "--url", second.url)
    assert moved == [number_of(line.split()[0]) for line in some.stdout.splitlines()[1:]]

    second.signal(signal.SIGTERM)
    await eventually(lambda: not second.running, 20, second.tail)
    await system.all_served(first)
    assert moved == said(second, "given up: ") == said(second, "given up: this worker stops")
    assert moved == said(first, "taken over from .*epoch 3 ")
    assert sorted(everything + moved) == said(first, "taken over")
    assert moved == said(first, "given up: ")
