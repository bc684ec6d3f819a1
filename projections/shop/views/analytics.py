"""Analytics and recommendations over HTTP: every worker answers for its partitions, and the parts are put together."""

from __future__ import annotations

import asyncio
from typing import Any

from projections.app import ReadSide
from projections.http.forwarding import Tables
from projections.http.parameters import read_query
from projections.http.problems import NotNow
from projections.shop.analytics.question import Question
from projections.shop.tables.order_status import by_status
from projections.shop.views import answers, parameters
from projections.stores.local.queries import counts, scan_in_turns
from projections.stores.rows import decode_row
from streams.access.principal import Role
from streams.web.operation import describe

_one_at_a_time = asyncio.Lock()
"""Held by the question whose rows are all in memory. They are added up in a thread, beside the event loop, since that
may take seconds."""


QUESTIONS: tuple[tuple[str, str, Any, Any], ...] = (
    ("revenue", "Revenue by day, month or country", answers.RevenueBy, parameters.RevenueQuery),
    ("top-products", "The products that earn the most", answers.TopProducts, parameters.TopProductsQuery),
    ("baskets", "How large the baskets are, by month", answers.Baskets, parameters.BasketsQuery),
)
"""Name, summary, type of the answer and parameters of the questions at `/analytics/<name>`."""


def add_analytics(side: ReadSide) -> None:
    """Serve `/analytics/..` and `/recommendations/{sku}`."""
    for name, summary, answer, query in QUESTIONS:
        _add_question(side, name, summary, answer, query)

    @side.app.page("/recommendations/{sku}", name="recommendations")
    @describe(
        "analytics",
        "What is bought together with a product",
        answers.Recommendations,
        path={"sku": "The stock code of a product"},
        query=parameters.RecommendationQuery,
        reads=True,
        role=Role.READER,
        of=("order",),
    )
    async def recommendations(view: Any, request: Any, sku: str) -> Any:
        asked = read_query(request.query, parameters.RecommendationQuery)
        return await _ask(side, view, request, asked.question(sku))

    @side.app.page("/analytics/orders-by-status", name="orders-by-status")
    @describe(
        "analytics",
        "How many orders there are of each status",
        answers.OrdersByStatus,
        reads=True,
        role=Role.READER,
        of=("order",),
    )
    async def orders_by_status(view: Any, request: Any) -> Any:
        store = side.local["order"].store

        def here(partitions: list[int], tables: Tables) -> list[dict[str, int]]:
            return [counts(store, partition, tables["orders"], "status") for partition in partitions]

        return await side.doors.gather(
            view, request, ["orders"], here, lambda answers: by_status(part for parts in answers for part in parts)
        )


def _add_question(side: ReadSide, name: str, summary: str, answer: Any, query: Any) -> None:
    @side.app.page(f"/analytics/{name}", name=name)
    @describe("analytics", summary, answer, query=query, reads=True, role=Role.READER, of=("order",))
    async def asked(view: Any, request: Any) -> Any:
        return await _ask(side, view, request, read_query(request.query, query).question())


async def _ask(side: ReadSide, view: Any, request: Any, question: Question) -> Any:
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
