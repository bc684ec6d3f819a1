"""The hooks that Faust calls: what fails in one keeps no other from being called, and nothing fails in silence."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from faust.types import TP

from streams.journal.layout import Layout, first_layout
from streams.journal.memory import MemoryJournal
from streams.journal.slice_log import LayoutReader
from streams.runtime.application import Application
from streams.runtime.part import Part
from streams.served_type import ServedType
from streams.settings import Settings
from streams.shop.orders import app as orders
from tests.unit.until import until


@pytest.fixture
async def app(tmp_path: Path) -> Application:
    return Application("a.test", "a-test", Settings(data_dir=tmp_path, partitions=1))


class Steps(Part):
    """A part whose calls are noted; some raise."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.done: list[str] = []
        self.failing: set[str] = set()

    async def resume(self) -> None:
        self._step("resume")

    async def revoke(self) -> None:
        self._step("revoke")

    async def leave(self) -> None:
        self._step("leave")

    async def stop(self) -> None:
        self._step("stop")

    def _step(self, step: str) -> None:
        self.done.append(f"{self.name}{step}")
        if step in self.failing:
            raise RuntimeError(f"{step} failed")


class Meeting(Part):
    """A part that waits for another one in each call."""

    def __init__(self, together: asyncio.Barrier) -> None:
        self.together = together

    async def revoke(self) -> None:
        await self.together.wait()

    async def assign(self, assignment: set[TP]) -> None:
        await self.together.wait()


async def test_letting_go_is_done_to_its_end(app: Application, caplog: pytest.LogCaptureFixture) -> None:
    """Before a revocation and at the end each part lets go, although another has raised, which is said. What was added
    last ends first."""
    first, second = Steps("first "), Steps("second ")
    first.done, first.failing, second.failing = second.done, {"revoke"}, {"stop"}
    app.add(first)
    app.add(second)
    await app.before_revoke()
    await app._let_go_before_shutdown()
    assert ["first revoke", "second revoke", "second stop", "first stop"] == second.done
    assert 2 == len([record for record in caplog.records if record.levelno == logging.ERROR])


async def test_all_are_revoked_and_assigned_side_by_side(app: Application) -> None:
    """Each type of a worker has all of the time that one may take."""
    together = asyncio.Barrier(2)
    app.add(Meeting(together))
    app.add(Meeting(together))
    async with asyncio.timeout(20):
        await app.before_revoke()
        await app.before_assigned(set())


async def test_resuming_fails(app: Application, capsys: pytest.CaptureFixture[str]) -> None:
    """It is said, the worker is not ready, and it is tried again until it works; only then is it ready."""
    steps = Steps()
    steps.failing = {"resume"}
    app.add(steps)
    app._resuming = app.supervisor.keep("resuming after a rebalance", app._resume)
    await until(lambda: len(steps.done) > 1)
    assert ["RuntimeError: resume failed"] == list(app.supervisor.troubles.values())
    assert not app.rebalanced
    steps.failing.clear()
    await until(lambda: app.rebalanced)
    assert {} == app.supervisor.troubles
    assert "ready: a.test partitions=[]\n" == capsys.readouterr().out


async def test_a_rebalance_after_resuming_has_failed(app: Application) -> None:
    """The next one is not told the old error."""
    steps = Steps()
    steps.failing = {"resume"}
    app.add(steps)
    app._resuming = app.supervisor.keep("resuming after a rebalance", app._resume)
    await until(lambda: steps.done)
    await app.before_revoke()
    assert app._resuming is None
    assert {} == app.supervisor.troubles


class Deciding(Part):
    """A part that decides the commands of logs."""

    partitions_served = {0, 2}  # noqa: RUF012
    logs_served = ("order@0", "order@2")


async def test_logs_are_named(app: Application, capsys: pytest.CaptureFixture[str]) -> None:
    """Where commands are decided, the line says of which logs; of none, where others have them all."""
    deciding = Deciding()
    app.add(Steps())
    app.add(deciding)
    await app._resume()
    deciding.partitions_served, deciding.logs_served = set(), ()
    await app._resume()
    assert [
        "ready: a.test partitions=[0, 2] logs=[order@0, order@2]",
        "ready: a.test partitions=[] logs=[]",
    ] == capsys.readouterr().out.splitlines()


async def test_logs_are_let_go_first(app: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the worker ends: before Faust, which takes a second or two, and before its parts are stopped."""
    steps = Steps()
    app.add(steps)

    async def ends(self: object) -> None:
        steps.done.append("Faust ends")

    monkeypatch.setattr("faust.App.on_stop", ends)
    await app.on_stop()
    await app._let_go_before_shutdown()
    assert ["revoke", "leave", "Faust ends", "stop"] == steps.done


async def test_seats_are_those_of_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """All seats that Kafka assigns go to the owners, which know from the layout which of them a log has."""
    assigned: list[tuple[set[int], Layout]] = []

    async def assign(seats: set[int], layout: Layout) -> None:
        assigned.append((seats, layout))

    journal = MemoryJournal()
    layout = await journal.change_layout("order", first_layout(8, 2))
    topic = f"{orders.settings.namespace}order-logs"
    [served] = [part for part in orders.parts if isinstance(part, ServedType)]
    monkeypatch.setattr(served.layout, "reader", LayoutReader(journal, "order"))
    await served.layout.reader.look()
    monkeypatch.setattr(served.ownership, "assign", assign)
    assert [0, 1] == layout.seats
    await orders.before_assigned({TP(topic, 1), TP(topic, 7), TP(topic, 99), TP("others", 0)})
    assert [({1, 7, 99}, layout)] == assigned
