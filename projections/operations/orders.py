"""Orders to projections: what is sent with each, and what is answered. Positions are `<stream>:<commit>:<index>`."""

from __future__ import annotations

from typing import Annotated

import msgspec

from projections.applying.refolding import RefoldedRow
from projections.http.bodies import Reason
from streams.journal.position import PATTERN

PositionText = Annotated[str, msgspec.Meta(pattern=f"^{PATTERN}$", max_length=300)]


class PlainOrder(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`reason`: why, for the audit."""

    reason: Reason | None = None


class RebuildOrder(PlainOrder, forbid_unknown_fields=True, kw_only=True):
    """`again`: also when a new table is being built already."""

    again: bool = False


class PauseOrder(msgspec.Struct, forbid_unknown_fields=True):
    reason: Reason


class SkipOrder(msgspec.Struct, forbid_unknown_fields=True):
    position: PositionText
    reason: Reason


class DropOrder(PlainOrder, forbid_unknown_fields=True, kw_only=True):
    table: Annotated[str, msgspec.Meta(min_length=1, max_length=300)]


class RebuildAnswer(msgspec.Struct, frozen=True):
    """The table that is built, and the one that answers until it is complete."""

    projection: str
    table: str
    serving: str | None


class PauseAnswer(msgspec.Struct, frozen=True):
    """Why it is paused; null: it is not."""

    projection: str
    paused: str | None


class SkipAnswer(msgspec.Struct, frozen=True):
    """The event that is left out, and the rows that were folded anew for that."""

    projection: str
    position: str
    reason: str
    rows: list[RefoldedRow] | msgspec.UnsetType = msgspec.UNSET


class DropAnswer(msgspec.Struct, frozen=True):
    """The table that is removed."""

    projection: str
    table: str


class RowOfTable(msgspec.Struct, frozen=True):
    """Where a row was folded anew, and its position now."""

    table: str
    partition: int
    position: str | None


class RowRebuilt(msgspec.Struct, frozen=True):
    """A row that was folded anew, by table."""

    projection: str
    key: str
    rows: list[RowOfTable]
