"""`/users/{id}/archive`: a user's orders, newest first, page by page."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Annotated, Any

import msgspec

from projections.app import ReadSide
from projections.http.problems import reading_from
from projections.projection import Row
from projections.shop.analytics.question import read_days, read_number
from projections.shop.tables.archive import by_user, of_user, order_archive
from projections.shop.views.answers import ArchiveOfUser
from projections.shop.views.parameters import Days
from projections.stores.listings import Cursor, ReadModel, Span
from streams.web.health import json_response, problem
from streams.web.operation import describe

MOST, USUAL = 500, 50
MOST_YEARS = 50
"""Between `from` and `to`: each is a group to look into."""

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class Archive(Days):
    """The parameters: a page of some days."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST, description="How many at most")] = USUAL
    after: (
        Annotated[str, msgspec.Meta(pattern=f"^{_DAY.pattern}:.", description="The `next` of the page before")]
        | msgspec.UnsetType
    ) = msgspec.UNSET


@dataclass(frozen=True, slots=True)
class UsersArchive:
    """Whose orders, opened from which day to which, how many at once, and behind which one."""

    user_id: str
    first: str
    last: str
    most: int = USUAL
    after: Cursor | None = None

    @classmethod
    def read(cls, user_id: str, query: Mapping[str, str], today: date) -> UsersArchive:
        """Up to today and as far back as it goes, unless `from` and `to` say otherwise. Raises `ValueError`."""
        user_id.encode()
        days = read_days(query)
        last = days.last if "to" in query else max(today.isoformat(), days.first)
        oldest = max(int(last[:4]) - MOST_YEARS + 1, 1)
        first = days.first if "from" in query else f"{oldest:04}-01-01"
        if int(first[:4]) < oldest:
            raise ValueError(f"from={query['from']!r}: more than {MOST_YEARS} years up to {last}")
        after = _read_cursor(query["after"]) if "after" in query else None
        return cls(user_id, first, last, read_number(query, "limit", USUAL, MOST), after)

    async def answer(self, rows: ReadModel, table: str) -> Row:
        """The page. Raises `StoreDown`."""
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


def _read_cursor(text: str) -> Cursor:
    day, _, id = text.partition(":")
    if not _DAY.fullmatch(day) or not id:
        raise ValueError(f"after={text!r}: use what the page before has as `next`")
    id.encode()
    return day, id


def add_archive(side: ReadSide, rows: ReadModel) -> None:
    """Serve it, from the read model that keeps `order_archive` and its listing `by_user`."""
    name = order_archive.name

    @side.app.page("/users/{id}/archive", name="users-archive")
    @describe(
        "users", "The placed orders of a user, newest first, page by page", ArchiveOfUser, query=Archive, reads=True
    )
    async def users_archive(view: Any, request: Any, id: str) -> Any:
        try:
            asked = UsersArchive.read(id, request.query, datetime.now(UTC).date())
        except ValueError as error:
            return problem(view, 400, "Bad request", str(error))
        await side.doors.read_your_writes(request, [name])
        tables = await side.doors.serving(name)
        with reading_from("the read model"):
            return json_response(view, await asked.answer(rows, tables[name]))
