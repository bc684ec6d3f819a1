"""A timer: a command that is sent to another aggregate when its time has come, once, unless it is cancelled before.

It knows no clock. The timer watch sends `FireTimer` with the due time that it has seen, as often as it likes: only the
first one with the timer's present due time fires it. The caller chooses the id, and uses it to move or cancel the
timer. Scheduling again with other values moves it, even after it fired or was cancelled. With equal values it is a
repeat, which changes nothing unless the timer was cancelled.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from typing import Any, Literal, assert_never
from unicodedata import category

from aggregates.decider import Decider, Rejected
from aggregates.process_manager import ForeignEvent, ProcessManager, Reaction, Send

MAX_ID = 512
MAX_DATA = 65_536
MAX_DEPTH = 50
TYPE = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,99}", re.ASCII)
COMMAND = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ScheduleTimer:
    """Send `command` to the aggregate `id` of type `to` at `due`. `data` has its fields: the text of a JSON object.
    `command_id` is the command's id; None for one that is derived from the event."""

    due: datetime
    to: str
    id: str
    command: str
    data: str = "{}"
    command_id: str | None = None


@dataclass(frozen=True, slots=True)
class CancelTimer:
    pass


@dataclass(frozen=True, slots=True)
class FireTimer:
    """The time `due` has come. Sent by the engine, never by clients."""

    due: datetime


Command = ScheduleTimer | CancelTimer | FireTimer


@dataclass(frozen=True, slots=True)
class TimerScheduled:
    """`data` is in one canonical form, so that equal data is equal text."""

    due: datetime
    to: str
    id: str
    command: str
    data: str
    command_id: str | None


@dataclass(frozen=True, slots=True)
class TimerCancelled:
    pass


@dataclass(frozen=True, slots=True)
class TimerFired:
    """The values of the schedule, from which the command is made."""

    due: datetime
    to: str
    id: str
    command: str
    data: str
    command_id: str | None


Event = TimerScheduled | TimerCancelled | TimerFired


@dataclass(frozen=True, slots=True)
class State:
    """`last` is the latest schedule."""

    status: Literal["new", "pending", "fired", "cancelled"] = "new"
    last: TimerScheduled | None = None


def decide(command: Command, state: State) -> list[Event]:
    match command:
        case ScheduleTimer():
            scheduled = _scheduled(command)
            return [] if scheduled == state.last and state.status != "cancelled" else [scheduled]
        case CancelTimer() if state.status == "pending":
            return [TimerCancelled()]
        case CancelTimer() if state.status == "cancelled":
            return []
        case CancelTimer() if state.status == "fired":
            raise Rejected("TimerFired", "the timer has fired: its command is sent")
        case CancelTimer():
            raise Rejected("UnknownTimer", "no such timer was ever scheduled")
        case FireTimer(due) if state.last is not None and state.status == "pending" and due == state.last.due:
            last = state.last
            return [TimerFired(last.due, last.to, last.id, last.command, last.data, last.command_id)]
        case FireTimer():
            return []
        case _:
            assert_never(command)


def evolve(state: State, event: Event) -> State:
    match event:
        case TimerScheduled():
            return State("pending", event)
        case TimerCancelled():
            return State("cancelled", state.last)
        case TimerFired():
            return State("fired", state.last)
        case _:
            assert_never(event)


def sends(process: str, event: Event) -> list[Send]:
    match event:
        case TimerFired():
            data = json.loads(event.data)
            return [Send(event.to, event.id, event.command, data, event.command_id or "")]
        case _:
            return []


def hear(happened: ForeignEvent) -> list[Reaction[Command]]:
    return []


# -- the values of a command ------------------------------------------------------------------------------------------


def _scheduled(command: ScheduleTimer) -> TimerScheduled:
    if TYPE.fullmatch(command.to) is None:
        raise Rejected("InvalidTarget", "`to` is not the name of an aggregate type: letters, digits, - and _")
    if COMMAND.fullmatch(command.command) is None:
        raise Rejected("InvalidTarget", "`command` is not the name of a command: letters, digits and _")
    id = _identity("id", command.id)
    command_id = None if command.command_id is None else _identity("command_id", command.command_id)
    return TimerScheduled(_time(command.due), command.to, id, command.command, _object(command.data), command_id)


def _identity(what: str, value: str) -> str:
    if not 1 <= len(value) <= MAX_ID:
        raise Rejected("InvalidTarget", f"`{what}` has {len(value)} characters, not 1 to {MAX_ID}")
    if any(category(character) in ("Cc", "Cs") for character in value):
        raise Rejected("InvalidTarget", f"`{what}` holds a control character")
    return value


def _time(due: datetime) -> datetime:
    """In UTC to the millisecond, as the journal keeps it; one without a zone is taken as UTC."""
    if not 1900 <= due.year < 3000:
        raise Rejected("InvalidTime", "`due` is not from 1900 to 2999")
    in_utc = due.replace(tzinfo=UTC) if due.tzinfo is None else due.astimezone(UTC)
    return in_utc.replace(microsecond=in_utc.microsecond // 1000 * 1000)


def _object(data: str) -> str:
    """The text of a JSON object in canonical form. It holds only values that every writer of JSON can write."""
    if len(data) > MAX_DATA:
        raise Rejected("InvalidData", f"`data` has {len(data)} characters, not up to {MAX_DATA}")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Rejected("InvalidData", f"`data` is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise Rejected("InvalidData", "`data` is not a JSON object: it has the command's fields")
    if not _is_plain(value, 0):
        raise Rejected(
            "InvalidData",
            f"`data` holds what JSON cannot carry: nested deeper than {MAX_DEPTH}, a number beyond 64 bits, "
            "NaN, or half of a surrogate pair",
        )
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _is_plain(value: Any, depth: int) -> bool:
    match value:
        case dict():
            inner = [*value, *value.values()]
            return depth < MAX_DEPTH and all(_is_plain(part, depth + 1) for part in inner)
        case list():
            return depth < MAX_DEPTH and all(_is_plain(part, depth + 1) for part in value)
        case str():
            return not any("\ud800" <= character <= "\udfff" for character in value)
        case float():
            return isfinite(value)
        case int():
            return -(2**63) <= value < 2**64
        case _:
            return True


timer = ProcessManager(
    Decider("timer", State(), decide, evolve),
    hears={},
    hear=hear,
    sends=sends,
    accepts=("ScheduleTimer", "CancelTimer"),
)
