"""Whatever befalls the workers that share a changelog, rows and what they are found by are exact."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Awaitable
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from projections.applying.fold import TableFold
from projections.projection import Row
from projections.stores.changelog import ROW, prefix_of
from projections.stores.declaration import Indexes
from projections.stores.local.indexes import CHANGE, COUNT, ENTRY, change_key, count_prefix, entry_prefix
from projections.stores.rows import Checkpoint
from streams.journal.position import parse_place
from tests.flat_rows import GONE, flat
from tests.unit.boxes import BANG, EMPTY, Boxes, Stored, boxes, put, swapped
from tests.unit.local_machines import Changelog, Machine

TABLE = "boxes-1"
INDEXES = {"boxes": Indexes({"last": lambda row: None if row["in"][-1] == "c" else row["in"][-1]}, changes=True)}


def rows_of(machine: Machine) -> dict[str, Row]:
    """All of the table, what removed rows have left too."""
    prefix = prefix_of(TABLE, ROW)
    return {key[len(prefix) :].decode(): flat(value) for key, value in machine.store.items(0, prefix)}


def check(machine: Machine) -> None:
    """Nothing else stands beside the rows than what follows from them."""
    rows = {key.encode(): row for key, row in rows_of(machine).items()}
    last = {key: row["in"][-1] for key, row in rows.items() if GONE not in row and row["in"][-1] != "c"}
    expected = {
        **{change_key(TABLE, parse_place(row["position"])) + key: b"" for key, row in rows.items()},
        **{entry_prefix(TABLE, "last", value) + key: b"" for key, value in last.items()},
        **{count_prefix(TABLE, "last") + value.encode(): b"%d" % n for value, n in Counter(last.values()).items()},
    }
    kinds = [prefix_of(TABLE, kind) for kind in (ENTRY, COUNT, CHANGE)]
    assert expected == {key: value for kind in kinds for key, value in machine.store.items(0, kind)}


class Workers:
    """Two of them, each on its own disk, with one changelog."""

    def __init__(self, folder: Path, here: Boxes) -> None:
        self._changelog = Changelog()
        self._folder = folder
        self._here = here
        self._disks = 0
        self._machines = [self._machine(), self._machine()]

    def _machine(self) -> Machine:
        self._disks += 1
        return Machine(self._folder / f"{self._disks}", self._changelog, INDEXES)

    def recover(self, worker: int, at_once: int = 100) -> Machine:
        """What there is, as it is when a partition is assigned."""
        machine = self._machines[worker]
        machine.recover(at_once)
        check(machine)
        return machine

    def lose_disk(self, worker: int) -> None:
        self._machines[worker].close()
        self._machines[worker] = self._machine()
        self.recover(worker)

    async def apply(self, worker: int, most: int, room: int | None = None) -> None:
        """Fold so many events more, from where this worker has the table, late perhaps."""
        machine = self._machines[worker]
        place = (await machine.rows.places(0)).get(TABLE, Checkpoint())
        waits = dict(await machine.rows.quarantined(0, TABLE))
        table = TableFold(TABLE, boxes, machine.rows, 0, place, waits)
        events = [event for event in await self._here.published() if event.at > place.at]
        folded = await table.fold(events[:most])
        if folded is not None:
            await self._with_room(machine.rows.save(0, {TABLE: folded.changes}), room)
        check(machine)

    async def drop(self, worker: int, room: int | None) -> None:
        """By who has all that there is, as an owner has. Its code has no use for the table: whoever builds it anew
        comes later, and recovers first."""
        machine = self.recover(worker)
        await self._with_room(machine.rows.drop(0, TABLE), room)
        check(machine)
        self.recover(worker)
        self.recover(1 - worker)

    async def _with_room(self, work: Awaitable[None], room: int | None) -> None:
        self._changelog.room = room
        try:
            await work
        except ConnectionError:
            assert room is not None
        finally:
            self._changelog.room = None

    def close(self) -> None:
        for machine in self._machines:
            machine.close()


QUICK = "/dev/shm" if os.path.isdir("/dev/shm") else None
"""A folder in memory, where there is one: hundreds of stores are opened, and each waits for a disk that others use."""
KINDS: list[Stored] = [put("a"), put("b"), put("c"), EMPTY, BANG, swapped("a")]
commits = st.lists(
    st.lists(st.tuples(st.sampled_from("123"), st.sampled_from(KINDS)), min_size=1, max_size=3), min_size=1, max_size=8
)
HAPPENS = ["apply", "apply", "apply", "recover", "lose disk", "drop"]
rooms = st.sampled_from([None, None, None, 0, 1, 2, 3, 5])


@settings(max_examples=60, deadline=None)
@given(commits, st.lists(st.sampled_from(HAPPENS), max_size=14), st.data())
async def test_rows_and_indexes_are_exact(
    log: list[list[tuple[str, Stored]]], happens: list[str], data: st.DataObject
) -> None:
    """Whoever applies what, late or twice, cut off amid a batch or a drop, recovers or loses its disk: entries of
    indexes, counts and changes are those of the rows, and in the end the rows are those of the log."""
    here = Boxes()
    for events in log:
        await here.write(*events)
    with tempfile.TemporaryDirectory(dir=QUICK) as folder:
        workers = Workers(Path(folder), here)
        for step in happens:
            worker = data.draw(st.integers(0, 1))
            match step:
                case "apply":
                    await workers.apply(worker, data.draw(st.integers(1, 9)), data.draw(rooms))
                case "recover":
                    workers.recover(worker, data.draw(st.sampled_from([1, 3, 100])))
                case "lose disk":
                    workers.lose_disk(worker)
                case "drop":
                    await workers.drop(worker, data.draw(rooms))
        for worker in (0, 1):
            machine = workers.recover(worker)
            await workers.apply(worker, 1_000)
            assert here.expected() == rows_of(machine)
        workers.close()
