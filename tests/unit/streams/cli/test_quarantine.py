"""`faust quarantine`: why an aggregate is in quarantine, and what waits for it."""

from __future__ import annotations

import msgspec

from streams.cli import quarantine
from streams.deciding.messages import Message
from streams.deciding.quarantine import QuarantineReason, pack
from streams.journal.port import Commit, RecordedEvent, SliceHead, Snapshot
from tests.unit.streams.cli.orders_context import AT, SLICE, FakeContext


async def test_quarantine_of_an_aggregate(context: FakeContext) -> None:
    """The quarantine of an aggregate is read from its notes, after its snapshot, and shown with all that wait."""
    journal = context.journal()
    reason = msgspec.json.encode(QuarantineReason("DomainError", "Bug: no", AT, 9))
    message = Message(SLICE, 10, b"536365", b'{"sku": 1}', [("ce_type", b"AddLine")], AT.timestamp())
    notes = (
        RecordedEvent("536365", 2, "#quarantined", reason, "c9"),
        RecordedEvent("536365", 2, "#parked", pack(message), "c10"),
    )
    assert await quarantine.quarantine_of(journal, "order", "536365") is None
    commit = Commit("order@0", 3, 1, "o", "t", {SLICE: SliceHead(10, 2)}, 0, AT, notes)
    await journal.append(commit)
    await journal.derive([commit])
    await journal.save_snapshots("order", [Snapshot("536365", 2, 2, 1, b"")])
    found = await quarantine.quarantine_of(journal, "order", "536365")
    assert found is not None
    shown = quarantine.quarantine_details("536365", found, "3:17")
    assert ("c9", "3:17", "2026-11-23T09:30:00Z") == (shown["command_id"], shown["dead_letter"], shown["since"])
    assert {
        "command_id": "c10", "type": "AddLine", "offset": 10, "sent": "2026-11-23T09:30:00Z", "value": {"sku": 1},
    } == shown["waiting"][0]  # fmt: skip
    row = dict(zip(quarantine.COLUMNS, quarantine.row("536365", found, "3:17"), strict=True))
    assert (1, "DomainError: Bug: no") == (row["waiting"], row["failure"])
    await journal.save_snapshots("order", [Snapshot("536365", 2, 3, 1, b"")])
    assert await quarantine.quarantine_of(journal, "order", "536365") is None
