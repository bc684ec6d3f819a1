"""Single values in the form that reading gives, by the type of Avro that they are written as."""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Context, Decimal, InvalidOperation
from math import isfinite
from typing import Any
from uuid import UUID

Fit = Callable[[Any], Any]
"""Brings a value into the form of reading. Raises `Unfit`."""

_INT, _LONG = 2**31, 2**63
_MOST_SHOWN = 60


class Unfit(ValueError):
    """A value that its schema cannot keep; the message says which value, why, and what would be right."""

    def under(self, name: str) -> Unfit:
        """The same error, of the field that holds the value."""
        text = str(self)
        return Unfit(f"{name}{text}" if text.startswith((".", "[")) else f"{name}: {text}")


def a_value(value: Any) -> str:
    """A value and its type, for people."""
    shown = repr(value)
    return f"a {type(value).__name__}, {shown if len(shown) <= _MOST_SHOWN else shown[:_MOST_SHOWN] + '..'}"


def _boolean(value: Any) -> Any:
    if value is not True and value is not False:
        raise Unfit(f"is {a_value(value)}, neither true nor false")
    return value


def _whole(limit: int, name: str, advice: str) -> Fit:
    def whole(value: Any) -> Any:
        if type(value) is not int:
            raise Unfit(f"is {a_value(value)}, not a whole number")
        if not -limit <= value < limit:
            raise Unfit(f"{a_value(value)} is beyond an Avro {name}, {-limit} to {limit - 1}{advice}")
        return value

    return whole


def _double(value: Any) -> Any:
    if type(value) is not float:
        if type(value) is not int:
            raise Unfit(f"is {a_value(value)}, not a number")
        try:
            value = float(value)
        except OverflowError:
            raise Unfit("is beyond a double") from None
    if not isfinite(value):
        raise Unfit(f"is {value}, which JSON cannot say: keep it out, or let the field be null")
    return value


def _float(value: Any) -> float:
    try:
        rounded: float = struct.unpack("<f", struct.pack("<f", _double(value)))[0]
    except OverflowError:
        raise Unfit(f"{value} is beyond an Avro float: make it a double") from None
    return rounded


def decimal(precision: int, scale: int) -> Fit:
    """Decimals with exactly the scale; an equal value with another scale is brought to it."""
    one, context, zero = Decimal(1).scaleb(-scale), Context(prec=max(precision, 1)), Decimal(0).scaleb(-scale)
    whole = precision - scale

    def quantized(value: Any) -> Decimal:
        if type(value) is not Decimal:
            raise Unfit(f"is {a_value(value)}, not a Decimal")
        if value and value.same_quantum(one) and value.adjusted() < whole:
            return value
        if not value.is_finite():
            raise Unfit(f"is {value}, not a number")
        if not value:
            return zero  # 0E-30 and -0 too
        try:
            rounded = value.quantize(one, context=context)
        except InvalidOperation:
            what = (
                f"{a_value(value)} has more digits than its schema keeps: {precision} in all, {scale} of them decimals"
            )
            raise Unfit(what) from None
        if rounded != value:
            raise Unfit(f"{a_value(value)} has more than the {scale} decimals that its schema keeps")
        return rounded

    return quantized


def _aware(value: Any) -> Any:
    if not isinstance(value, datetime):
        raise Unfit(f"is {a_value(value)}, not a datetime")
    if value.tzinfo is not UTC:
        if value.utcoffset() is None:
            raise Unfit(f"{value.isoformat()} has no time zone: write Z for UTC")
        try:
            value = value.astimezone(UTC)
        except OverflowError:
            raise Unfit(f"{value.isoformat()} is beyond the calendar in UTC") from None
    return value.replace(fold=0) if value.fold else value


def _millis(value: Any) -> Any:
    value = _aware(value)
    cut = value.microsecond % 1000
    return value.replace(microsecond=value.microsecond - cut) if cut else value


def _date(value: Any) -> date:
    return _parsed(value, date)  # type: ignore[no-any-return]


def _time_millis(value: Any) -> Any:
    value = _time(value)
    return value.replace(microsecond=value.microsecond // 1000 * 1000)


def _time(value: Any) -> time:
    value = _parsed(value, time)
    if value.tzinfo is not None:
        raise Unfit(f"{value.isoformat()} has a time zone, which a time of day has not")
    return value  # type: ignore[no-any-return]


def _uuid(value: Any) -> UUID:
    if isinstance(value, UUID):
        return value
    try:
        return UUID(value)
    except (ValueError, TypeError, AttributeError):
        raise Unfit(f"is {a_value(value)}, not a UUID") from None


def _parsed(value: Any, class_: Any) -> Any:
    if type(value) is class_:
        return value
    try:
        return class_.fromisoformat(value)
    except (ValueError, TypeError):
        raise Unfit(f"is {a_value(value)}, not a {class_.__name__}") from None


def symbol(symbols: frozenset[str]) -> Fit:
    """One of these symbols."""

    def known(value: Any) -> Any:
        if value not in symbols:
            raise Unfit(f"is {a_value(value)}, which is none of {', '.join(sorted(symbols))}")
        return value

    return known


def fixed(size: int) -> Fit:
    """Bytes of this length."""

    def sized(value: Any) -> Any:
        if type(value) is not bytes or len(value) != size:
            raise Unfit(f"is {a_value(value)}, not {size} bytes")
        return value

    return sized


PLAIN: dict[str, Fit] = {
    "boolean": _boolean,
    "int": _whole(_INT, "int", ": make it a long"),
    "long": _whole(_LONG, "long", ""),
    "float": _float,
    "double": _double,
}
LOGICAL: dict[str, Fit] = {
    "timestamp-millis": _millis,
    "timestamp-micros": _aware,
    "date": _date,
    "time-millis": _time_millis,
    "time-micros": _time,
    "uuid": _uuid,
}
