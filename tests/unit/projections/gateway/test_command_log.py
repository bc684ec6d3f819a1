"""What became of commands, as a worker keeps it for a day."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import permutations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from projections.gateway.command_log import CommandLog
from projections.gateway.command_records import (
    NOT_YET,
    CommandAggregate,
    KafkaPosition,
    LogEntry,
    PendingCommand,
    SentCommand,
    encode_sent,
    read_entry,
)
from projections.gateway.pending_commands import LostReplies, PendingCommands
from streams.deciding.messages import AggregateRef, Error, Reply, encode_reply
from streams.journal.memory import MemoryJournal
from streams.journal.port import Commit, SliceHead, Unavailable
from streams.kafka.topics import DAY
from tests.layouts import logs_of


def sent(id: str, at: int, fingerprint: str = "1") -> LogEntry:
    """The record of a command that was sent."""
    return read_entry(encode_sent(a_command(id, fingerprint=fingerprint)), at)[0]


def a_command(id: str, type: str = "order", fingerprint: str = "1", offset: int = 5) -> SentCommand:
    """A command that was sent."""
    return SentCommand(
        id, CommandAggregate(type, "7"), "PlaceOrder", KafkaPosition(f"{type}-commands", 1, offset), fingerprint
    )


def reply(
    id: str, at: int, status: Any = "accepted", why: str = "NoLines", order: str = "7", command: str = ""
) -> LogEntry:
    """The record of its reply."""
    error = None if status == "accepted" else Error(why, "the order has no lines")
    told = Reply(id, status, AggregateRef("order", order, 3), error=error, command=command)
    return read_entry(encode_reply(told), at)[0]


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
    assert [] == log.pending()
    assert None is log.find("b")


def test_unanswered(log: CommandLog) -> None:
    """What is written says which commands have no reply, and so does the file afterwards."""
    assert [PendingCommand(a_command("a"), 1)] == log.write([sent("a", 1), reply("b", 2)], {}, 2)
    assert [] == log.write([sent("b", 3)], {}, 3)
    assert [PendingCommand(a_command("a"), 1)] == log.pending()


def test_first_command_and_newest_reply(log: CommandLog) -> None:
    """Of commands with one id the first stands, of replies the newest."""
    log.write([sent("a", 1, "first"), sent("a", 2, "second"), reply("a", 3, "rejected"), reply("a", 4)], {}, 4)

    found = log.find("a")
    assert found is not None
    assert found.sent is not None
    assert found.reply is not None
    assert ("first", "accepted") == (found.sent.fingerprint, found.reply.status)


@pytest.mark.parametrize("swapped", [False, True])
def test_a_refusal_of_another_command(log: CommandLog, swapped: bool) -> None:
    """That an id was used before for the first command is not what became of the first."""
    entries = [reply("a", 2), reply("a", 3, "failed", "IdUsedBefore")]
    log.write([sent("a", 1), *(reversed(entries) if swapped else entries)], {}, 4)

    found = log.find("a")
    assert found is not None
    assert found.reply is not None
    assert "accepted" == found.reply.status


def test_each_command_has_its_reply(log: CommandLog) -> None:
    """In whatever order the records come: what is known of an id is its first command, and the reply to that; of
    another aggregate, to another command, or that refuses another one, a reply is none."""
    right = reply("a", 4, "rejected", command="PlaceOrder")
    others = [
        reply("a", 5, order="8", command="PlaceOrder"),
        reply("a", 6, "failed", "IdUsedBefore", command="CancelOrder"),
        reply("a", 7, command="AddLine"),
    ]
    for number, entries in enumerate(permutations([sent("a", 1), *others])):
        log.write([entry._replace(id=f"a{number}") for entry in entries], {}, 7)
        found = log.find(f"a{number}")
        assert found is not None
        assert (a_command("a"), None) == (found.sent, found.reply)
    for number, entries in enumerate(permutations([sent("a", 1), right, *others])):
        log.write([entry._replace(id=f"b{number}") for entry in entries], {}, 7)
        found = log.find(f"b{number}")
        assert found is not None
        assert found.reply is not None
        assert ("rejected", "PlaceOrder") == (found.reply.status, found.reply.command)
    assert {1} == {command.at for command in log.pending()}
    assert 24 == len(log.pending())


def test_one_id_for_two_aggregates(log: CommandLog) -> None:
    """What the other one waits for does not depend on the first's reply."""
    other = a_command("a", "product")
    entries = [reply("a", 1), read_entry(encode_sent(other), 2)[0], sent("a", 3)]
    assert [PendingCommand(other, 2)] == log.write(entries, {}, 3)
    assert [PendingCommand(other, 2)] == log.pending()


