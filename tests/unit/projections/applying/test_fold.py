"""A batch of events and one table: each touched row once, nothing twice, nothing out of turn."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projections.applying.fold import FoldResult, MissingEvents, TableFold
from projections.projection import Projection, Row
from projections.stores.rows import Checkpoint, Quarantined
from streams.journal.port import Unavailable
from tests.flat_rows import GONE
from tests.unit.boxes import BANG, EMPTY, Boxes, Read, Stored, boxes, by_type, labelled, put, swapped


@pytest.fixture
def here() -> Boxes:
    return Boxes()


async def apply(here: Boxes, table: TableFold, events: Sequence[Read]) -> FoldResult | None:
    """As a processor does it."""
    folded = await table.fold(events)
    if folded is not None:
        await here.rows.save(0, {table.table: folded.changes})
        table.kept(folded)
    return folded


async def test_each_touched_row_is_loaded_and_kept_once(here: Boxes) -> None:
    """However many events of a batch are of one row."""
    for what in "abc":
        await here.write(("1", put(what)), ("2", put(what)))
    await apply(here, table := here.table(), await here.published())
    assert [["1", "2"]] == here.rows.loads
    row = {"in": ["a", "b", "c"], "position": "box-0:3:0", "sequence": 3}
    assert {"1": row, "2": {**row, "position": "box-0:3:1"}} == here.rows.rows("boxes-1")
    assert Checkpoint(3, 1, 3, 6) == table.place == here.rows.place("boxes-1")


async def test_a_place_is_whole_when_its_commit_is(here: Boxes) -> None:
    """Amid a commit only the commits before it are complete."""
    await here.write(("1", put("a")))
    await here.write(("1", put("b")), ("2", put("b")))
    table = here.table()
    await apply(here, table, await here.published(0, 2))
    assert Checkpoint(2, 0, 1, 2) == table.place
    await apply(here, table, await here.published(2))
    assert Checkpoint(2, 1, 2, 3) == table.place


async def test_a_late_duplicate_takes_nothing_back(here: Boxes) -> None:
    """An event that was published again behind newer ones is left out, in the same batch and in a later one."""
    one = await here.write(("1", put("a")))
    await here.write(("1", put("b")))
    await here.publish(one)
    table = here.table()
    await apply(here, table, await here.published())
    assert (here.expected(), Checkpoint(2, 0, 2, 2)) == (here.rows.rows("boxes-1"), table.place)
    assert await apply(here, table, await here.published(2)) is None
    assert (here.expected(), Checkpoint(2, 0, 2, 2)) == (here.rows.rows("boxes-1"), table.place)


async def test_folding_changes_nothing_before_it_is_kept(here: Boxes) -> None:
    """A batch that the store does not take is folded again, from the same place, to the same rows."""
    await here.write(("1", put("a")), ("2", BANG))
    table = here.table()
    first = await table.fold(await here.published())
    assert (Checkpoint(), {}, {}) == (table.place, table.quarantined, here.rows.rows("boxes-1"))
    again = await apply(here, table, await here.published())
    assert first == again


async def test_rows_that_were_kept_before_their_place_was_known(here: Boxes) -> None:
    """When the answer of the store was lost, the events come again to rows that have them."""
    await here.write(("1", put("a")), ("1", put("b")))
    await apply(here, here.table(), await here.published())
    forgetful = here.table()
    await apply(here, forgetful, await here.published())
    assert (here.expected(), Checkpoint(1, 1, 1, 2)) == (here.rows.rows("boxes-1"), forgetful.place)


@pytest.mark.parametrize("sequence", [2, 3])
async def test_a_missing_event_is_noticed(here: Boxes, sequence: int) -> None:
    """An aggregate's sequence that jumps is no event of its row: it says which, and nothing is folded."""
    await here.write(("2", put("a")))
    for what in "abc":
        await here.write(("1", put(what)))
    events = await here.published()
    said = f"boxes-1: box 1 stands at sequence 0, box-0:{1 + sequence}:0 brings {sequence}"
    with pytest.raises(MissingEvents, match=said) as missing:
        await here.table().fold([events[0], *events[sequence:]])
    assert (1 + sequence, 0) == missing.value.at


async def test_rows_of_a_local_projection(here: Boxes) -> None:
    """They have no sequence, and an event may touch several of them, or none."""
    await here.write(("1", labelled()), ("1", put("a")), ("2", swapped("b")))
    await apply(here, table := here.table(by_type), await here.published())
    assert {
        "Put": {"type": "Put", "count": 2, "position": "box-0:1:2"},
        "Emptied": {"type": "Emptied", "count": 1, "position": "box-0:1:2"},
    } == here.rows.rows("by-type-1")
    assert Checkpoint(1, 2, 1, 3) == table.place


async def test_a_removed_row_leaves_its_place(here: Boxes) -> None:
    """What is left says how far it was, and the next event begins a new row there."""
    await here.write(("1", put("a")), ("1", EMPTY))
    await apply(here, table := here.table(), await here.published())
    assert {"1": {GONE: True, "position": "box-0:1:1", "sequence": 2}} == here.rows.rows("boxes-1")
    await here.write(("1", put("b")))
    await apply(here, table, await here.published(2))
    assert {"1": {"in": ["b"], "position": "box-0:2:0", "sequence": 3}} == here.rows.rows("boxes-1")


