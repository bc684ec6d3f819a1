"""`faust -A <app> audit`: what operators have ordered, and what came of it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import click
import msgspec
from faust.cli import option

from streams.audit.reading import AuditEntry, AuditLog, Wanted
from streams.cli.kafka import kafka, partitions_by_topic
from streams.cli.run import ERROR, USAGE, CliCommand, CliError, compact, print_rows
from streams.kafka.client_factory import ClientFactory
from streams.kafka.topics import READ, audit_topic
from streams.text import printable

COLUMNS = ("time", "who", "from", "action", "outcome", "reason", "detail")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_AGO = re.compile(r"(\d{1,6})([smhd])", re.ASCII)


def register(app: Any) -> None:
    """Add `audit` to the commands of an app."""
    app.command(*OPTIONS, base=CliCommand)(audit)


OPTIONS = (
    option("--since", metavar="TIME", help="A time in ISO 8601, or so long ago: 90s, 10m, 2h, 3d.", show_default=False),
    option("--who", metavar="TEXT", default="", help="What stands in the name of who asked.", show_default=False),
    option(
        "--what", metavar="TEXT", default="", help="What stands in the action or its parameters.", show_default=False
    ),
    option("--aggregate", nargs=2, metavar="TYPE ID", help="About this aggregate.", show_default=False),
    option("--limit", type=click.IntRange(1, 100_000), default=50, metavar="N", help="At most the newest N."),
    option("--json", "as_json", is_flag=True, help="One JSON object a line.", show_default=False),
    option(
        "--follow", is_flag=True, help="Go on: each when it is requested, and when it has ended.", show_default=False
    ),
)


async def audit(
    self: Any,
    since: str | None,
    who: str,
    what: str,
    aggregate: tuple[str, str] | None,
    limit: int,
    as_json: bool,
    follow: bool,
) -> None:
    """Print what operators have ordered, in all apps of the namespace, the newest first.

    \b
    faust -A streams.shop.orders audit
    faust -A streams.shop.orders audit --since 3d --what drop
    faust -A streams.shop.orders audit --aggregate order 536365
    faust -A streams.shop.orders audit --who alice --json | jq .reason
    faust -A streams.shop.orders audit --follow

    Each order, by HTTP or on the command line, is written down before it is done. Accepted: it is done, or will be.
    Refused: somebody may not, or it cannot be done, and nothing is changed. Failed: a server did not answer, say, and
    it is not known how much was done. Without an outcome it is under way, or was broken off.

    Who is `token:`, `oidc:` or `cert:` with a name that was proved to a worker, or `os:user@host` as a machine says it
    of a command line.

    Exit code: 1 when Kafka does not answer, or there is no audit yet; 2 wrong use, or this user may not read it.
    """
    settings = self.app.settings
    topic = audit_topic(settings.namespace, settings.audit_days, READ).name
    type, id = aggregate or ("", "")
    wanted = Wanted(since=None if since is None else _since(since), who=who, what=what, type=type, id=id)
    log = AuditLog(ClientFactory.of(settings), topic)
    show = _show_json if as_json or self.json else _show_line
    async with kafka(settings):
        if topic not in await partitions_by_topic(settings, topic):
            raise CliError(ERROR, f"nothing was ordered yet: Kafka has no topic {topic}")
        if follow:
            async for entry in log.follow(wanted):
                show(entry)
            return
        found, more = await log.newest(wanted, limit)
    if as_json or self.json:
        for entry in found:
            _show_json(entry)
        return
    rest = f"the newest {len(found)}; --limit shows more" if more else ""
    print_rows(COLUMNS, [_row(entry) for entry in found], none="nothing of that kind was ordered", more=rest)


def _since(text: str) -> datetime:
    """A moment as typed. Raises `CliError`."""
    try:
        if ago := _AGO.fullmatch(text):
            return datetime.now(UTC) - timedelta(**{UNITS[ago[2]]: int(ago[1])})
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise CliError(USAGE, f"--since {text!r}: use a time like 2026-12-24T18:00:00Z, or 90s, 10m, 2h, 3d") from None


def _row(entry: AuditEntry) -> list[object]:
    about = " ".join(f"{name}={value}" for name, value in sorted(entry.parameters.items()))
    action = f"{entry.action} {about}".strip()
    return [entry.time, entry.who, entry.address, action, entry.outcome, entry.reason, entry.detail]


def _show_line(entry: AuditEntry) -> None:
    time, *rest = _row(entry)
    shown = [str(entry.ended or time), *("-" if cell in (None, "") else str(cell) for cell in rest)]
    click.echo(printable("  ".join(shown)))


def _show_json(entry: AuditEntry) -> None:
    click.echo(compact(msgspec.to_builtins(entry)))
