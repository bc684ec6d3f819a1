"""All that a process of each role does with a journal, in one go: with what it is granted it can, and not without."""

from __future__ import annotations

from datetime import UTC, datetime

from streams.journal.commit_codec import COMMIT_SCHEMAS
from streams.journal.grants import Role
from streams.journal.layout import first_layout
from streams.journal.port import Commit, Identity, Journal, Published, RecordedEvent, SliceHead, Snapshot

PARTITIONS = 8
EVENT = RecordedEvent("A-1", 1, "LineAdded", b"\xc3\x01data", "command-1", "", "", "")


async def use(journal: Journal, role: Role) -> None:
    """Read everything; write what the role writes. May be repeated. Raises `NotPermitted`."""
    await read(journal)
    if role is Role.OWNER:
        await own(journal)
    elif role is Role.TAIL:
        await journal.save_published("order@0", Published(1, -1))


async def read(journal: Journal) -> None:
    await journal.identity()
    await journal.layout("order")
    head = await journal.head("order@0")
    await journal.commits("order@0", 0, 10)
    await journal.events("order", "A-1")
    await journal.snapshot("order", "A-1")
    await journal.published("order@0")
    await journal.schemas()
    assert head is None or head.nr >= 1


async def own(journal: Journal) -> None:
    identity = Identity(context="orders", namespace="", partitions=PARTITIONS, cluster="")
    await journal.claim(identity)
    await journal.change_layout("order", first_layout(PARTITIONS, 2))
    await journal.save_schemas({**COMMIT_SCHEMAS, f"{datetime.now(UTC).timestamp():016.4f}"[-16:]: "{}"})
    head = await journal.head("order@0")
    nr = 1 if head is None else head.nr + 1
    snapshot = Snapshot("A-1", 1, nr, 1, b"state")
    moment = datetime(2011, 5, 31, tzinfo=UTC)
    commit = Commit("order@0", nr, 1, "a", "topic", {0: SliceHead(nr, nr)}, nr - 1, moment, (EVENT,))
    await journal.append(commit, [snapshot])
    await journal.derive([commit])
    await journal.save_snapshots("order", [snapshot])
