"""What is known of a subject, and of an erasure what was done where, and by when the last copy is dead: for who has
asked, and for an auditor."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from streams.keys.keys import SWEEPS_A_LEASE, Keys
from streams.keys.records import SubjectKey

SubjectState = Literal["unknown", "living", "erased", "allowed"]


class Effect(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an erasure does at one place.

    done    in words
    by      from when on that is so, at the latest; without it from the moment on at which somebody does it: see `done`
    """

    where: str
    done: str
    by: datetime | None = None


class Receipt(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of a subject.

    state           unknown: nothing was ever sealed for it; allowed: erased, and may have another key
    keys            how many it has had
    erasures        how often it was erased
    since           of the state
    reason          why it was erased, or allowed again
    fingerprint     of its last key, by which it is known and cannot be found
    key_management  who wraps keys
    effects         of an erasure, what was done where
    dry_run         nothing was done: this is what an erasure would do
    """

    subject: str
    state: SubjectState
    keys: int = 0
    erasures: int = 0
    since: datetime | None = None
    reason: str = ""
    fingerprint: str = ""
    key_management: str = ""
    effects: Sequence[Effect] = ()
    dry_run: bool = False


async def receipt(
    keys: Keys, subject: str, key: SubjectKey | None, *, told: bool | None = None, at: datetime | None = None
) -> Receipt:
    """What is known of a subject by its key. `told` says whether process managers were; None: that is not known. `at`
    is when an erasure would be done that is only tried. Raises `Unavailable`."""
    known = Receipt(subject, "unknown") if key is None else _known(subject, key)
    if at is None and (key is None or key.has_key):
        return known
    since = at or (key.at if key is not None else None)
    assert since is not None, "it is erased, or tried"
    dead = await keys.dead_by(since)
    effects = [
        Effect("key", "the fence stands where it was: it is not handed out any more, and never made again", since),
        Effect(
            "workers",
            "nothing more is sealed or read, and what was open is out of memory",
            since + timedelta(seconds=keys.lease * (2 + 1 / SWEEPS_A_LEASE)),
        ),
        Effect(
            "journals, topics, snapshots, tables, changelogs, read models",
            "they hold the sealed form, which nothing opens",
            since + timedelta(seconds=keys.lease),
        ),
        Effect("copies of the key", "dead with the next renewal: no backup, replica or old file opens", dead),
        Effect("process managers", _TOLD[told]),
    ]
    return msgspec.structs.replace(known, effects=effects, key_management=str(keys.management), dry_run=at is not None)


_TOLD = {
    True: "told: SubjectForgotten is in the log of subjects",
    False: "will be told by SubjectForgotten, as soon as a worker of `subject` has done the order",
    None: "hear SubjectForgotten, where a worker of `subject` runs",
}


def _known(subject: str, key: SubjectKey) -> Receipt:
    return Receipt(
        subject,
        "living" if key.has_key else "erased" if key.state == "erased" else "allowed",
        key.number,
        key.erasures,
        key.at,
        key.reason,
        key.fingerprint.hex(),
    )