def test_day(log: CommandLog) -> None:
    """What is older than a day is removed, a command without a reply too."""
    log.write([sent("old", 1), sent("new", DAY)], {}, 2)
    log.write([], {}, DAY + 2)
    assert (None, [PendingCommand(a_command("new"), DAY)]) == (log.find("old"), log.pending())


def test_opened_again(log: CommandLog, tmp_path: Path) -> None:
    """A worker that is started anew finds all, and where to read on."""
    log.write([sent("a", 1)], {0: 7, 3: 1}, 1)
    log.write([], {3: 2}, 1)
    log.close()

    again = CommandLog(lambda: tmp_path / "its" / "commands.sqlite")
    again.open("topic-1")
    assert ({0: 7, 3: 2}, ["a"]) == (again.offsets(), [command.sent.command_id for command in again.pending()])


def test_for_its_owner_alone(log: CommandLog, tmp_path: Path) -> None:
    """Nobody else on the machine reads what was sent, also where an older version has made the file."""
    folder = tmp_path / "its"
    log.close()
    (folder / "commands.sqlite").chmod(0o644)
    log.open("topic-1")
    assert {0o600} == {file.stat().st_mode & 0o777 for file in folder.iterdir()}


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


async def test_slots_of_lost_replies() -> None:
    """A command whose reply is lost counts until the log is past it in its slice, at two looks; one that is not
    decided, or whose place nobody knows, goes on counting."""
    journal, count = MemoryJournal(), PendingCommands()
    await journal.create()
    heads = {0: SliceHead(9), 1: SliceHead(5)}
    await journal.append(Commit("order@0", 1, 1, "o", "t", heads, 0, datetime(2026, 1, 1, tzinfo=UTC)))
    lost = LostReplies(count, {"order": logs_of(journal, "order", slices=2)})
    for id, offset in (("done", 5), ("waits", 6), ("new", 4), ("nowhere", NOT_YET)):
        count.add(a_command(id, offset=offset), 9 if id == "new" else 1)
    await lost.look(5)
    assert 4 == count["order"]
    await lost.look(5)
    assert (3, False, True) == (count["order"], "done" in count, "waits" in count)
    count.add(a_command("done", offset=7), 1)  # sent again
    await lost.look(5)
    await lost.look(5)
    assert "done" in count


async def test_a_journal_that_does_not_answer_frees_nothing() -> None:
    """Who cannot tell how far the log is lets all count."""
    down: Any = SimpleNamespace(head=does_not_answer)
    count = PendingCommands()
    count.add(a_command("a"), 1)
    lost = LostReplies(count, {"order": logs_of(down, "order", slices=2)})
    for _ in range(3):
        await lost.look(5)
    assert "a" in count


async def does_not_answer(log: str, after: int) -> None:
    """A journal that is down."""
    raise Unavailable("down")


def test_what_counts_is_known() -> None:
    """Of a command without a reply it is known what it is, before its note is read; the first with its id stands."""
    count = PendingCommands()
    first = a_command("a", offset=NOT_YET)
    count.add(first, 1)
    count.add(a_command("a", fingerprint="2", offset=3), 2)
    assert first == count.sent("a")
    count.add(a_command("a", offset=5), 2)
    assert a_command("a", offset=5) == count.sent("a")
    assert None is count.sent("b")


def test_count() -> None:
    """A command counts once, until its reply, or until it is too old."""
    count = PendingCommands()
    assert count.add(a_command("a"), 1)
    assert not count.add(a_command("a"), 5)
    count.add(a_command("b"), 2)
    count.add(a_command("c", "product"), 3)
    assert (2, 1, 0) == (count["order"], count["product"], count["user"])

    count.remove("b")
    count.remove("b")
    count.remove_before(3)
    assert (0, 1) == (count["order"], count["product"])


def test_a_slot_is_freed_by_its_reply() -> None:
    """Not by that of another aggregate, or to another command, with the same id."""
    count = PendingCommands()
    count.add(a_command("a"), 1)
    for order, command in (("8", "PlaceOrder"), ("7", "CancelOrder")):
        count.answered(Reply("a", "accepted", AggregateRef("order", order, 1), command=command))
    assert "a" in count
    count.answered(Reply("a", "accepted", AggregateRef("order", "7", 1), command="PlaceOrder"))
    assert (False, 0) == ("a" in count, count["order"])
