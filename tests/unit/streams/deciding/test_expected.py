"""What a command says of itself beside its data: where it expects its aggregate, and that it is the one of its id."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, make_dataclass
from datetime import timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from aggregates.decider import Decider
from schemas.codec import Codec
from streams.deciding.cache import Aggregate
from streams.deciding.command_codec import CommandCodec
from streams.deciding.loading import load_aggregate
from streams.deciding.messages import AVRO, Message, command_headers, read_envelope
from streams.journal.port import RecordedEvent
from streams.journal.snapshots import form_of
from streams.limits import Limits
from tests.unit.ledgers import Make
from tests.unit.moments import COMMANDS, NOW, Desk, SetAmount, moment

OTHER = ("failed", ("IdUsedBefore",))
FIRST = ("accepted", ("AmountSet",))


@pytest.mark.parametrize(
    ("events", "expected", "status"),
    [
        (0, "0", "accepted"),
        (0, "*", "rejected"),
        (0, "1", "rejected"),
        (3, "3", "accepted"),
        (3, "*", "accepted"),
        (3, "0", "rejected"),
        (3, "2", "rejected"),
        (3, "9223372036854775807", "rejected"),
        *((3, odd, "failed") for odd in ("03", "-1", "3.0", "٣", "three", " 3", "**", '"3"', "9" * 5_000)),
    ],
)
async def test_an_expected_sequence(events: int, expected: str, status: str) -> None:
    """A number is the aggregate's sequence, 0 one that does not exist, `*` one that does; else nothing is written, and
    the reply says where the aggregate is."""
    desk = Desk()
    if events:
        await desk.told("Repeat", {"times": events})
    [verdict] = await desk.decide(desk.envelope("Tell", expected_sequence=expected))
    reply = verdict.reply
    assert reply is not None
    assert status == reply.status
    assert events + (status == "accepted") == reply.aggregate.sequence
    if status == "accepted":
        return
    assert not verdict.rows
    assert reply.error is not None
    if status == "rejected":
        wanted = "an aggregate that exists" if expected == "*" else f"sequence {expected}"
        said = f"the aggregate is at sequence {events}, the command expects {wanted}"
        assert ("UnexpectedSequence", said) == (reply.error.type, reply.error.message)
    else:
        assert "Unreadable" == reply.error.type
        assert len(reply.error.message) < 300


async def test_a_repeat_is_answered_whatever_it_expects() -> None:
    """Its own first time has moved the aggregate: the first reply is what it gets, not a refusal."""
    desk = Desk()
    for _ in range(2):
        assert ("accepted", ("Told",)) == await desk.told("Tell", id="k", expected_sequence="0")


async def test_the_second_command_of_a_group_sees_the_first() -> None:
    """Two that expect the same sequence: one is taken, although both are decided for one commit."""
    desk = Desk()
    verdicts = await desk.decide(*(desk.envelope("Tell", id=id, expected_sequence="0") for id in "ab"))
    assert ["accepted", "rejected"] == [verdict.reply.status for verdict in verdicts if verdict.reply is not None]


@pytest.mark.parametrize("value", ["7", "*"])
def test_where_it_stands_in_a_message(value: str) -> None:
    """A header in binary mode; in structured mode an attribute, which may be a number too."""
    headers = command_headers("k", "Tell", "/test", expected_sequence=value)
    assert value == read_envelope(Message(0, 0, b"1", b"{}", headers, 0), "d").expected_sequence
    for said in (value, int(value)) if value.isdigit() else (value,):
        structured = json.dumps({"type": "Tell", "expectedsequence": said}).encode()
        assert value == read_envelope(Message(0, 0, b"1", structured, [], 0), "d").expected_sequence
    assert "" == read_envelope(Message(0, 0, b"1", b'{"type": "Tell"}', [], 0), "d").expected_sequence


@pytest.mark.parametrize(
    ("type", "data"), [("Tell", {}), ("SetAmount", {"amount": "3"}), ("SetAmount", {"amount": "2", "note": "x"})]
)
@pytest.mark.parametrize("restarted", ["in memory", "loaded", "from a snapshot"])
async def test_an_id_used_for_another_command(type: str, data: Any, restarted: str) -> None:
    """Another type or other data under an id that was accepted fails, and names the command that it was used for, in a
    reply that is its own; nothing is written, in whichever way the aggregate is remembered."""
    desk = Desk()
    await desk.decide(desk.envelope("SetAmount", {"amount": "2"}, id="k"), every=1 if "snap" in restarted else 10**9)
    if restarted != "in memory":
        desk.restart()
    [verdict] = await desk.decide(desk.envelope(type, data, id="k"))
    assert not verdict.rows
    assert verdict.failure is not None
    assert "IdUsedBefore" == verdict.failure.type
    assert verdict.reply is not None
    assert type == verdict.reply.command
    other = " with other data" if type == "SetAmount" else ""
    assert verdict.failure.message.startswith(f"the id k was used for SetAmount{other}, accepted at moment-0:1: ")
    assert FIRST == await desk.told("SetAmount", {"amount": "2"}, id="k")


@pytest.mark.parametrize(
    "data",
    [
        b'{"amount": "2.50", "note": null}',
        b'{"note":null,  "amount": 2.5}',
        b'{"amount": "25E-1", "what": "nobody knows"}',
        Codec(COMMANDS, moment.commands).encode(SetAmount(Decimal("2.5"))),
    ],
)
async def test_the_same_command_spelled_otherwise(data: bytes) -> None:
    """Data that reads as the same is the same command, in JSON and in Avro."""
    desk = Desk()
    assert FIRST == await desk.told("SetAmount", {"amount": "2.5"}, id="k")
    type = AVRO if data[:1] != b"{" else "application/json"
    assert FIRST == await desk.told("SetAmount", data, id="k", content_type=type)
    assert 1 == desk.handler.cache._aggregates["1"].sequence


def test_a_record_within_a_command_gets_a_field() -> None:
    """With a default, as old commands have it, a command that was sent before stays the same one."""

    def cause(*fields: Any, **values: Any) -> str:
        line = make_dataclass("Line", [("sku", str), *fields])
        add = make_dataclass("Add", [("line", line), ("lines", tuple[line, ...]), ("by_sku", dict[str, line])])
        decider: Any = SimpleNamespace(type="order", commands={"Add": add})
        one = line("a", **values)
        return CommandCodec(decider, Codec([], {})).cause("Add", add(one, (one,), {"a": one}))

    now = [("note", str | None, None), ("amount", Decimal, Decimal(0)), ("tags", tuple[str, ...], field(default=()))]
    assert cause() == cause(*now) == cause(*now, amount=Decimal("-0.00"))
    assert len({cause(), cause(*now, note="x"), cause(*now, amount=Decimal(1)), cause(*now, tags=("x",))}) == 4


def test_no_amount_at_all() -> None:
    """Zero is zero, with whatever sign."""
    codec = CommandCodec(moment, Codec(COMMANDS, moment.commands))
    assert 1 == len({codec.cause("SetAmount", SetAmount(Decimal(zero))) for zero in ("0", "-0", "0.00", "-0E+3")})


async def test_a_command_without_events_is_remembered_too() -> None:
    """Its id is as used as any other's."""
    desk = Desk()
    for _ in range(2):
        assert ("accepted", ()) == await desk.told("Repeat", {"times": 0}, id="k")
    desk.restart()
    assert OTHER == await desk.told("Repeat", {"times": 1}, id="k")
    assert ("accepted", ()) == await desk.told("Repeat", {"times": 0}, id="k")


