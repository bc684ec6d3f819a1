"""The command `projections`: what they are doing, and orders to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click
import msgspec
from faust.cli import argument, option

from projections.operations.cli_status import COLUMNS, NUMBERS, get_states, order, path_of, rows, watch
from projections.operations.cli_status import until_it_answers as wait_for
from projections.operations.orders import Dropped, Paused, Rebuilt, RowRebuilt, Skipped
from projections.operations.status import ProjectionStatus
from projections.stores.declaration import projection_name
from streams.cli.dead_letters import DeadLetterTopic
from streams.cli.http import SECONDS
from streams.cli.run import DONE, ERROR, USAGE, CliCommand, CliError, compact, print_table, table
from streams.journal.position import BadPosition, Position
from streams.settings import Settings
from streams.text import printable

ACTIONS = ("status", "rebuild", "pause", "resume", "skip", "drop", "dead-letters")
TAKES_NAME = ("rebuild", "pause", "resume", "skip", "drop")
OPTION_OF: Mapping[str, Sequence[str]] = {
    "watch": ["status"],
    "wait": ["rebuild"],
    "key": ["rebuild"],
    "again": ["rebuild"],
    "reason": ["pause", "skip"],
}
FOLD_SECONDS = 600.0
LETTERS = ("time", "position", "table", "key", "event", "reason")
WAITING = ("key", "table", "position", "events", "error")


def register(app: Any, settings: Settings, app_name: str = "projections") -> None:
    """Add `projections` to the commands of an app of projections of this name."""

    def command(*options: Any) -> Callable[[Any], Any]:
        return app.command(*options, base=CliCommand)  # type: ignore[no-any-return]

    @command(
        argument("action", type=click.Choice(ACTIONS)),
        argument("name", required=False, metavar="[NAME]"),
        argument("position", required=False, metavar="[POSITION]"),
        option("--url", default="http://127.0.0.1:6066", metavar="URL", help="A projections worker; any will do."),
        option("--watch", is_flag=True, help="status: a bar, for as long as tables are being built."),
        option("--wait", is_flag=True, help="rebuild: a bar, until the new table answers."),
        option("--key", metavar="KEY", help="rebuild: this row alone.", show_default=False),
        option("--again", is_flag=True, help="rebuild: begin anew, also when a table is being built already."),
        option("--reason", metavar="TEXT", help="pause and skip: why, for the next one to read.", show_default=False),
        option("--limit", type=click.IntRange(1, 10_000), default=50, metavar="N", help="dead-letters: the newest N."),
    )
    async def projections(
        self: CliCommand,
        action: str,
        name: str | None,
        position: str | None,
        url: str,
        watch: bool,
        wait: bool,
        key: str | None,
        again: bool,
        reason: str | None,
        limit: int,
    ) -> int:
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
        _check_use(action, name, position, watch=watch, wait=wait, key=key, again=again, reason=reason)
        if action == "status":
            return await _status(url, name, watch, bool(self.json))
        if action == "dead-letters":
            return await _dead_letters(settings, app_name, limit)
        assert name is not None
        if action == "rebuild" and key is not None:
            rebuilt, _ = await order(url, path_of(name, "rows", key, "rebuild"), {}, FOLD_SECONDS, RowRebuilt)
            for row in rebuilt.rows:
                click.echo(printable(f"{row.table}: {key} is folded anew, up to {row.position}"))
        elif action == "rebuild":
            building, _ = await order(url, path_of(name, "rebuild"), {"again": again}, SECONDS, Rebuilt)
            click.echo(printable(f"{building.table} is being built; {building.serving or 'nothing'} answers meanwhile"))
            if wait:
                await wait_for(url, name, building.table)
                click.echo(printable(f"{building.table} answers now"))
        elif action == "pause":
            _, followed = await order(url, path_of(name, "pause"), {"reason": reason}, SECONDS, Paused)
            _say(f"{name} stands still", followed)
        elif action == "resume":
            _, followed = await order(url, path_of(name, "resume"), {}, SECONDS, Paused)
            _say(f"{name} goes on", followed)
        elif action == "skip":
            body = {"position": position, "reason": reason}
            skipped, followed = await order(url, path_of(name, "skip"), body, FOLD_SECONDS, Skipped)
            _say(f"{name} leaves out {position}", followed)
            for folded in skipped.rows or ():
                waits = folded.waits
                still = f"waits still, at {waits.position}: {waits.error}" if waits is not None else "is folded anew"
                click.echo(printable(f"{folded.table}: {folded.key} {still}"))
        else:
            await order(url, path_of(projection_name(name), "drop"), {"table": name}, SECONDS, Dropped)
            click.echo(printable(f"{name} is being removed"))
        return DONE


def _check_use(action: str, name: str | None, position: str | None, **given: Any) -> None:
    """Raise `CliError` for what makes no sense."""
    if action in TAKES_NAME and not name:
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
    if action in ("pause", "skip") and not (given["reason"] or "").strip():
        raise CliError(USAGE, f"{action} takes --reason: the next one to look at it wants to know why")
    for name_, actions in OPTION_OF.items():
        if given[name_] and action not in actions:
            raise CliError(USAGE, f"--{name_} is of {' and '.join(actions)}")
    if given["key"] == "":
        raise CliError(USAGE, "--key takes the key of a row")
    if given["key"] and (given["wait"] or given["again"]):
        raise CliError(USAGE, "--key rebuilds one row, at once: without --wait and --again")


def _say(what: str, followed: bool) -> None:
    later = "" if followed else " (the workers that cannot be reached now will follow)"
    click.echo(printable(what + later))


async def _status(url: str, name: str | None, watching: bool, as_json: bool) -> int:
    states = await watch(url, name) if watching else await get_states(url, name)
    if as_json:
        for state in states:
            click.echo(compact(msgspec.to_builtins(state)))
    else:
        print_table(table(COLUMNS, rows(states), NUMBERS))
        if name is not None:
            _print_details(states[0])
    return DONE if all(state.is_well for state in states) else ERROR


def _print_details(state: ProjectionStatus) -> None:
    if state.quarantined:
        click.echo()
        waiting = [[its.key, its.table, its.position, its.events, its.error] for its in state.quarantined]
        print_table(table(WAITING, waiting, ["events"]))
        if (more := state.quarantined_keys - len(waiting)) > 0:
            click.echo(f"and {more} more")
    if state.skips:
        click.echo()
        print_table(table(("skipped", "reason"), [[skip.position, skip.reason] for skip in state.skips]))


async def _dead_letters(settings: Settings, name: str, limit: int) -> int:
    records, more = await DeadLetterTopic(settings, name, [name]).newest(limit)
    if not records:
        click.echo("no dead letters of projections")
        return DONE
    print_table(table(LETTERS, [_letter(record) for record in records]))
    if more:
        click.echo(f"the newest {len(records)}; --limit shows more")
    return DONE


def _letter(record: Any) -> list[str]:
    headers = dict(record.headers)
    names = ("ce_time", "ce_position", "dl_table", "dl_key", "ce_type", "dl_reason")
    return [(headers.get(name) or b"").decode(errors="backslashreplace") for name in names]