# -- quarantine and skips ------------------------------------------------------------------------------


async def test_a_projection_that_raises_stops_one_row(here: Boxes) -> None:
    """Its row stays as it was, this event and all later ones of the key wait and are counted; other keys go on."""
    await here.write(("1", put("a")), ("2", put("b")), ("1", BANG), ("1", put("c")), ("2", put("d")))
    table = here.table()
    folded = await apply(here, table, await here.published())
    assert folded is not None
    error = "TypeError: no rule for Bomb"
    assert {"1": Quarantined("box-0:1:2", error, 2, "box-0:1:3")} == table.quarantined
    assert [("1", error, "box-0:1:2"), ("1", error, "box-0:1:3")] == [
        (key, reason, event.origin.position) for event, key, reason in folded.waiting
    ]
    assert here.expected() == here.rows.rows("boxes-1")
    assert ["a"] == here.rows.rows("boxes-1")["1"]["in"]
    await here.write(("1", put("e")), ("2", put("f")))
    await apply(here, table, await here.published(5))
    assert (3, "box-0:1:2") == (table.quarantined["1"].events, table.quarantined["1"].position)
    assert ["b", "d", "f"] == here.rows.rows("boxes-1")["2"]["in"]


async def test_who_reads_the_store_again_waits_too(here: Boxes) -> None:
    """The quarantine is kept with the place: another worker goes on with the same count."""
    await here.write(("1", put("a")), ("1", BANG))
    await apply(here, here.table(), await here.published())
    other = here.table()
    other.place = here.rows.place("boxes-1") or Checkpoint()
    other.quarantined = dict(await here.rows.quarantined(0, "boxes-1"))
    await here.write(("1", put("b")))
    await apply(here, other, await here.published())
    assert 2 == other.quarantined["1"].events


async def test_the_first_event_of_a_row_raises(here: Boxes) -> None:
    """There is no row then, and its sequence is not missed."""
    await here.write(("1", BANG), ("1", put("a")), ("1", put("b")))
    await apply(here, table := here.table(), await here.published())
    assert (3, {}) == (table.quarantined["1"].events, here.rows.rows("boxes-1"))


async def test_a_position_that_is_skipped(here: Boxes) -> None:
    """The event is left out of the row, which counts it all the same."""
    await here.write(("1", put("a")), ("1", BANG), ("1", put("b")))
    table = here.table()
    table.skips = {"box-0:1:1": "a bomb"}
    await apply(here, table, await here.published())
    assert {"1": {"in": ["a", "b"], "position": "box-0:1:2", "sequence": 3}} == here.rows.rows("boxes-1")
    assert {} == table.quarantined


async def test_the_very_first_event_is_skipped(here: Boxes) -> None:
    """It leaves a row that no query sees."""
    await here.write(("1", BANG))
    table = here.table()
    table.skips = {"box-0:1:0": "a bomb"}
    await apply(here, table, await here.published())
    assert {"1": {GONE: True, "position": "box-0:1:0", "sequence": 1}} == here.rows.rows("boxes-1")


async def test_a_store_that_is_down(here: Boxes) -> None:
    """Is told, and nothing is changed."""
    await here.write(("1", put("a")))
    here.rows.down, table = True, here.table()
    with pytest.raises(Unavailable):
        await table.fold(await here.published())
    assert Checkpoint() == table.place


# -- all together --------------------------------------------------------------------------------------

KINDS: list[Stored] = [put("a"), put("b"), EMPTY, BANG, labelled(), swapped("c")]
commits = st.lists(
    st.lists(st.tuples(st.sampled_from("123"), st.sampled_from(KINDS)), min_size=1, max_size=3), max_size=8
)


@settings(max_examples=150, deadline=None)
@given(commits, st.data())
async def test_any_batches_with_any_duplicates(log: list[list[tuple[str, Stored]]], data: st.DataObject) -> None:
    """However events are cut into batches, with parts of them delivered again, and whenever an answer of the store is
    lost or the worker begins anew: the rows are those of the log, and each waiting event is counted once."""
    here = Boxes()
    for events in log:
        await here.write(*events)
    records = await here.published()
    projection: Projection = data.draw(st.sampled_from([boxes, by_type]))
    table, at = here.table(projection), 0
    while at < len(records):
        start = data.draw(st.integers(0, at))
        end = data.draw(st.integers(at + 1, len(records)))
        folded = await table.fold(records[start:end])
        before, at = at, end
        if folded is None:
            continue
        await here.rows.save(0, {table.table: folded.changes})
        match data.draw(st.sampled_from(["kept", "kept", "answer lost", "begun anew"])):
            case "kept":
                table.kept(folded)
            case "answer lost":
                at = before
            case "begun anew":
                table = here.table(projection)
                table.place = here.rows.place(table.table) or Checkpoint()
                table.quarantined = dict(await here.rows.quarantined(0, table.table))
    expected: dict[str, Row] = here.expected(projection)
    assert expected == here.rows.rows(table.table)
    waiting = [
        event.aggregate_id
        for commit in here.log
        for event in commit.events
        if event.sequence > expected.get(event.aggregate_id, {"sequence": 0}).get("sequence", 0)
    ]
    if projection is boxes:
        assert {key: waiting.count(key) for key in waiting} == {
            key: it.events for key, it in (await here.rows.quarantined(0, table.table)).items()
        }