async def test_a_time_that_kafka_gave_is_no_difference() -> None:
    """A command that leaves its time out is the same when it is sent again later."""
    desk = Desk()
    for minutes in range(2):
        said = await desk.told("Mark", {}, id="k", time=NOW + timedelta(minutes=minutes))
        assert ("accepted", ("AtSet",)) == said


async def test_unreadable_data_under_a_used_id() -> None:
    """It fails for what it is; the owner goes on."""
    desk = Desk()
    await desk.told("SetAmount", {"amount": "2"}, id="k")
    assert ("failed", ("Unreadable",)) == await desk.told("SetAmount", b"[" * 50_000, id="k")
    assert ("failed", ("UnknownCommand",)) == await desk.told("Nonsense", id="k")


async def test_a_field_that_newer_code_has() -> None:
    """A repeat over an upgrade, which gives the class a field with a default, is the same command."""

    @dataclass(frozen=True)
    class Newer:
        amount: Decimal
        note: str | None = None
        currency: str = "EUR"

    Newer.__name__ = "SetAmount"
    newer = Decider("moment", moment.initial, moment.decide, moment.evolve)
    newer.__dict__["commands"] = {**moment.commands, "SetAmount": Newer}
    desk = Desk()
    await desk.told("SetAmount", {"amount": "2"}, id="k")
    desk.decider = newer
    desk.restart()
    assert FIRST == await desk.told("SetAmount", {"amount": "2"}, id="k")
    assert OTHER == await desk.told("SetAmount", {"amount": "2", "currency": "CHF"}, id="k")


async def test_rows_that_do_not_say_their_command() -> None:
    """Of what was written before commands were remembered the id alone counts."""
    desk = Desk()
    await desk.told("SetAmount", {"amount": "2"}, id="k")
    stored = await desk.journal.events("moment", "1")
    row = stored[0].event
    assert row.command.startswith("SetAmount ")
    old = Aggregate(moment.initial)
    old.remember([RecordedEvent(row.aggregate_id, 1, row.type, row.data, "k")], 1, 10)
    desk.handler.cache.put("1", old)
    assert FIRST == await desk.told("Tell", id="k")
    pending = old.capture("1", moment).encode()
    assert pending is not None
    again = Aggregate(None)
    again.restore(pending, form_of(moment))
    assert old.outcomes == again.outcomes


async def test_only_the_last_row_of_a_command_says_it() -> None:
    """Of many events one pays for it, and it is found again by loading."""
    desk = Desk()
    await desk.told("Repeat", {"times": 3}, id="k")
    rows = await desk.journal.events("moment", "1")
    assert [False, False, True] == [bool(row.event.command) for row in rows]
    loaded = await load_aggregate(desk.journal, moment, desk.events, "1", 10)
    assert rows[2].event.command == loaded.outcomes["k"].command


async def test_released_commands_keep_their_ids(make: Make) -> None:
    """A command that waited in quarantine is remembered like any other."""
    it = await make(Limits(group_linger=0.001, quarantine=True))
    await it.poisoned(3)
    it.mended = True
    it.again("poison")
    await it.settled()
    it.write("a", "Post", "w3", amount=3)
    it.write("a", "Post", "w3", amount=4)
    await it.settled()
    assert (1, 2, 3) == await it.posted("a")
    assert ["accepted", "accepted", "IdUsedBefore"] == it.outbox.to("w3")
