"""The receipt of an erasure says what was done where, and by when the last copy is dead."""

from __future__ import annotations

from datetime import timedelta

from streams.keys.receipt import receipt
from streams.moments import now
from tests.unit.streams.keys_world import Workers


async def test_a_receipt_says_when_the_last_copy_is_dead() -> None:
    """Of somebody unknown, of somebody with a key, of one who would be forgotten, and of one who was."""
    keys = Workers().one
    assert (await receipt(keys, "U1", await keys.look("U1"))).state == "unknown"
    await keys.fetch(["U1"], create=True)
    living = await receipt(keys, "U1", await keys.look("U1"))
    assert (living.state, living.keys, living.effects) == ("living", 1, ())
    tried = await receipt(keys, "U1", await keys.look("U1"), at=now())
    assert (tried.state, tried.dry_run, len(tried.effects)) == ("living", True, 5)
    key = await keys.erase("U1", "asked for", 1)
    erased = await receipt(keys, "U1", key, told=True)
    assert (erased.state, erased.reason, erased.fingerprint) == ("erased", "asked for", living.fingerprint)
    assert (erased.erasures, erased.dry_run) == (1, False)
    by = {effect.where: effect.by for effect in erased.effects}
    assert by["key"] == key.at
    assert by["workers"] == key.at + timedelta(seconds=2.25 * keys.lease)
    assert by["copies of the key"] == await keys.dead_by()
    assert erased.effects[-1].done.startswith("told")
    await keys.renew()
    renewed = {effect.where: effect.by for effect in (await receipt(keys, "U1", await keys.look("U1"))).effects}
    dead = renewed["copies of the key"]
    assert dead is not None
    assert key.at < dead <= now()
