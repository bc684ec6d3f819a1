"""The receipt of an erasure says what was done, and by when the last copy is dead."""

from __future__ import annotations

from streams.cli.persons.subjects import receipt
from tests.unit.streams.keys_world import Workers


async def test_a_receipt_says_when_the_last_copy_is_dead() -> None:
    """Of somebody unknown, of somebody with a key, and of somebody who was forgotten."""
    keys = Workers().one
    assert (await receipt(keys, "U1", await keys.look("U1")))["state"] == "unknown"
    await keys.fetch(["U1"], create=True)
    living = await receipt(keys, "U1", await keys.look("U1"))
    assert (living["state"], living["keys"]) == ("living", 1)
    erased = await receipt(keys, "U1", await keys.erase("U1", "asked for"))
    assert (erased["state"], erased["reason"], erased["fingerprint"]) == ("erased", "asked for", living["fingerprint"])
    assert "60 s" in erased["workers"]
    assert "due 20" in erased["copies_of_the_key"]
