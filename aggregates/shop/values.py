"""The values that the shop's commands carry, and the form in which its events keep them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from unicodedata import category

from aggregates.decider import Rejected

MAX_ID = 255
MAX_TEXT = 200
MAX_COUNTRY = 60
MAX_PRICE = Decimal(1_000_000)
_FOUR_DECIMALS = Decimal("0.0001")


def text(what: str, value: str, longest: int, shortest: int = 1) -> str:
    """One line of text of `shortest` to `longest` characters, as it is. Raises `Rejected` InvalidText."""
    if not shortest <= len(value) <= longest:
        raise Rejected("InvalidText", f"{what} has {len(value)} characters, not {shortest} to {longest}")
    if not value.isprintable() and any(category(character) in ("Cc", "Cs") for character in value):
        raise Rejected("InvalidText", f"{what} holds a control character")
    return value


def identity(what: str, value: str) -> str:
    """The id of an aggregate. Raises `Rejected` InvalidText."""
    return text(what, value, MAX_ID)


def country(value: str) -> str:
    """The name of a country. Raises `Rejected` InvalidText."""
    return text("the country", value, MAX_COUNTRY)


def price(value: Decimal) -> Decimal:
    """A price with exactly 4 decimals, so that it is the same before and after the journal. Raises
    `Rejected` InvalidPrice when it is not above 0, too high, or has more decimals."""
    if not (value.is_finite() and 0 < value <= MAX_PRICE):
        raise Rejected("InvalidPrice", f"the price is not above 0 and at most {MAX_PRICE}")
    exact = value.quantize(_FOUR_DECIMALS)
    if exact != value:
        raise Rejected("InvalidPrice", "the price has more than 4 decimals")
    return exact


def quantity(value: int, most: int) -> int:
    """A number of pieces. Raises `Rejected` InvalidQuantity when it is not 1 to `most`."""
    if not 1 <= value <= most:
        raise Rejected("InvalidQuantity", f"the quantity is not 1 to {most}")
    return value


def time(what: str, value: datetime | None) -> datetime:
    """A time in UTC to the millisecond; a naive one is taken as UTC. Raises `Rejected` MissingTime or InvalidTime."""
    if value is None:
        raise Rejected("MissingTime", f"{what} is missing")
    if not 1900 <= value.year < 3000:
        raise Rejected("InvalidTime", f"{what} is not from 1900 to 2999")
    in_utc = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return in_utc.replace(microsecond=in_utc.microsecond // 1000 * 1000)
