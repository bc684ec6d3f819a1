"""`faust -A <app> quarantine`: the aggregates in quarantine, the commands that wait there, and their release."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click
from faust.cli import argument, option

from streams.aggregate_type import AggregateType
from streams.cli import kafka
from streams.cli.audit.orders import REASON, ordered
from streams.cli.dead_letters import DeadLetterTopic, letter_command_id, shown_value
from streams.cli.journal import journal_of
from streams.cli.run import (
    DONE,
    ERROR,
    SECONDS,
    USAGE,
    CliError,
    TypesCommand,
    command,
    indented,
    print_rows,
)  # fmt: skip
from streams.deciding.messages import Failure, read_envelope
from streams.deciding.orders import RELEASE
from streams.deciding.personal_commands import is_sealed
from streams.deciding.quarantine import Quarantine, WaitingCommand, follow, is_note
from streams.journal.port import Aggregates
from streams.moments import in_utc

COLUMNS = ("id", "since", "dead letter", "waiting", "bytes", "command id", "failure")


async def quarantine_of(journal: Aggregates, type: str, aggregate_id: str) -> Quarantine | None:
    """The quarantine of an aggregate, read from its notes in the journal. Raises `Unavailable`."""
    snapshot = await journal.snapshot(type, aggregate_id)  # taken out of quarantine: what was before is over
    sequence, nr = (snapshot.sequence, snapshot.nr) if snapshot is not None else (0, 0)
    quarantine = None
    for row in await journal.events(type, aggregate_id, sequence):
        if is_note(row.event) and row.nr > nr:
            quarantine = follow(quarantine, row.event)
    return quarantine


async def all_quarantined(type: AggregateType, types: Mapping[str, AggregateType]) -> dict[str, tuple[Quarantine, str]]:
    """All aggregates in quarantine by id, each with the place of its dead letter, oldest first. Raises `CliError`.

    A dead letter is written before the commit that starts a quarantine, so the dead letters have all the ids.
    """
    name = type.decider.type
    places: dict[str, dict[str, str]] = {}
    for record in await DeadLetterTopic(type.settings, name, types).quarantining():
        try:
            id = (record.key or b"").decode()
        except UnicodeDecodeError:  # no aggregate has it
            continue
        places.setdefault(id, {})[letter_command_id(record)] = f"{record.partition}:{record.offset}"
    quarantined: dict[str, tuple[Quarantine, str]] = {}
    async with journal_of(type) as journal:
        for id, place_by_command in places.items():
            state = await quarantine_of(journal, name, id)
            if state is not None:
                quarantined[id] = state, place_by_command.get(state.poison, "")
    return dict(sorted(quarantined.items(), key=lambda item: item[1][0].reason.since))


def row(id: str, quarantine: Quarantine, place: str) -> list[object]:
    """The row of `list`."""
    reason, waiting = quarantine.reason, len(quarantine.waiting)
    failure = f"{reason.type}: {reason.message}"
    return [id, in_utc(reason.since, "seconds"), place, waiting, quarantine.size, quarantine.poison, failure]


def quarantine_details(id: str, quarantine: Quarantine, place: str) -> dict[str, Any]:
    """What `show` prints."""
    reason = quarantine.reason
    return {
        "id": id,
        "since": in_utc(reason.since, "seconds"),
        "dead_letter": place,
        "command_id": quarantine.poison,
        "failure": {"type": reason.type, "message": reason.message},
        "waiting": [_shown(waiting) for waiting in quarantine.waiting],
    }


def _shown(waiting: WaitingCommand) -> dict[str, Any]:
    message = waiting.message
    try:
        envelope = read_envelope(message, waiting.id)
        type, sent = envelope.type, in_utc(envelope.time, "seconds")
    except Failure as failure:
        type, sent = f"unreadable: {failure.message}", ""
    return {
        "command_id": waiting.id,
        "type": type,
        "offset": message.offset,
        "sent": sent,
        "value": {"sealed": True} if is_sealed(message.headers) else shown_value(message.value),
    }


@command(
    argument("action", type=click.Choice(["list", "show", "release"])),
    argument("type"),
    argument("id", required=False, metavar="[ID]"),
    option("--wait", type=SECONDS, default=10, metavar="SECONDS", help="release: how long to wait for the reply."),
    REASON,
)
async def quarantine(self: TypesCommand, action: str, type: str, id: str | None, wait: float, reason: str) -> int:
    """See the aggregates in quarantine, and let the commands that wait there go on.

    \b
    faust -A streams.shop.orders quarantine list order
    faust -A streams.shop.orders quarantine show order 536365
    faust -A streams.shop.orders quarantine release order 536365

    With QUARANTINE=on an aggregate is in quarantine for a command that made the domain raise, and the later ones
    of it wait. Mend the bug and retry the dead letter that `list` names: then they follow it, in order. Or release
    the aggregate: they go on without that command, which stays in the dead letters. `dead-letters drop` does so too
    and takes it off that list.

    Exit code: 0 done, 1 not in quarantine, or a server does not answer; 2 wrong use; release: 3 rejected (not in
    quarantine any more), 4 failed, 5 no reply in time.
    """
    aggregates = self.type_named(type)
    if action == "list":
        if id is not None:
            raise CliError(USAGE, f"list takes no id; did you mean `quarantine show {type} {id}`?")
        rows = [row(id, state, place) for id, (state, place) in (await all_quarantined(aggregates, self.types)).items()]
        print_rows(COLUMNS, rows, ["waiting", "bytes"], none=f"no {type} is in quarantine")
        return DONE
    if id is None:
        raise CliError(USAGE, f"{action} takes the id of an aggregate")
    kafka.check_id("aggregate id", id)
    if action == "show":
        quarantined = await all_quarantined(aggregates, self.types)
        if id not in quarantined:
            raise CliError(ERROR, f"{type} {id} is not in quarantine")
        click.echo(indented(quarantine_details(id, *quarantined[id])))
        return DONE
    async with ordered(self, "quarantine release", reason, {"type": type, "id": id}) as order:
        order.code, order.effect = kafka.outcome(
            *await kafka.send(self.settings, type, id, RELEASE, b"{}", wait=wait, known=self.types)
        )
    return order.code
