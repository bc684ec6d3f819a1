"""Whatever stands in one message of a command topic, it is answered or kept, and those behind it are decided."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from aiokafka.structs import TopicPartition

from streams.deciding import command_handler, quarantine_policy
from streams.deciding.command_handler import CommandHandler
from streams.deciding.messages import Message, command_headers, message_of, read_envelope
from streams.deciding.orders import RELEASE
from streams.journal.port import Unavailable
from streams.kafka.fetching.batches import unreadable_record
from streams.limits import Limits
from tests.unit.ledgers import Ledgers, Make

ON = Limits(group_linger=0.001, quarantine=True)
DEEP = b"[" * 50_000 + b"]" * 50_000
HEADERS = command_headers("c0", "Post", "/test", "replies")


@pytest.fixture
async def it(make: Make) -> Ledgers:
    """Ledgers with quarantine."""
    return await make(ON)


def put(it: Ledgers, **changes: Any) -> None:
    """A message that is right but for these fields."""
    right = Message(0, len(it.topic), b"a", b'{"amount": 1}', HEADERS, 1.0)
    changed = msgspec.structs.replace(right, **changes)
    it.topic.append(Message(*(getattr(changed, name) for name in Message.__struct_fields__[:-1])))


@pytest.mark.parametrize(
    "changes",
    [
        {"headers": (), "value": b'{"type":"Post","data":' + DEEP + b"}"},
        {"value": DEEP},
        {"value": b'{"amount": 1, "x": ' + DEEP + b"}"},
        {"headers": command_headers("c0", RELEASE, "/test", "replies"), "value": b'{"command_id":' + DEEP + b"}"},
        {"headers": command_headers("c0", RELEASE, "/test", "replies"), "value": b'{"command_id":"\xff"}'},
        {"headers": (), "value": b'{"type":"\xff"}'},
        {"timestamp": 1.7e12},
        {"timestamp": -1.0},
        {"headers": [*HEADERS, ("ce_id", b"other")]},
        {"headers": [("ce_type", None)]},
        {"key": b"\xff"},
        {"key": None, "value": None, "headers": (), "unreadable": "it unpacks to more than 3 bytes"},
    ],
)
async def test_one_message_is_its_own_failure(it: Ledgers, changes: dict[str, Any]) -> None:
    """A message that cannot be read is a dead letter, never quarantines, and its partition goes on."""
    put(it, **changes)
    it.write("a", "Post", amount=3)
    await it.settled()
    [(envelope, failure)] = it.outbox.letters
    assert ("Unreadable", 0, False) == (failure.type, envelope.offset, failure.quarantines)
    assert (3,) == await it.posted("a")
    assert changes.get("unreadable", "") in failure.message


def test_a_record_that_could_not_be_read() -> None:
    """What stands for it becomes a message that says why."""
    record = unreadable_record(TopicPartition("ledger-commands", 0), 3, 7, -1, "it is not what zstd makes")
    message = message_of(record)
    assert (7, None, None) == (message.offset, message.key, message.value)
    assert "what stands at offsets 3 to 7: it is not what zstd makes" == message.unreadable


async def test_a_bug_of_reading(it: Ledgers, monkeypatch: pytest.MonkeyPatch) -> None:
    """What reading one message raises, whatever it is, is that message's failure, kept with its trace."""

    def moody(message: Message, default_id: str) -> Any:
        if message.value == b"moody":
            raise LookupError("nobody thought of this")
        return read_envelope(message, default_id)

    monkeypatch.setattr(command_handler, "read_envelope", moody)
    put(it, value=b"moody")
    it.write("a", "Post", amount=3)
    await it.settled()
    [(envelope, failure)] = it.outbox.letters
    assert ("t1/0/0/1.000", "Unreadable") == (envelope.id, failure.type)
    assert "LookupError: nobody thought of this" in failure.message
    assert "in moody" in failure.trace
    assert (3,) == await it.posted("a")


async def test_a_bug_of_deciding(it: Ledgers, monkeypatch: pytest.MonkeyPatch) -> None:
    """So is what deciding it raises before anything has changed."""

    def moody(*_: Any) -> Any:
        raise LookupError("nobody thought of this")

    monkeypatch.setattr(quarantine_policy, "poison_of", moody)
    it.write("a", RELEASE)
    it.write("a", "Post", amount=3)
    await it.settled()
    [(_, failure)] = it.outbox.letters
    assert ("DomainError", True) == (failure.type, "in moody" in failure.trace)
    assert (3,) == await it.posted("a")


async def test_what_concerns_the_journal_is_no_failure(it: Ledgers, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal that does not answer is nobody's dead letter: the owner begins anew."""

    def away(*_: Any) -> Any:
        raise Unavailable("not now")

    monkeypatch.setattr(CommandHandler, "decide", away)
    it.write("a", "Post", amount=3)
    await it.owner.deliver(0, [it.topic[0]])
    assert it.owner.running is not None
    await it.owner.running
    assert ([], False) == (it.outbox.letters, it.owner.is_owner)
