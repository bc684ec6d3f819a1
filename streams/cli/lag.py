"""`faust -A <app> lag`: how far the tables are behind the journals, as the projections say."""

from __future__ import annotations

from typing import Any

from faust.cli import option

from streams.cli.http import PROJECTIONS, Door, ask, read
from streams.cli.run import DONE, ERROR, USAGE, CliError, TypesCommand, command, print_table
from streams.journal.position import stream_slice, stream_type
from streams.web.lag import Lag

COLUMNS = (
    *("stream", "committed_offset", "head", "eventful", "published", "applied"),
    *("lag", "events", "seconds", "ahead"),
)
TABLE_COLUMNS = ("stream", "table", "serving", "applied", "commits", "events", "seconds")


@command(
    option("--url", default=PROJECTIONS, metavar="URL", help="The projections worker."),
    option("--tables", is_flag=True, help="A line for each table of each stream."),
)
async def lag(self: TypesCommand, url: str, tables: bool) -> int:
    """Print how far the tables are behind the journals, stream by stream.

    \b
    faust -A projections.shop.app lag
    until faust -A projections.shop.app lag > /dev/null; do sleep 1; done

    Head is the newest commit of the log that a stream is in, eventful the newest that holds an event of the stream;
    published is how far its events are on Kafka, applied how far they are in the tables that answer. Lag counts the
    commits between, no more than there are events, and events the events; seconds is the age of the oldest event
    that is not applied.

    Ahead counts the commits that the topic or a table has and the journal does not have: it is another one.

    Exit code: 0 when nothing is behind, 1 when something is, 2 when the projections do not answer or something is
    ahead.
    """
    answer = await ask(Door(url, self.settings), "/lag", "is the projections worker up (make start), is --url right?")
    lag = read(answer, Lag, "the /lag of the projections")
    if tables:
        print_table(TABLE_COLUMNS, table_rows(lag), TABLE_COLUMNS[3:])
    else:
        print_table(COLUMNS, rows(lag), COLUMNS[1:])
    if lag.ahead:
        raise CliError(USAGE, f"{', '.join(lag.ahead)}: the journal does not have what was published of it")
    return ERROR if lag.total else DONE


def rows(lag: Lag) -> list[list[Any]]:
    """A row by stream, in order of type and slice, and the total."""
    ordered = sorted(lag.streams, key=lambda row: (stream_type(row.stream), stream_slice(row.stream)))
    streams = [[_shown(getattr(row, column)) for column in COLUMNS] for row in ordered]
    total = {"stream": "total", "lag": lag.total}
    return [*streams, [total.get(column, "") for column in COLUMNS]]


def table_rows(lag: Lag) -> list[list[Any]]:
    """A row by stream and table."""
    return [
        [row.stream, *(_shown(getattr(table, column)) for column in TABLE_COLUMNS[1:])]
        for row in lag.streams
        for table in row.projections
    ]


def _shown(value: Any) -> Any:
    return f"{value:.1f}" if isinstance(value, float) else value
