"""What is personal in a row is opened for who may read it, and only there."""

from __future__ import annotations

import msgspec

from aggregates.personal import Sealed
from projections.views.personal_rows import opened_row
from schemas.sealing import token
from tests.in_the_clear import InTheClear
from tests.unit.streams.keys_world import Workers


def row(*subjects: str) -> bytes:
    """The JSON of a row that has a value of each, in a list, and one beside."""
    names = [{"sealed": token(Sealed("user", it, 1, "name", it, it.encode()))} for it in subjects]
    return msgspec.json.encode({"id": "1", "names": names, "first": names[0], "sealed": "not a value"})


async def test_values_are_opened_wherever_they_stand() -> None:
    """What was forgotten is said to be erased, and makes another representation of the row."""
    opened = await opened_row(row("ada", "bob"), InTheClear())
    found = {"id": "1", "names": ["ada", "bob"], "first": "ada", "sealed": "not a value"}
    assert (found, 0, b"") == (msgspec.json.decode(opened.json), opened.erased, opened.mark)
    without = await opened_row(row("ada", "bob"), InTheClear("bob"))
    assert ["ada", {"erased": True}] == msgspec.json.decode(without.json)["names"]
    again = await opened_row(without.json, InTheClear())
    assert (1, 0) == (without.erased, again.erased)
    assert without.mark != opened.mark


async def test_without_keys_a_row_stays_as_it_is() -> None:
    """A row of a type without anything personal is not even looked at."""
    assert row("ada") == (await opened_row(row("ada"), None)).json
    plain = b'{"id":"1"}'
    assert plain is (await opened_row(plain, InTheClear())).json


async def test_what_the_key_does_not_open_stays_sealed() -> None:
    """A value of another journal is seen to be there."""
    keys = Workers().one
    await keys.fetch(["ada"], create=True)
    envelope = b"\xf8\x01" + b"\x00\x00\x00\x01" + bytes(40)
    strange = {"sealed": token(Sealed("user", "ada", 1, "name", "ada", envelope))}
    opened = await opened_row(msgspec.json.encode({"name": strange}), keys)
    assert {"name": strange} == msgspec.json.decode(opened.json)
