"""What a timer does, whatever it is told and however often."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from aggregates.process_manager import Send
from aggregates.timer import (
    CancelTimer,
    FireTimer,
    ScheduleTimer,
    State,
    TimerCancelled,
    TimerFired,
    TimerScheduled,
    timer,
)
from schemas.codec import Codec
from schemas.registry import Schemas
from tests.specification import accepted, answer, given

DUE = datetime(2026, 11, 26, 12, 0, 0, 250_000, UTC)
LATER = DUE + timedelta(minutes=5)
SCHEDULE = ScheduleTimer(DUE, "order", "536365", "CancelOrder", '{"reason": "too late"}')
SCHEDULED = TimerScheduled(DUE, "order", "536365", "CancelOrder", '{"reason":"too late"}', None)
FIRED = TimerFired(DUE, "order", "536365", "CancelOrder", '{"reason":"too late"}', None)


def test_schedules() -> None:
    """A command is scheduled; the same again, also when it is typed in another way, changes nothing."""
    given(timer.decider).when(SCHEDULE).then(SCHEDULED)
    given(timer.decider, SCHEDULED).when(SCHEDULE).then_nothing()
    given(timer.decider, SCHEDULED).when(replace(SCHEDULE, data='{ "reason":"too \\u006cate"}')).then_nothing()
    given(timer.decider).when(ScheduleTimer(DUE, "order", "1", "ShipOrder")).then(
        TimerScheduled(DUE, "order", "1", "ShipOrder", "{}", None)
    )


def test_time() -> None:
    """A due time is kept in UTC to the millisecond; without a zone it is in UTC, and one of the past is legal."""
    zone = timezone(timedelta(hours=2))
    for due in (DUE.astimezone(zone), DUE.replace(tzinfo=None), DUE + timedelta(microseconds=999)):
        given(timer.decider).when(replace(SCHEDULE, due=due)).then(SCHEDULED)
    given(timer.decider).when(replace(SCHEDULE, due=datetime(1899, 1, 1))).then_rejected("InvalidTime")


def test_fires() -> None:
    """When its time has come it fires, once, and sends what was scheduled."""
    given(timer.decider, SCHEDULED).when(FireTimer(DUE)).then(FIRED)
    given(timer.decider, SCHEDULED, FIRED).when(FireTimer(DUE)).then_nothing()
    assert [Send("order", "536365", "CancelOrder", {"reason": "too late"})] == timer.sends("t", FIRED)
    assert [Send("order", "536365", "CancelOrder", {"reason": "too late"}, "mine")] == timer.sends(
        "t", replace(FIRED, command_id="mine")
    )
    assert [] == timer.sends("t", SCHEDULED) + timer.sends("t", TimerCancelled())


def test_moves() -> None:
    """Scheduled again with something else it is moved; who has seen the old time does not fire it."""
    moved = replace(SCHEDULED, due=LATER)
    given(timer.decider, SCHEDULED).when(replace(SCHEDULE, due=LATER)).then(moved)
    given(timer.decider, SCHEDULED, moved).when(FireTimer(DUE)).then_nothing()
    given(timer.decider, SCHEDULED, moved).when(FireTimer(LATER)).then(replace(FIRED, due=LATER))
    given(timer.decider, SCHEDULED).when(replace(SCHEDULE, data="{}")).then(replace(SCHEDULED, data="{}"))


def test_cancels() -> None:
    """A cancelled timer does not fire; cancelling it again changes nothing, and too late it is rejected."""
    given(timer.decider, SCHEDULED).when(CancelTimer()).then(TimerCancelled())
    given(timer.decider, SCHEDULED, TimerCancelled()).when(CancelTimer()).then_nothing()
    given(timer.decider, SCHEDULED, TimerCancelled()).when(FireTimer(DUE)).then_nothing()
    given(timer.decider, SCHEDULED, FIRED).when(CancelTimer()).then_rejected("TimerFired")
    given(timer.decider).when(CancelTimer()).then_rejected("UnknownTimer")
    given(timer.decider).when(FireTimer(DUE)).then_nothing()


def test_next_round() -> None:
    """A timer that has ended can be scheduled again. What has fired does not fire by a repeat of its schedule; what
    was cancelled is scheduled by the same words again."""
    again = replace(SCHEDULED, due=LATER)
    given(timer.decider, SCHEDULED, FIRED).when(SCHEDULE).then_nothing()
    given(timer.decider, SCHEDULED, FIRED).when(replace(SCHEDULE, due=LATER)).then(again)
    given(timer.decider, SCHEDULED, FIRED, again).when(FireTimer(LATER)).then(replace(FIRED, due=LATER))
    given(timer.decider, SCHEDULED, TimerCancelled()).when(SCHEDULE).then(SCHEDULED)


@pytest.mark.parametrize(
    ("wrong", "type"),
    [
        ({"to": ""}, "InvalidTarget"),
        ({"to": "an order"}, "InvalidTarget"),
        ({"to": "order\n"}, "InvalidTarget"),
        ({"to": "x" * 101}, "InvalidTarget"),
        ({"command": "Ship-Order"}, "InvalidTarget"),
        ({"command": ""}, "InvalidTarget"),
        ({"id": ""}, "InvalidTarget"),
        ({"id": "x" * 513}, "InvalidTarget"),
        ({"id": "a\0b"}, "InvalidTarget"),
        ({"command_id": ""}, "InvalidTarget"),
        ({"command_id": "x" * 513}, "InvalidTarget"),
        ({"data": ""}, "InvalidData"),
        ({"data": "[]"}, "InvalidData"),
        ({"data": "{'a': 1}"}, "InvalidData"),
        ({"data": '{"a": NaN}'}, "InvalidData"),
        ({"data": '{"a": 1e999}'}, "InvalidData"),
        ({"data": '{"a": 18446744073709551616}'}, "InvalidData"),
        ({"data": '{"a": "\\ud800"}'}, "InvalidData"),
        ({"data": '{"a":' * 60 + "1" + "}" * 60}, "InvalidData"),
        ({"data": "[" * 60_000}, "InvalidData"),
        ({"data": '{"a": "' + "x" * 65_536 + '"}'}, "InvalidData"),
    ],
    ids=str,
)
def test_bad_schedule(wrong: dict[str, Any], type: str) -> None:
    """What could not be sent when the time comes is rejected now, with a reason."""
    given(timer.decider).when(replace(SCHEDULE, **wrong)).then_rejected(type)


def test_accepts() -> None:
    """Clients schedule and cancel; that the time has come is the engine's to say."""
    assert ("ScheduleTimer", "CancelTimer") == timer.accepts
    assert {"ScheduleTimer", "CancelTimer", "FireTimer"} == timer.commands.keys()
    assert {} == timer.hears


