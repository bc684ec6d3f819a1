"""Analytics and recommendations over HTTP: every worker answers for its partitions, and the parts are put together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from projections.app import ReadSide
from projections.http.forwarding import Tables
from projections.http.problems import NotNow
from projections.shop.analytics.baskets import Baskets
from projections.shop.analytics.question import Question
from projections.shop.analytics.recommendation import Recommendation
from projections.shop.analytics.sales import Revenue, TopProducts
from projections.shop.tables.order_status import by_status
from projections.shop.views import answers, parameters
from projections.stores.local.queries import counts, scan_in_turns
from projections.stores.rows import decode_row
from streams.web.health import problem
from streams.web.operation import describe

_one_at_a_time = asyncio.Lock()
"""Who holds all rows of a question in memory, and adds them up: in a thread, beside the event loop, since that may take
seconds."""


def add_analytics(side: ReadSide) -> None:
    """Serve `/analytics/..` and `/recommendations/{sku}`."""
    about = describe(
        "analytics", "Revenue by day, month or country", answers.RevenueBy, query=parameters.Revenue, reads=True
    )
    _add_question(side, "/analytics/revenue", Revenue.read, about)
    about = describe(
        "analytics",
        "The products that earn the most",
        answers.TopProducts,
        query=parameters.TopProducts,
        reads=True,
    )
    _add_question(side, "/analytics/top-products", TopProducts.read, about)
    about = describe(
        "analytics", "How large the baskets are, by month", answers.Baskets, query=parameters.Months, reads=True
    )
    _add_question(side, "/analytics/baskets", Baskets.read, about)

    @side.app.page("/recommendations/{sku}", name="recommendations")
    @describe(
        "analytics",
        "What is bought together with a product",
        answers.Recommendations,
        path={"sku": "The stock code of a product"},
        query=parameters.Recommended,
        reads=True,
    )
    async def recommendations(view: Any, request: Any, sku: str) -> Any:
        return await _ask(side, view, request, lambda query: Recommendation.read(sku, query))

    @side.app.page("/analytics/orders-by-status", name="orders-by-status")
    @describe("analytics", "How many orders there are of each status", answers.OrdersByStatus, reads=True)
    async def orders_by_status(view: Any, request: Any) -> Any:
        store = side.local["order"].store

        def here(partitions: list[int], tables: Tables) -> list[dict[str, int]]:
            return [counts(store, partition, tables["orders"], "status") for partition in partitions]

        return await side.doors.gather(
            view, request, ["orders"], here, lambda answers: by_status(part for parts in answers for part in parts)
        )


def _add_question(side: ReadSide, path: str, read: Callable[[Any], Question], about: Callable[[Any], Any]) -> None:
    @side.app.page(path, name=path.rpartition("/")[2])
    @about
    async def question(view: Any, request: Any) -> Any:
        return await _ask(side, view, request, read)


async def _ask(side: ReadSide, view: Any, request: Any, read: Callable[[Any], Question]) -> Any:
    try:
        question = read(request.query)
    except ValueError as error:
        return problem(view, 400, "Bad request", str(error))
    store = side.local["order"].store

    async def here(partitions: list[int], tables: Tables) -> Any:
        async with _one_at_a_time:
            if request.transport is None:
                raise NotNow("nobody waits for the answer")
            rows: list[bytes] = []
            for partition in partitions:
                rows += await scan_in_turns(store, partition, tables[question.table], *question.keys)
            return await asyncio.to_thread(lambda: question.here(map(decode_row, rows)))

    async def put(parts: list[Any]) -> Any:
        return await asyncio.to_thread(question.answer, parts)

    return await side.doors.gather(view, request, [question.table], here, put)
