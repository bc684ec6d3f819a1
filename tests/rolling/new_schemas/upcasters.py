"""What the older version's events are today."""

from __future__ import annotations

from collections.abc import Iterable

from schemas.upcasting import Fields, Upcasted, Upcaster


def numbered(fields: Fields) -> Iterable[Upcasted]:
    """A seal of before has no number that anybody knows."""
    return [Upcasted("SealedWith", 1, {"number": "unnumbered"})]


UPCASTERS = {"parcel": (Upcaster("Sealed", 1, numbered),)}
