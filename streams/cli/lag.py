"""How far the tables are behind the journals, as the projections say."""

from __future__ import annotations

from typing import Any

import msgspec

from streams.cli.http import ask
from streams.cli.run import USAGE, CliError
from streams.text import one_line

COLUMNS = (
    *("stream", "committed_offset", "head", "eventful", "published", "applied"),
    *("lag", "events", "seconds", "ahead"),
)
TABLE_COLUMNS = ("stream", "table", "serving", "applied", "commits", "events", "seconds")


class LagAnswer(msgspec.Struct):
    """The answer of `/lag`: a row by stream, and the sum of their lags."""

    streams: list[dict[str, Any]]
    total: int

    @property
    def ahead(self) -> list[str]:
        """The streams of which topic or tables have more than the journal."""
        return [str(row.get("stream")) for row in self.streams if row.get("ahead")]


async def get_lag(url: str) -> LagAnswer:
    """Ask the projections at `url`. Raises `CliError`, with 2 since 1 means that the tables are behind."""
    where, status, body = await ask(url, "/lag", "is the projections worker up (make start), is --url right?")
    return read_lag(where, status, body)


def read_lag(where: str, status: int, body: bytes) -> LagAnswer:
    """The answer of `/lag`. Raises `CliError` for any other."""
    if status != 200:
        raise CliError(USAGE, f"{where} answers {status}: {one_line(body[:200].decode(errors='replace')) or 'nothing'}")
    try:
        return msgspec.json.decode(body, type=LagAnswer)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CliError(USAGE, f"{where} is not the /lag of the projections: {one_line(error)}") from None


def rows(lag: LagAnswer) -> list[list[Any]]:
    """A row by stream, in order of type and partition, and the total."""

    def by_partition(row: dict[str, Any]) -> tuple[str, int]:
        type, _, partition = str(row.get("stream")).rpartition("-")
        return type, int(partition) if partition.isdecimal() else 0

    streams = [[_shown(row.get(column)) for column in COLUMNS] for row in sorted(lag.streams, key=by_partition)]
    total = {"stream": "total", "lag": lag.total}
    return [*streams, [total.get(column, "") for column in COLUMNS]]


def table_rows(lag: LagAnswer) -> list[list[Any]]:
    """A row by stream and table."""
    return [
        [_shown({**kept, "stream": row.get("stream")}.get(column)) for column in TABLE_COLUMNS]
        for row in lag.streams
        for kept in row.get("projections", [])
    ]


def _shown(value: Any) -> Any:
    return f"{value:.1f}" if isinstance(value, float) else value
