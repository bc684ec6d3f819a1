"""Ownership is visible: `/owners`, the command that prints it, and one line in the log per change of hands."""

from __future__ import annotations

import re
import signal

import pytest

from tests.e2e.client import PARTITIONS, eventually
from tests.e2e.system import System
from tests.e2e.worker import ORDERS, Worker

pytestmark = pytest.mark.asyncio(loop_scope="module")
JOURNAL = "sqlite"

ORDER = {"user_id": "17850", "kind": "sale"}


def said(worker: Worker, words: str) -> list[int]:
    """The partitions of which a worker's log says this, each as often as it does."""
    found = (re.search(rf"order-(\d): {words}", line) for line in worker.lines)
    return sorted(int(match[1]) for match in found if match)


async def owned(system: System, worker: Worker) -> dict[int, dict[str, object]]:
    """The answer of `/owners` by partition."""
    status, body, _ = await system.get(worker, "/owners")
    assert (200, ORDERS) == (status, body["app"])
    return {row["partition"]: row for row in body["owners"]}


async def test_owners_and_changes_of_hands(system: System) -> None:
    """A worker joins and leaves: each partition that moves is given up once and taken over once, and says why; of those
    that stay nothing is said; `/owners` and `owners` agree with it."""
    nobody = await system.run("-A", ORDERS, "owners")
    assert 2 == nobody.returncode
    assert "has no members" in nobody.stderr

    first = system.start(ORDERS, level="info")
    await system.all_served(first)
    everything = list(range(PARTITIONS))
    assert everything == said(first, "taken over from nobody: epoch 1 ")
    for number in range(40):
        reply = await system.ask("order", f"owners-{number}", "OpenOrder", ORDER)
        assert "accepted" == reply["status"]
    before = await owned(system, first)
    assert everything == list(before)
    assert 40 == sum(row["next_offset"] for row in before.values())  # type: ignore[misc]
    assert 40 == sum(row["aggregates"] for row in before.values())  # type: ignore[misc]
    heads = {p: log[-1] for p, log in (await system.commits("orders", "order")).items()}
    for partition, row in before.items():
        head = heads[partition]
        assert f"order-{partition}" == row["stream"]
        assert (head.owner, 1, head.nr, head.eventful_nr) == tuple(
            row[column] for column in ("owner", "epoch", "head", "eventful")
        )
        assert (True, 0, 0) == (row["serving"], row["queued"], row["queued_bytes"])

    second = system.start(ORDERS, level="info")
    await system.all_served(first, second)
    moved = await system.partitions(second)
    assert moved
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
    assert [["order", str(p), "yes", after[p]["owner"]] for p in everything] == [line[:4] for line in lines]
    some = await system.run("-A", ORDERS, "owners", "--url", second.url)
    assert moved == [int(line.split()[1]) for line in some.stdout.splitlines()[1:]]

    second.signal(signal.SIGTERM)
    await eventually(lambda: not second.running, 20, second.tail)
    await system.all_served(first)
    assert moved == said(second, "given up: ") == said(second, "given up: this worker stops")
    assert moved == said(first, "taken over from .*epoch 3 ")
    assert sorted(everything + moved) == said(first, "taken over")
    assert moved == said(first, "given up: ")
