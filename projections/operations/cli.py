"""The command `projections`: what they are doing, and orders to them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import click
import msgspec
from faust.cli import argument, option

from projections.operations.cli_status import (
    COLUMNS,
    NUMBERS,
    get_states,
    order,
    path_of,
    rows,
    until_table_answers,
    watch,
)
from projections.operations.orders import DropAnswer, PauseAnswer, RebuildAnswer, RowRebuilt, SkipAnswer
from projections.operations.status import ProjectionStatus
from projections.stores.declaration import projection_name
from streams.cli.audit.orders import REASON
from streams.cli.dead_letters import DeadLetterTopic, text
from streams.cli.http import PROJECTIONS, SECONDS, Door
from streams.cli.run import DONE, ERROR, USAGE, CliCommand, CliError, compact, print_rows, print_table
from streams.journal.position import BadPosition, Position
from streams.settings import Settings
from streams.text import printable

OPTION_OF: Mapping[str, Sequence[str]] = {
    "watch": ["status"],
    "wait": ["rebuild"],
    "key": ["rebuild"],
    "again": ["rebuild"],
}
FOLD_SECONDS = 600.0
LETTERS = ("time", "position", "table", "key", "event", "reason")
LETTER_HEADERS = ("ce_time", "ce_position", "dl_table", "dl_key", "ce_type", "dl_reason")
WAITING = ("key", "table", "position", "events", "error")


async def _rebuild(
    door: Door, name: str, *, key: str | None, again: bool, wait: bool, reason: str, **unused: Any
) -> None:
    if key is not None:
        return await _rebuild_row(door, name, key, reason)
    body = {"again": again, **_said(reason)}
    building, _ = await order(door, path_of(name, "rebuild"), body, SECONDS, RebuildAnswer)
    _say(f"{building.table} is being built; {building.serving or 'nothing'} answers meanwhile")
    if wait:
        await until_table_answers(door, name, building.table)
        _say(f"{building.table} answers now")
    return None


async def _rebuild_row(door: Door, name: str, key: str, reason: str) -> None:
    rebuilt, _ = await order(door, path_of(name, "rows", key, "rebuild"), _said(reason), FOLD_SECONDS, RowRebuilt)
    for row in rebuilt.rows:
        _say(f"{row.table}: {key} is folded anew, up to {row.position}")


async def _pause(door: Door, name: str, *, reason: str, **unused: Any) -> None:
    _, later = await order(door, path_of(name, "pause"), {"reason": reason}, SECONDS, PauseAnswer)
    _say(f"{name} stands still{later}")


async def _resume(door: Door, name: str, *, reason: str, **unused: Any) -> None:
    _, later = await order(door, path_of(name, "resume"), _said(reason), SECONDS, PauseAnswer)
    _say(f"{name} goes on{later}")


async def _skip(door: Door, name: str, *, position: str, reason: str, **unused: Any) -> None:
    body = {"position": position, "reason": reason}
    skipped, later = await order(door, path_of(name, "skip"), body, FOLD_SECONDS, SkipAnswer)
    _say(f"{name} leaves out {position}{later}")
    for row in skipped.rows or ():
        still = f"waits still, at {row.waits.position}: {row.waits.error}" if row.waits else "is folded anew"
        _say(f"{row.table}: {row.key} {still}")


async def _drop(door: Door, name: str, *, reason: str, **unused: Any) -> None:
    body = {"table": name, **_said(reason)}
    await order(door, path_of(projection_name(name), "drop"), body, SECONDS, DropAnswer)
    _say(f"{name} is being removed")


def _said(reason: str) -> dict[str, str]:
    """The reason as a body has it: one that is not given is left out."""
    return {"reason": reason} if reason.strip() else {}


ORDERS: Mapping[str, Callable[..., Awaitable[None]]] = {
    "rebuild": _rebuild,
    "pause": _pause,
    "resume": _resume,
    "skip": _skip,
    "drop": _drop,
}


def register(app: Any, settings: Settings, app_name: str = "projections") -> None:
    """Add `projections` to the commands of an app of projections of this name."""
    base = type("ProjectionsCommand", (CliCommand,), {"abstract": True, "settings": settings, "app_name": app_name})
    app.command(*OPTIONS, base=base)(projections)


OPTIONS = (
    argument("action", type=click.Choice(["status", *ORDERS, "dead-letters"])),
    argument("name", required=False, metavar="[NAME]"),
    argument("position", required=False, metavar="[POSITION]"),
    option("--url", default=PROJECTIONS, metavar="URL", help="A projections worker; any will do."),
    option("--watch", is_flag=True, help="status: a bar, for as long as tables are being built."),
    option("--wait", is_flag=True, help="rebuild: a bar, until the new table answers."),
    option("--key", metavar="KEY", help="rebuild: this row alone.", show_default=False),
    option("--again", is_flag=True, help="rebuild: begin anew, also when a table is being built already."),
    REASON,
    option("--limit", type=click.IntRange(1, 10_000), default=50, metavar="N", help="dead-letters: the newest N."),
)


async def projections(self: Any, action: str, name: str | None, url: str, limit: int, **options: Any) -> int:
    """See what the projections are doing, and give them orders.

    \b
    faust -A projections.shop.app projections status
    faust -A projections.shop.app projections status orders --watch
    faust -A projections.shop.app projections rebuild orders --wait
    faust -A projections.shop.app projections rebuild orders --key 536365
    faust -A projections.shop.app projections pause orders --reason 'the disk is nearly full'
    faust -A projections.shop.app projections resume orders
    faust -A projections.shop.app projections dead-letters
    faust -A projections.shop.app projections skip orders order-3:125:0 --reason 'has no lines, ticket 17'
    faust -A projections.shop.app projections drop orders-1

    Rebuild builds a new table beside the one that answers, which is kept up to date meanwhile; when the new one is
    complete it answers instead. Pause lets all tables of a projection stand still: they answer, but get older.

    When a projection raises on an event, that row stays as it was and its later events wait; all other rows go on.
    The dead letters say which event it was, and why. Mend the projection, start the workers anew, and rebuild the
    row with --key; or skip the event, which is left out of this projection for ever.

    Drop removes a table that nobody needs: it does not answer, and no worker keeps it up to date.

    States: serving; building; complete (about to serve, or kept beside); paused; held (its store or its events
    cannot be read: the note says why); frozen (answers, but its code is gone: it gets older until the new version
    is complete); to drop.

    Exit code: 0 done; status: 1 when something is being built, stands still or waits; orders: 1 when there is no
    such thing, or it cannot be done (rebuild --wait: the table will not answer without your doing); 2 wrong use,
    or the worker does not answer.
    """
    _check_use(action, name, **options)
    door = Door(url, self.settings)
    if action == "status":
        return await _status(door, name, options["watch"], bool(self.json))
    if action == "dead-letters":
        return await _dead_letters(self.settings, self.app_name, limit)
    await ORDERS[action](door, name, **options)
    return DONE


def _check_use(action: str, name: str | None, *, position: str | None, **given: Any) -> None:
    """Raise `CliError` for what makes no sense."""
    if action in ORDERS and not name:
        raise CliError(USAGE, f"{action} takes the name of a {'table' if action == 'drop' else 'projection'}")
    if action == "drop" and not projection_name(name or ""):
        raise CliError(USAGE, f"{name} is no table: `projections status` shows them, as orders-1")
    if action == "dead-letters" and name:
        raise CliError(USAGE, "dead-letters takes no name: those of all projections are listed")
    if action == "skip":
        try:
            Position.parse(position or "")
        except BadPosition:
            raise CliError(
                USAGE, "skip takes the POSITION of an event, as in the dead letters: order-3:125:0"
            ) from None
    elif position is not None:
        raise CliError(USAGE, f"{action} takes no position")
    if given["reason"] and action not in ORDERS:
        raise CliError(USAGE, f"--reason is of {', '.join(ORDERS)}")
    if action in ("pause", "skip") and not (given["reason"] or "").strip():
        raise CliError(USAGE, f"{action} takes --reason: the next one to look at it wants to know why")
    for name_, actions in OPTION_OF.items():
        if given[name_] and action not in actions:
            raise CliError(USAGE, f"--{name_} is of {' and '.join(actions)}")
    if given["key"] == "":
        raise CliError(USAGE, "--key takes the key of a row")
    if given["key"] and (given["wait"] or given["again"]):
        raise CliError(USAGE, "--key rebuilds one row, at once: without --wait and --again")


def _say(line: str) -> None:
    click.echo(printable(line))


async def _status(door: Door, name: str | None, watching: bool, as_json: bool) -> int:
    states = await watch(door, name) if watching else await get_states(door, name)
    if as_json:
        for state in states:
            click.echo(compact(msgspec.to_builtins(state)))
    else:
        print_table(COLUMNS, rows(states), NUMBERS)
        if name is not None:
            _print_details(states[0])
    return DONE if all(state.is_well for state in states) else ERROR


def _print_details(state: ProjectionStatus) -> None:
    if state.quarantined:
        click.echo()
        waiting = [[getattr(key, column) for column in WAITING] for key in state.quarantined]
        print_table(WAITING, waiting, ["events"])
        if (more := state.quarantined_keys - len(waiting)) > 0:
            click.echo(f"and {more} more")
    if state.skips:
        click.echo()
        print_table(("skipped", "reason"), [[skip.position, skip.reason] for skip in state.skips])


async def _dead_letters(settings: Settings, name: str, limit: int) -> int:
    records, more = await DeadLetterTopic(settings, name, [name]).newest(limit)
    print_rows(
        LETTERS,
        [[text(dict(record.headers).get(name)) for name in LETTER_HEADERS] for record in records],
        none="no dead letters of projections",
        more=f"the newest {len(records)}; --limit shows more" if more else "",
    )
    return DONE
