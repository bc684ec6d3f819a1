"""Moments as they stand in tables and in texts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def now() -> datetime:
    """The wall clock, for information that nothing depends on."""
    return datetime.now(UTC)


def milliseconds(moment: datetime) -> int:
    """Milliseconds since 1970, rounded down."""
    return (moment - EPOCH) // _MILLISECOND


def moment(milliseconds: int) -> datetime:
    """The moment of so many milliseconds since 1970, in UTC."""
    return EPOCH + milliseconds * _MILLISECOND


def in_utc(moment: datetime, precision: Literal["seconds", "milliseconds"] = "milliseconds") -> str:
    """A moment as ISO 8601 in UTC with `Z`: always as long, so texts are in the order of time."""
    return moment.astimezone(UTC).isoformat(timespec=precision).replace("+00:00", "Z")
