"""What every store of rows promises, whatever it is made of: the contract of the port `Rows`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from msgspec.structs import replace

from projections.stores.listings import SharedRows
from projections.stores.rows import Changes, Checkpoint, Quarantined, shown
from tests.contract.read_models import KINDS, ReadModels, changes, gone, new_table, row, save, two_workers, url_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(params=KINDS, scope="module", loop_scope="session")
async def models(request: pytest.FixtureRequest) -> AsyncIterator[ReadModels]:
    """Two workers on a read model of each kind."""
    async with two_workers(url_of(request.param, request)) as found:
        yield found


@pytest.fixture
def rows(models: ReadModels) -> SharedRows:
    """A read model of each kind."""
    return models.one


@pytest.fixture
def table() -> str:
    """A table that no other test uses."""
    return new_table()


async def test_rows_are_loaded_as_they_were_saved(models: ReadModels, table: str) -> None:
    """Every value that JSON has, exact decimals as their text; another worker sees them as soon as `save` returns."""
    saved = row(7, 3, text="Zoë ☃ \"\\ \0 '\n", number=2**53, real=0.1, none=None, yes=True, lines=[{"sku": "A"}, []])
    more = replace(row(7, 2, total="2.5500"), sequence=4, revision=2)
    await save(models.one, 3, {table: changes(a=saved, b=more)})
    assert {"a": saved, "b": more} == await models.two.load(3, table, ["a", "b"])
    assert {**(saved.row or {}), "position": "order-3:7:3"} == await models.two.row(3, table, "a")
    assert {"total": "2.5500", "position": "order-3:7:2", "sequence": 4} == await models.two.row(3, table, "b")


async def test_a_row_has_the_names_of_the_engine_for_itself(models: ReadModels, table: str) -> None:
    """What a projection calls `gone`, `position` and `sequence` is loaded and shown as it is."""
    own = {"gone": False, "position": "shelf 7", "sequence": 99, "status": "open", "at": "a"}
    saved = replace(row(7, **own), sequence=3)
    await save(models.one, 3, {table: changes(a=saved)})
    assert {"a": saved} == await models.two.load(3, table, ["a"])
    assert own == await models.two.row(3, table, "a")


async def test_the_largest_row_is_taken(models: ReadModels, table: str) -> None:
    """A store takes what it says that it takes."""
    size = min(await models.one.largest_row(), 5 << 20) - 200
    saved = row(7, text="x" * size, status="open", at="a")
    await save(models.one, 3, {table: changes(a=saved, b=row(7, text="y"))})
    assert {"a": saved, "b": row(7, text="y")} == await models.two.load(3, table, ["a", "b"])


async def test_a_key_that_never_had_a_row_is_left_out(rows: SharedRows, table: str) -> None:
    """Before anything is saved, and among others that are there."""
    assert {} == await rows.load(3, table, ["a", "b"])
    assert await rows.row(3, table, "a") is None
    await save(rows, 3, {table: changes(a=row(1))})
    assert {"a": row(1)} == await rows.load(3, table, ["a", "b"])
    assert {} == await rows.load(3, table, [])


async def test_a_removed_row_is_loaded_and_not_shown(rows: SharedRows, table: str) -> None:
    """Its position stays, so that an older event does not bring it back; queries find nothing."""
    await save(rows, 3, {table: changes(a=row(1))})
    await save(rows, 3, {table: changes(a=gone(2))})
    await save(rows, 3, {table: changes(a=row(1))})
    assert {"a": gone(2)} == await rows.load(3, table, ["a"])
    assert await rows.row(3, table, "a") is None
    await save(rows, 3, {table: changes(a=row(3))})
    assert shown(row(3)) == await rows.row(3, table, "a")


async def test_keys_are_any_text(rows: SharedRows, table: str) -> None:
    """Of any characters, those that a database has for itself too, and each is apart from all others."""
    keys = ["a", "A", "a ", "", "a\0", "a\\0", "'; --", "Zoë ☃", "𝔸", "é", "e\u0301", "%", "x" * 255]
    await save(rows, 3, {table: changes(**{key: row(n, n=n) for n, key in enumerate(keys, 1)})})
    assert {key: row(n, n=n) for n, key in enumerate(keys, 1)} == await rows.load(3, table, keys)


async def test_a_large_batch(rows: SharedRows, table: str) -> None:
    """Many rows, of which some are large, in one save and one load."""
    many = {f"order {n}": row(1, n, text="x" * (100_000 if n % 400 == 0 else 300)) for n in range(1200)}
    await save(rows, 3, {table: changes(**many)})
    assert many == await rows.load(3, table, many.keys())


async def test_places(models: ReadModels, table: str) -> None:
    """Each table has its own place in each partition, from its first save on."""
    other = new_table()
    assert not {table, other} & (await models.two.places(3)).keys()
    await save(models.one, 3, {table: changes(a=row(5, 2)), other: Changes(Checkpoint(4, -1, 4, 17))})
    await save(models.one, 4, {table: Changes(Checkpoint(2, 0, 1, 3))})
    found = await models.two.places(3)
    assert (Checkpoint(5, 2, 5, 50), Checkpoint(4, -1, 4, 17)) == (found[table], found[other])
    assert Checkpoint(2, 0, 1, 3) == (await models.two.places(4))[table]
    assert other not in await models.two.places(4)


async def test_a_place_moves_without_rows(rows: SharedRows, table: str) -> None:
    """Events that touch no row of a table move its place all the same; one at the very beginning is a place too."""
    for place in (
        Checkpoint(),
        Checkpoint(0, -1, 0, 5),
        Checkpoint(1, 0, 0, 6),
        Checkpoint(1, 1, 1, 7),
        Checkpoint(9, 0, 9, 90),
    ):
        await save(rows, 3, {table: Changes(place)})
        assert place == (await rows.places(3))[table]


async def test_an_older_row_changes_nothing(rows: SharedRows, table: str) -> None:
    """Commit number first, then the index therein, as numbers; rows beside it that are newer are taken."""
    await save(rows, 3, {table: changes(a=row(10, 9), b=row(10, 1), c=row(9, 0))})
    await save(rows, 3, {table: changes(a=row(9, 11), b=row(10, 2), c=row(8, 1), d=row(1, 0))})
    await save(rows, 3, {table: changes(a=row(10, 8))})
    expected = {"a": row(10, 9), "b": row(10, 2), "c": row(9, 0), "d": row(1, 0)}
    assert expected == await rows.load(3, table, ["a", "b", "c", "d"])


async def test_a_zombie_takes_nothing_back(models: ReadModels, table: str) -> None:
    """A worker that was paused and has lost its partition since saves its batch behind a newer one: neither rows nor
    the place of the table go back; what it alone has is right, and kept."""
    await save(models.one, 3, {table: changes(a=row(1))})
    await save(models.two, 3, {table: changes(a=row(8), b=gone(9), d=row(7))})
    late = changes(a=row(5), b=row(6), c=row(4, n=1), d=gone(6))
    await save(models.one, 3, {table: late})
    expected = {"a": row(8), "b": gone(9), "c": row(4, n=1), "d": row(7)}
    assert expected == await models.two.load(3, table, ["a", "b", "c", "d"])
    assert Checkpoint(9, 0, 9, 90) == (await models.two.places(3))[table]


async def test_a_row_of_the_same_position_takes_its_place(models: ReadModels, table: str) -> None:
    """One that was folded anew, because the one that is there is wrong. Later events go on from it, and a late writer
    of what was before changes nothing."""
    await save(models.one, 3, {table: changes(a=row(5, n=3), b=row(6))})
    for revision, n in enumerate((1, 9, 9, 2, 30), 8):
        place = (await models.one.places(3))[table]
        await save(models.two, 3, {table: Changes(place, {"a": row(5, 0, revision, n=n)})})
        assert shown(row(5, n=n)) == await models.one.row(3, table, "a")
    await save(models.one, 3, {table: changes(a=row(4, n=4))})
    assert shown(row(5, n=30)) == await models.one.row(3, table, "a")
    await save(models.one, 3, {table: changes(a=row(5, 1, n=0))})
    assert shown(row(5, 1, n=0)) == await models.one.row(3, table, "a")


async def test_saving_again_changes_nothing(rows: SharedRows, table: str) -> None:
    """A save whose answer was lost is asked for again."""
    batch = changes(a=row(1), b=gone(2), c=row(3, n=1))
    for _ in range(3):
        await save(rows, 3, {table: batch})
        assert batch.rows == await rows.load(3, table, ["a", "b", "c"])
        assert batch.place == (await rows.places(3))[table]


async def test_partitions_and_tables_are_apart(rows: SharedRows, table: str) -> None:
    """The same key in two partitions, or in two tables, is two rows."""
    other = new_table()
    await save(rows, 3, {table: changes(a=row(5, n=1)), other: changes(a=row(5, n=2))})
    await save(rows, 4, {table: changes(a=row(2, n=3))})
    found = [await rows.load(*at, ["a"]) for at in ((3, table), (3, other), (4, table), (4, other))]
    assert [{"a": row(5, n=1)}, {"a": row(5, n=2)}, {"a": row(2, n=3)}, {}] == found


async def test_partitions_are_saved_side_by_side(models: ReadModels, table: str) -> None:
    """Two workers with several partitions each, and several saves at once."""

    async def fill(model: SharedRows, partition: int) -> None:
        for nr in range(1, 6):
            await save(model, partition, {table: changes(**{f"k{n}": row(nr, n) for n in range(40)})})

    await asyncio.gather(*(fill(model, p) for p in range(4) for model in (models.one, models.two)))
    for partition in range(4):
        assert Checkpoint(5, 39, 5, 50) == (await models.one.places(partition))[table]
        assert len(await models.one.load(partition, table, [f"k{n}" for n in range(40)])) == 40


async def test_quarantine(models: ReadModels, table: str) -> None:
    """A key is in quarantine from the first event that waits until none does; it may come into it again."""
    place = Checkpoint(3, 0, 3, 30)

    async def after(**quarantined: Quarantined) -> dict[str, Quarantined]:
        await save(models.one, 3, {table: Changes(place, {}, quarantined)})
        return dict(await models.two.quarantined(3, table))

    a, b = Quarantined("order-3:2:1", "KeyError: 'x'", 1), Quarantined("order-3:3:0", "ValueError", 2, "order-3:3:1")
    assert {"a": a, "b": b} == await after(a=a, b=b)
    grown = Quarantined(a.position, a.error, 12, "order-3:2:12")
    assert {"a": grown, "b": b} == await after(a=grown)
    assert {"b": b} == await after(a=Quarantined("order-3:3:0", "", 0, "order-3:3:0"))
    assert {} == await after(b=Quarantined("order-3:3:1", "", 0, "order-3:3:1"))
    again = Quarantined("order-3:10:0", "KeyError: 'y'", 1)
    assert {"a": again} == await after(a=again)
    assert [{}, {}] == [await models.two.quarantined(4, table), await models.two.quarantined(3, new_table())]


async def test_a_key_that_waits_anew(models: ReadModels, table: str) -> None:
    """Folded from the log by new code it may wait at a later event, for another reason and with fewer behind it; the
    last one is the same. Where none waits, that counts."""
    for n, position in ((3, "order-3:1:0"), (2, "order-3:1:5"), (3, "order-3:1:0"), (1, "order-3:2:0")):
        it = Quarantined(position, f"error {n}", n, "order-3:2:0")
        await save(models.one, 3, {table: Changes(Checkpoint(3), {}, {"a": it})})
        assert {"a": it} == await models.two.quarantined(3, table)
    await save(
        models.two, 3, {table: Changes(Checkpoint(3), {}, {"a": Quarantined("order-3:2:0", "", 0, "order-3:2:0")})}
    )
    await save(models.one, 3, {table: Changes(Checkpoint(3), {}, {"a": it})})
    assert {} == await models.two.quarantined(3, table)


async def test_an_older_quarantine_changes_nothing(models: ReadModels, table: str) -> None:
    """A zombie neither brings a quarantine back that is over, nor ends one that began later."""
    place = Checkpoint(9, 0, 9, 90)
    released, newer = Quarantined("order-3:9:0", "", 0), Quarantined("order-3:1:4", "KeyError", 3, "order-3:8:4")
    await save(models.two, 3, {table: Changes(place, {}, {"a": released, "b": newer})})
    late = {"a": Quarantined("order-3:2:0", "KeyError", 3, "order-3:8:0"), "b": Quarantined("order-3:7:0", "", 0)}
    await save(models.one, 3, {table: Changes(Checkpoint(7), {}, late)})
    assert {"b": newer} == await models.two.quarantined(3, table)


async def test_drop(models: ReadModels, table: str) -> None:
    """All of a table in one partition is removed; other partitions and tables stay. Once more does nothing."""
    other = new_table()
    keys = [f"k{n}" for n in range(2500)]
    batch = Changes(
        Checkpoint(7), {key: row(7, n) for n, key in enumerate(keys)}, {"q": Quarantined("order-3:7:0", "x", 1)}
    )
    await save(models.one, 3, {table: batch, other: batch})
    await save(models.one, 4, {table: batch})
    for _ in range(2):
        await models.two.drop(3, table)
        assert table not in await models.one.places(3)
        assert {} == await models.one.load(3, table, keys)
        assert {} == await models.one.quarantined(3, table)
    for partition, name in ((3, other), (4, table)):
        assert Checkpoint(7) == (await models.one.places(partition))[name]
        assert batch.rows == await models.one.load(partition, name, keys)
        assert batch.quarantined == await models.one.quarantined(partition, name)
    await models.two.drop(5, new_table())


async def test_a_dropped_table_is_built_anew(models: ReadModels, table: str) -> None:
    """From the beginning of the log, at the positions that it had before, as often as one likes."""
    for n in range(4):
        for nr in (1, 2):
            batch = Changes(
                Checkpoint(nr), {"a": row(nr, n=n), f"k{n}": row(nr)}, {"q": Quarantined("order-3:1:0", "x", n + 1)}
            )
            await save(models.one, 3, {table: batch})
            assert {"a": row(nr, n=n), f"k{n}": row(nr)} == await models.two.load(
                3, table, ["a", *(f"k{i}" for i in range(4))]
            )
            assert Checkpoint(nr) == (await models.two.places(3))[table]
            assert batch.quarantined == await models.two.quarantined(3, table)
        await (models.one, models.two)[n % 2].drop(3, table)
