"""The command `timers`: which are pending, and orders to them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import click
import msgspec
from faust.cli import argument, option

from projections.http.pages import DEFAULT_LIMIT, MOST_ROWS
from projections.operations.cli_status import HELP
from projections.timers.projection import timers
from projections.timers.view import TimerRow, Timers
from streams.cli import kafka
from streams.cli.audit.orders import REASON, ordered
from streams.cli.http import PROJECTIONS, Door, ask, read
from streams.cli.run import DONE, ERROR, SECONDS, USAGE, CliCommand, CliError, compact, print_rows
from streams.moments import in_utc
from streams.settings import Settings

TAKES = {
    "list": (0, 0, "nothing"),
    "schedule": (5, 6, "ID DUE TYPE AGGREGATE COMMAND [JSON]"),
    "cancel": (1, 1, "ID"),
}
COLUMNS = ("id", "due", "type", "aggregate", "command", "data")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_FROM_NOW = re.compile(r"\+(\d{1,9})([smhd])", re.ASCII)


def register(app: Any, settings: Settings) -> None:
    """Add `timers` to the commands of an app."""

    def command(*options: Any) -> Callable[[Any], Any]:
        return app.command(*options, base=CliCommand)  # type: ignore[no-any-return]

    @command(
        argument("action", type=click.Choice(list(TAKES))),
        argument("arguments", nargs=-1, metavar="[ARGUMENTS]..."),
        option("--limit", type=click.IntRange(1, MOST_ROWS), default=DEFAULT_LIMIT, metavar="N", help="list: so many."),
        option("--url", default=PROJECTIONS, metavar="URL", help="list: a projections worker."),
        option("--wait", type=SECONDS, default=10, metavar="SECONDS", help="How long to wait for the reply."),
        REASON,
    )
    async def timers(
        self: CliCommand, action: str, arguments: tuple[str, ...], limit: int, url: str, wait: float, reason: str
    ) -> int:
        """See the timers that are pending, schedule one, cancel one.

        \b
        faust -A projections.shop.app timers list --limit 10
        faust -A projections.shop.app timers schedule remind-536365 +90s order 536365 CancelOrder '{"reason": "late"}'
        faust -A projections.shop.app timers schedule remind-536365 2026-12-24T18:00:00Z order 536365 ShipOrder
        faust -A projections.shop.app timers cancel remind-536365

        A timer sends a COMMAND to the AGGREGATE of a TYPE when its time has come. DUE is a time in ISO 8601, in UTC
        unless it names a zone, or so long from now: +90s, +10m, +2h, +3d. ID is yours to choose: scheduled again under
        the same id, a timer is moved.

        List shows those that are pending, the next one first. What a timer has been through: history timer ID.

        Exit code: 0 done, 3 rejected (a timer that has fired cannot be cancelled), 4 failed, 5 no reply in time,
        2 wrong use, or the projections do not answer, 1 Kafka does not answer.
        """
        least, most, usage = TAKES[action]
        if not least <= len(arguments) <= most:
            raise CliError(USAGE, f"{action} takes {usage}")
        if action == "list":
            return await _list(Door(url, settings), limit, bool(self.json))
        id, *rest = arguments
        kafka.check_id("id of the timer", id)
        name, fields = ("CancelTimer", b"{}") if action == "cancel" else ("ScheduleTimer", schedule(rest))
        named = {"type": "timer", "id": id, **({"command": " ".join(rest[:4])} if rest else {})}
        async with ordered(self, f"timers {action}", reason, named) as order:
            order.code, order.effect = kafka.outcome(
                *await kafka.send(settings, "timer", id, name, fields, wait=wait, known=["timer"])
            )
        return order.code


def schedule(arguments: Sequence[str]) -> bytes:
    """The fields of `ScheduleTimer` as typed. Raises `CliError`."""
    due, to, id, command, *data = arguments
    fields = {"due": read_due(due, datetime.now(UTC)), "to": to, "id": id, "command": command}
    if data:
        fields["data"] = kafka.read_data(data[0]).decode()
    return msgspec.json.encode(fields)


def read_due(text: str, now: datetime) -> str:
    """A due time as typed. Raises `CliError`."""
    try:
        if found := _FROM_NOW.fullmatch(text):
            return in_utc(now + timedelta(**{UNITS[found[2]]: int(found[1])}))
        due = datetime.fromisoformat(text)
        return in_utc(due.replace(tzinfo=UTC) if due.tzinfo is None else due)
    except (ValueError, OverflowError):
        form = "a time like 2026-12-24T18:00:00Z, or from now: +90s, +10m, +2h, +3d"
        raise CliError(USAGE, f"{text!r} is not a time to be due at: use {form}") from None


async def _list(door: Door, limit: int, as_json: bool) -> int:
    answer = await ask(door, f"/{timers.name}?limit={limit}", HELP)
    page = read(answer, Timers, "the list of timers of a projections worker", no=ERROR)
    if as_json:
        for row in page["timers"]:
            click.echo(compact(row))
    else:
        more = f"the next {len(page['timers'])}; --limit shows more" if page["next"] is not None else ""
        print_rows(COLUMNS, [_shown(row) for row in page["timers"]], none="no timer is pending", more=more)
    return DONE


def _shown(row: TimerRow) -> list[object]:
    return [row["id"], row["due"], row["to"], row["to_id"], row["command"], compact(row["data"])]