times = st.sampled_from([DUE, LATER]) | st.datetimes()
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
data = st.just("{}") | st.text(max_size=5) | st.dictionaries(st.text(max_size=3), json_values).map(json.dumps)
names = st.sampled_from(["order", "user"]) | st.text(max_size=5)
commands = st.one_of(
    st.builds(ScheduleTimer, times, names, names, names, data, st.none() | names),
    st.builds(ScheduleTimer, st.sampled_from([DUE, LATER]), st.just("order"), st.just("1"), st.just("ShipOrder"), data),
    st.builds(CancelTimer),
    st.builds(FireTimer, times),
)


@drawn(st.lists(commands, max_size=8))
def test_any_commands(sequence: list[object]) -> None:
    """Whatever comes, the answer is events or a rejection, a repeat has no effect, what is sent can be written as JSON,
    and no schedule fires twice."""
    rounds = 0
    for command, events, state in accepted(timer.decider, sequence):
        assert not answer(timer.decider, command, state)
        for event in events:
            rounds += {TimerScheduled: 1, TimerFired: -1}.get(type(event), 0)
            for send in timer.sends("t", event):
                assert send.data == msgspec.json.decode(msgspec.json.encode(send.data))
        assert rounds >= 0


@drawn(st.lists(commands, max_size=8))
def test_journal_and_snapshot_keep_all(sequence: list[object]) -> None:
    """Events come back from their bytes, and states from their JSON, exactly as they were."""
    codec = Codec(Schemas.load("engine", "timer"), timer.events)
    for _, events, state in accepted(timer.decider, sequence):
        assert events == [codec.decode_one(codec.encode(event)) for event in events]
        assert state == msgspec.json.decode(msgspec.json.encode(state), type=State)
