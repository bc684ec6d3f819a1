"""What a decision sees is what a reload would give it, and what cannot be kept is refused at the door."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from schemas.codec import Codec
from schemas.command_json import json_reader
from schemas.formats import AVRO, JSON, Format
from streams.deciding.messages import AVRO as AVRO_BINARY
from streams.limits import Limits
from tests.unit.moments import COMMANDS, NOW, Desk, SetAt, State, moment

EXACTLY = "2026-11-29T10:00:00.123456Z"
ADDED = [
    ("SetAt", {"at": EXACTLY}),
    ("SetAt", {"at": "2026-11-29T12:00:00+02:00"}),
    ("SetAmount", {"amount": "2.5"}),
    ("SetAmount", {"amount": "25.00000"}),
    ("Tell", {}),
    ("Repeat", {"times": 3}),
]


@pytest.mark.parametrize("format", [AVRO, JSON], ids=["avro", "json"])
async def test_state_in_memory_is_the_state_after_a_reload(format: Format) -> None:
    """Whatever was decided, the state in memory is to the letter the one that a restart gives."""
    desk = Desk(format)
    for type, data in ADDED:
        assert "accepted" == (await desk.told(type, data))[0]
        in_memory = repr(await desk.state())
        desk.restart()
        assert in_memory == repr(await desk.state())


async def test_a_repeat_is_one_before_and_after_a_restart() -> None:
    """A time that the schema cuts is the same time again, whether the first is in memory or was read."""
    desk = Desk()
    said = [await desk.told("SetAt", {"at": "2026-11-29T10:00:00.123000Z"}) for _ in range(2)]
    desk.restart()
    said.append(await desk.told("SetAt", {"at": "2026-11-29T10:00:00.123000Z"}))
    assert [("accepted", ("AtSet",)), ("accepted", ()), ("accepted", ())] == said


async def test_the_next_command_of_the_group_sees_what_was_written() -> None:
    """Commands that share a commit decide on the state that commits of their own would have given."""
    desk = Desk()
    amount, tell = desk.envelope("SetAmount", {"amount": "2.5"}), desk.envelope("Tell")
    await desk.decide(amount, tell)
    assert ("None 2.5000",) == (await desk.state()).told


@pytest.mark.parametrize("type", ["SetAt", "Mark"])
async def test_a_time_without_a_zone_is_refused(type: str) -> None:
    """It would mean another moment at each worker: the message says what to write."""
    desk = Desk()
    [verdict] = await desk.decide(desk.envelope(type, {"at": "2026-11-29T10:00:00"}))
    assert verdict.failure is not None
    assert "Unreadable" == verdict.failure.type
    assert verdict.failure.message == (f"{type}: 2026-11-29T10:00:00 has no time zone: write Z for UTC - at `$.at`")
    assert not verdict.failure.trace


async def test_a_time_in_avro_has_its_zone() -> None:
    """Avro says moments: they are read as UTC."""
    desk = Desk()
    data = Codec(COMMANDS, moment.commands).encode(SetAt(datetime(2026, 11, 29, tzinfo=UTC)))
    assert ("accepted", ("AtSet",)) == await desk.told("SetAt", data, content_type=AVRO_BINARY)
    assert State(datetime(2026, 11, 29, tzinfo=UTC)) == await desk.state()


async def test_the_time_that_a_command_leaves_out() -> None:
    """It is when Kafka took the command, cut like any other."""
    desk = Desk()
    await desk.decide(desk.envelope("Mark", {}, time=NOW.replace(microsecond=123456)))
    assert NOW.replace(microsecond=123000) == (await desk.state()).at


@pytest.mark.parametrize(
    ("type", "data", "says"),
    [
        ("SetAmount", {"amount": "25.00001"}, "AmountSet.amount: a Decimal, Decimal('25.00001') has more than the 4"),
        ("SetAmount", {"amount": "1E+400"}, "AmountSet.amount: a Decimal, Decimal('1E+400') has more digits"),
        ("SetAmount", {"amount": "NaN"}, "AmountSet.amount: is NaN, not a number"),
    ],
)
async def test_an_event_that_its_schema_cannot_keep(type: str, data: Any, says: str) -> None:
    """The command fails with the field and the reason: no attempt is repeated, no stack trace kept, nothing written."""
    desk = Desk()
    [verdict] = await desk.decide(desk.envelope(type, data))
    assert verdict.failure is not None
    assert "InvalidEvent" == verdict.failure.type
    assert f"{type} causes an event that cannot be kept: {says}" in verdict.failure.message
    assert not verdict.failure.trace
    assert not verdict.rows
    assert Decimal(0) == (await desk.state()).amount


async def test_a_number_beyond_its_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused before anything is written, in both formats."""
    for format in (AVRO, JSON):
        desk = Desk(format, Limits(events_per_command=2))
        monkeypatch.setattr("tests.unit.moments.range", lambda times: [2**31], raising=False)
        [verdict] = await desk.decide(desk.envelope("Repeat", {"times": 1}))
        assert verdict.failure is not None
        assert "Told.number: a int, 2147483648 is beyond an Avro int" in verdict.failure.message


@pytest.mark.parametrize(
    "amount", ["2_5", "_25", "25_", "2._e1", "2__5", "2e_1", "٢٥", "２５", "\\u0662\\u0665", "0x19", ""]
)
async def test_numbers_that_only_python_reads(amount: str) -> None:
    """Other languages would refuse them: so does the door, whatever the text looks like."""
    desk = Desk()
    data = f'{{"amount": "{amount}"}}'.encode()
    assert ("failed", ("Unreadable",)) == await desk.told("SetAmount", data)


@pytest.mark.parametrize("amount", ["25.00", "2.5E+1", "+25", 25.0, 25, "25."])
async def test_numbers_that_everybody_reads(amount: Any) -> None:
    """However it is spelled, the amount is the same; odd characters elsewhere do it no harm."""
    desk = Desk()
    assert ("accepted", ("AmountSet",)) == await desk.told("SetAmount", {"amount": amount, "note": "٢_5\\"})
    assert "25.0000" == str((await desk.state()).amount)


async def test_rows_count_whole() -> None:
    """A command is bounded by the bytes of its rows, ids and trace included, not by its events' data alone."""
    desk = Desk(limits=Limits(event_bytes_per_command=10_000))
    assert "accepted" == (await desk.told("Repeat", {"times": 50}))[0]
    failed = ("failed", ("TooLarge",))
    assert failed == await desk.told("Repeat", {"times": 50}, traceparent="t" * 250)
    assert failed == await desk.told("Repeat", {"times": 50}, correlation_id="é" * 125)
    assert failed == await desk.told("Repeat", {"times": 50}, id="c" * 250)


@dataclass(frozen=True)
class Part:
    name: str
    number: int = 7


@dataclass
class Whole:
    part: Part
    more: tuple[Part | None, ...] = ()
    within: Whole | None = None


def test_what_a_command_leaves_out_is_there() -> None:
    """A default is a value like any other: an event that carries it on has it to write."""
    whole = json_reader(Whole)(
        b'{"part": {"name": "a"}, "more": [{"name": "b"}, null], "within": {"part": {"name": "c"}}}'
    )
    part = {"name": "a", "number": 7}
    within = {"part": {**part, "name": "c"}, "more": (), "within": None}
    assert {"part": part, "more": ({**part, "name": "b"}, None), "within": within} == msgspec.to_builtins(whole)
