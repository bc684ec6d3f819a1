"""Joins over HTTP: `GET /<join>/{key}`, from whichever workers have the halves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from operator import itemgetter
from typing import Any

import msgspec

from projections.app import ReadSide
from projections.http.etags import etag_of_body, unless_known
from projections.http.forwarding import HOP, Tables
from projections.http.problems import HttpProblem, NotNow
from projections.projection import Row
from projections.stores.declaration import Indexes
from projections.stores.local.queries import indexed
from projections.stores.rows import decode_row, is_gone, split
from projections.stores.sql_columns import SqlColumns, quoted, storable
from projections.views.join import Join, Side
from schemas.sealing import plain
from streams.access.principal import Role
from streams.concurrency.fairness import yield_if_due
from streams.concurrency.tasks import all_of
from streams.runtime.web_guard import problem_response
from streams.web.operation import Response, describe

MOST = 1_000
"""Rows of a side under one key."""

Part = list[tuple[str, int, Row]]
"""Rows of some partitions, each with its key and its partition."""


def add_join(side: ReadSide, join: Join, answer_type: Any = dict[str, Any], path: str = "") -> None:
    """Serve `/<join>/{key}`, or another path before the key. The tables of the join are among those of the `ReadSide`.

    `answer_type` is the type of a row in the document. Raises `ValueError` where a table is not there.
    """
    parts = {it.table.name: _part_of(side, it) for it in join.sides}
    names, types = list(parts), tuple(dict.fromkeys(it.projection.source for it in join.sides))

    @side.app.page(f"{path or f'/{join.name}'}/{{key}}", name=f"{join.name}-joined")
    @describe(
        join.name,
        f"What {names[0]} and {names[1]} have under one key",
        Response("Found", answer_type),
        reads=True,
        etag=True,
        problems=(404, 422),
        role=Role.READER,
        of=types,
    )
    async def joined(view: Any, request: Any, key: str) -> Any:
        def of(name: str) -> Callable[[list[int], Tables], Awaitable[Part]]:
            return lambda partitions, tables: parts[name](key, partitions, tables[name])

        async def found(name: str) -> list[Part]:
            return await side.doors.parts(request, [name], of(name))

        if HOP in request.headers:
            asked = next((name for name in names if request.headers[HOP].startswith(f"{name}=")), names[0])
            return await side.doors.part_here(view, request, [asked], of(asked))
        await side.doors.read_your_writes(request, names)
        left, right = (
            half(it, key, some) for it, some in zip(join.sides, await all_of(map(found, names)), strict=True)
        )
        try:
            row = join.answer(key, left, right)
        except msgspec.ValidationError as error:
            raise NotNow(f"{join.name}: rows of another version answer, and are being built anew") from error
        if row is None:
            return problem_response(404, "Not found", f"{join.name} has nothing under {key}")
        body = msgspec.json.encode(row, enc_hook=plain)
        return unless_known(view, request, body, {"ETag": etag_of_body(body)})


def half(side: Side, key: str, parts: Sequence[Part]) -> list[Row]:
    """The rows of a side under a key, in the order of their keys. Raises `HttpProblem` where there are too many."""
    found = sorted((it for part in parts for it in part), key=itemgetter(0, 1))
    if len(found) > MOST:
        raise HttpProblem(
            422,
            "Too many rows",
            f"more than {MOST:,} rows of {side.table.name} stand under {key}: ask for them page by page",
        )
    return [row for _, _, row in found]


def _part_of(side: ReadSide, it: Side) -> Callable[[str, list[int], str], Awaitable[Part]]:
    """Finds the rows of a side under a key, in these partitions of a table. Raises `ValueError`."""
    source = side.sources.get(it.projection.source)
    if source is None or it.table not in source.kept:
        raise ValueError(f"the join wants the table {it.table.name}: give it to the ReadSide, as `*join.tables`")
    rows = (side.sql if isinstance(it.table.how, SqlColumns) else side.local)[it.projection.source]

    async def part(key: str, partitions: list[int], table: str) -> Part:
        if not it.by and not it.projection.local:
            own = side.doors.partition(key)
            partitions = [own] if own in partitions else []
        found: Part = []
        # Not before a query: Faust would make its table, and an event loop, while the app is declared.
        store = rows.store
        for partition in partitions:
            await yield_if_due()
            found += rows_under(it, store, partition, table, key)
        return found

    return part


def rows_under(it: Side, store: Any, partition: int, table: str, key: str) -> Part:
    """The rows of a side under a key, in a partition of a `RocksDBStore` or `SqliteStore`, up to one too many."""
    keys = _keys(it, store, partition, table, key) if it.by else [key]
    stored = store.get_many(partition, table, keys)
    return [(name, partition, decode_row(split(value)[1])) for name, value in stored.items() if not is_gone(value)]


def _keys(it: Side, store: Any, partition: int, table: str, value: str) -> list[str]:
    """The keys of up to one row more than may be, under a value of an index or column."""
    if isinstance(it.table.how, Indexes):
        return indexed(store, partition, table, it.by, value, "", MOST + 1)
    sql = f"SELECT key FROM {{table}} WHERE {quoted(it.by)} = ? ORDER BY key LIMIT ?"
    return [key for (key,) in store.select(partition, table, sql, (storable(value), MOST + 1))]
