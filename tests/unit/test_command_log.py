"""What became of commands, as a worker keeps it for a day."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from projections.command_log import CommandLog, Entry, Place, Sent, Target, Unanswered, encode_sent, read_entry
from projections.unanswered import UnansweredCount
from streams.messages import AggregateRef, Error, Reply, encode_reply
from streams.topics import DAY


def sent(id: str, at: int, fingerprint: str = "1") -> Entry:
    """The record of a command that was sent."""
    value = encode_sent(Sent(id, Target("order", "7"), "PlaceOrder", Place("order-commands", 1, 5), fingerprint))
    return read_entry(value, at)[0]


def reply(id: str, at: int, status: str = "accepted") -> Entry:
    """The record of its reply."""
    error = None if status == "accepted" else Error("NoLines", "the order has no lines")
    return read_entry(encode_reply(Reply(id, status, AggregateRef("order", "7", 3), error=error)), at)[0]  # type: ignore[arg-type]


@pytest.fixture
def log(tmp_path: Path) -> CommandLog:
    """A new file."""
    log = CommandLog(lambda: tmp_path / "its" / "commands.sqlite")
    log.open("topic-1")
    return log


@pytest.mark.parametrize("swapped", [False, True])
def test_sent_and_answered(log: CommandLog, swapped: bool) -> None:
    """A command and its reply are found, whichever was read first."""
    entries = [sent("a", 1), reply("a", 2)]
    for entry in reversed(entries) if swapped else entries:
        log.write([entry], {}, 2)

    found = log.find("a")
    assert found is not None
    assert found.sent is not None
    assert found.reply is not None
    assert ("PlaceOrder", "accepted") == (found.sent.command, found.reply.status)
    assert [] == log.unanswered()
    assert None is log.find("b")


def test_unanswered(log: CommandLog) -> None:
    """What is written says which commands have no reply, and so does the file afterwards."""
    assert [Unanswered("a", "order", 1)] == log.write([sent("a", 1), reply("b", 2)], {}, 2)
    assert [] == log.write([sent("b", 3)], {}, 3)
    assert [Unanswered("a", "order", 1)] == log.unanswered()


def test_first_command_and_newest_reply(log: CommandLog) -> None:
    """Of commands with one id the first stands, of replies the newest."""
    log.write([sent("a", 1, "first"), sent("a", 2, "second"), reply("a", 3, "rejected"), reply("a", 4)], {}, 4)

    found = log.find("a")
    assert found is not None
    assert found.sent is not None
    assert found.reply is not None
    assert ("first", "accepted") == (found.sent.fingerprint, found.reply.status)


def test_day(log: CommandLog) -> None:
    """What is older than a day is removed, a command without a reply too."""
    log.write([sent("old", 1), sent("new", DAY)], {}, 2)
    log.write([], {}, DAY + 2)
    assert (None, [Unanswered("new", "order", DAY)]) == (log.find("old"), log.unanswered())


def test_opened_again(log: CommandLog, tmp_path: Path) -> None:
    """A worker that is started anew finds all, and where to read on."""
    log.write([sent("a", 1)], {0: 7, 3: 1}, 1)
    log.write([], {3: 2}, 1)
    log.close()

    again = CommandLog(lambda: tmp_path / "its" / "commands.sqlite")
    again.open("topic-1")
    assert ({0: 7, 3: 2}, ["a"]) == (again.offsets(), [command.id for command in again.unanswered()])


def test_another_topic(log: CommandLog) -> None:
    """When the topic was made anew its file begins anew."""
    log.write([sent("a", 1)], {0: 7}, 1)
    log.close()
    log.open("topic-2")
    assert ({}, None) == (log.offsets(), log.find("a"))


def test_damaged(log: CommandLog, tmp_path: Path) -> None:
    """A file that is damaged is made anew."""
    log.write([sent("a", 1)], {0: 7}, 1)
    log.close()
    (tmp_path / "its" / "commands.sqlite").write_bytes(b"nonsense" * 1_000)
    log.open("topic-1")
    assert {} == log.offsets()


@pytest.mark.parametrize("value", [b"", b"{}", b"5", b'{"status": "pending"}', b'{"status": "done"}', b"\xff"])
def test_what_is_no_record(value: bytes) -> None:
    """Anyone may write on a topic of replies: what is none is refused."""
    with pytest.raises(ValueError, match=r".+"):
        read_entry(value, 1)


def test_sent_as_json() -> None:
    """The record says `pending`."""
    value = sent("a", 1).sent
    assert value is not None
    assert "pending" == msgspec.json.decode(value)["status"]


def test_count() -> None:
    """A command counts once, until its reply, or until it is too old."""
    count = UnansweredCount()
    assert count.add("a", "order", 1)
    assert not count.add("a", "order", 5)
    count.add("b", "order", 2)
    count.add("c", "product", 3)
    assert (2, 1, 0) == (count["order"], count["product"], count["user"])

    count.remove("b")
    count.remove("b")
    count.remove_before(3)
    assert (0, 1) == (count["order"], count["product"])
