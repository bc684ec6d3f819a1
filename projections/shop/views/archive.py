"""`/users/{id}/archive`: a user's orders, newest first, page by page."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from projections.app import ReadSide
from projections.http.parameters import EXAMPLE, read_query
from projections.http.problems import BadRequest, reading_from
from projections.projection import Row
from projections.shop.tables.archive import by_user, of_user, order_archive
from projections.shop.views.answers import ArchiveOfUser
from projections.shop.views.parameters import Days
from projections.stores.listings import Cursor, SharedRows, Span
from streams.access.principal import Role
from streams.web.health import json_response
from streams.web.operation import describe

MOST, USUAL = 500, 50
MOST_YEARS = 50
"""Between `from` and `to`: each is a group to look into."""

_DAY = "[0-9]{4}-[0-9]{2}-[0-9]{2}"


class ArchiveQuery(Days):
    """The parameters: a page of some days."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST, description="How many at most")] = USUAL
    after: (
        Annotated[
            str,
            msgspec.Meta(
                pattern=f"^{_DAY}:.",
                description="The `next` of the page before",
                extra={EXAMPLE: "use what the page before has as `next`"},
            ),
        ]
        | UnsetType
    ) = UNSET

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.after is not UNSET:
            self.after.encode()

    @property
    def cursor(self) -> Cursor | None:
        """The day and the id of the last order on the page before."""
        if self.after is UNSET:
            return None
        day, _, id = self.after.partition(":")
        return day, id


@dataclass(frozen=True, slots=True)
class UsersArchive:
    """A question: the user, the first and last day of opening, the most orders, and the order before them."""

    user_id: str
    first: str
    last: str
    most: int = USUAL
    after: Cursor | None = None

    @classmethod
    def of(cls, user_id: str, asked: ArchiveQuery, today: date) -> UsersArchive:
        """Up to today and as far back as it goes, unless `from` and `to` say otherwise. Raises `BadRequest`."""
        try:
            user_id.encode()
        except UnicodeEncodeError as error:
            raise BadRequest(str(error)) from None
        days = asked.window
        last = max(today.isoformat(), days.first) if asked.to is UNSET else days.last
        oldest = max(int(last[:4]) - MOST_YEARS + 1, 1)
        first = f"{oldest:04}-01-01" if asked.from_ is UNSET else days.first
        if int(first[:4]) < oldest:
            raise BadRequest(f"from={asked.from_!r}: more than {MOST_YEARS} years up to {last}")
        return cls(user_id, first, last, asked.limit, asked.cursor)

    async def answer(self, rows: SharedRows, table: str) -> Row:
        """The page. Raises `Unavailable`."""
        span = Span(self.first, self.last, descending=True)
        found: list[Row] = []
        for years in self._years():
            groups = [of_user(self.user_id, year) for year in years]
            pages = await asyncio.gather(
                *(rows.listed(table, by_user.name, group, self.after, self.most + 1, span) for group in groups)
            )
            found += [row for page in pages for row in page.rows]
            if len(found) > self.most:
                break
        orders = found[: self.most]
        more = len(found) > self.most
        return {"user_id": self.user_id, "orders": orders, "next": _cursor(orders[-1]) if more else None}

    def _years(self) -> Iterator[range]:
        """The years to look into: the newest by itself, since that is often enough, then more and more together."""
        year, oldest, together = int(self.last[:4]), int(self.first[:4]), 1
        while year >= oldest:
            yield range(year, max(year - together, oldest - 1), -1)
            year, together = year - together, together * 2


def _cursor(row: Row) -> str:
    return f"{row['day']}:{row['id']}"


def add_archive(side: ReadSide, rows: SharedRows) -> None:
    """Serve it, from the read model that keeps `order_archive` and its listing `by_user`."""
    name = order_archive.name

    @side.app.page("/users/{id}/archive", name="users-archive")
    @describe(
        "users",
        "The placed orders of a user, newest first, page by page",
        ArchiveOfUser,
        query=ArchiveQuery,
        reads=True,
        role=Role.READER,
        of=("order",),
    )
    async def users_archive(view: Any, request: Any, id: str) -> Any:
        asked = UsersArchive.of(id, read_query(request.query, ArchiveQuery), datetime.now(UTC).date())
        await side.doors.read_your_writes(request, [name])
        tables = await side.doors.serving(name)
        with reading_from("the read model"):
            return json_response(view, await asked.answer(rows, tables[name]))
