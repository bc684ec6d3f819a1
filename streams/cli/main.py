"""The command line of every app: `faust -A <app> send | show | history | lag | setup | dead-letters | ..`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import click
from faust.cli import argument, option

from streams.aggregate_type import AggregateType
from streams.cli import kafka
from streams.cli.audit import command as audit
from streams.cli.audit.orders import REASON, ordered
from streams.cli.backup.command import backup, restore
from streams.cli.dead_letters import DeadLetterTopic, letter_details, parse_position, summary, text
from streams.cli.http import token
from streams.cli.journal import history_of, set_up, state_at
from streams.cli.lag import lag
from streams.cli.persons.subjects import subjects
from streams.cli.quarantine import quarantine
from streams.cli.run import (
    SECONDS,
    USAGE,
    CliError,
    Subcommand,
    TypesCommand,
    add_commands,
    command,
    compact,
    indented,
    print_rows,
    print_table,
)  # fmt: skip
from streams.cli.schemas import schemas
from streams.cli.verify import journal
from streams.deciding.orders import RELEASE
from streams.text import printable
from streams.web.asyncapi import document


def register(
    app: Any,
    types: Mapping[str, AggregateType],
    *more: Subcommand,
    also_set_up: Callable[[], AsyncIterator[str]] | None = None,
) -> None:
    """Add the commands that every app has, and `more`, to an app that has these aggregate types, at least one.

    `also_set_up` makes what else the app needs, and yields a line for each. Raises `CliError`.
    """
    app.types = types
    add_commands(app, [*COMMANDS, *more], types, [also_set_up] if also_set_up is not None else [])
    audit.register(app)


@command(
    argument("type"),
    argument("id"),
    argument("command"),
    argument("data", metavar="[JSON]", default="{}"),
    option("--id", "command_id", metavar="ID", help="The command id; a new one without it.", show_default=False),
    option("--wait", type=SECONDS, default=10, metavar="SECONDS", help="How long to wait for the reply."),
)
async def send(
    self: TypesCommand, type: str, id: str, command: str, data: str, command_id: str | None, wait: float
) -> int:
    """Send a command and print its reply.

    TYPE is an aggregate type, ID the aggregate's id, COMMAND the name of the command and JSON its fields, an
    object; without it the command has none. Any type may be sent from any app. Amounts of money are strings.

    \b
    faust -A streams.shop.orders send order 536365 AddLine \\
        '{"sku": "85123A", "description": "T-LIGHT HOLDER", "quantity": 6, "unit_price": "2.55"}'

    A command with the same --id sent again to the same aggregate has no second effect, so after "no reply" it is
    safe to repeat the command with the id that was printed. A reply means that the outcome is durable.

    Exit code: 0 accepted, 3 rejected (the domain says no), 4 failed (see dead-letters), 5 no reply in time,
    2 wrong use, 1 Kafka does not answer.
    """
    value = kafka.read_data(data)
    kafka.check_id("aggregate id", id)
    kafka.check_id("command", command)
    if command == RELEASE:
        raise CliError(USAGE, f"{RELEASE} is an order: `quarantine release {type} {id}`, which the audit has")
    if command_id is not None:
        kafka.check_id("command id", command_id)
    sent = await kafka.send(self.settings, type, id, command, value, wait=wait, known=self.types, id=command_id)
    return kafka.print_reply(*sent)


@command(
    argument("type"),
    argument("id"),
    option("--at", type=click.IntRange(min=1), metavar="N", help="The state after event N.", show_default=False),
)
async def show(self: TypesCommand, type: str, id: str, at: int | None) -> None:
    """Print the state of an aggregate, made from its events in the journal.

    \b
    faust -A streams.shop.orders show order 536365
    faust -A streams.shop.orders show order 536365 --at 3

    "sequence" is the number of the last event in the state. Events are found by aggregate a moment after the reply
    to their command, usually within milliseconds.

    Exit code: 1 when there is no such aggregate, or the journal does not answer; 2 wrong use.
    """
    kafka.check_id("aggregate id", id)
    click.echo(indented(await state_at(self.type_named(type), id, at)))


@command(
    argument("type"),
    argument("id"),
    option("--json", "as_json", is_flag=True, help="One JSON object a line.", show_default=False),
)
async def history(self: TypesCommand, type: str, id: str, as_json: bool) -> None:
    """Print the events of an aggregate from the journal, oldest first.

    \b
    faust -A streams.shop.orders history order 536365
    faust -A streams.shop.orders history order 536365 --json | jq .data

    Position is stream:commit:index; the command id says which command caused an event.

    Exit code: 1 when there is no such aggregate, or the journal does not answer; 2 wrong use.
    """
    kafka.check_id("aggregate id", id)
    entries = await history_of(self.type_named(type), id)
    if as_json or self.json:
        for entry in entries:
            click.echo(compact(entry))
        return
    columns = ("sequence", "time", "type", "position", "command_id")
    rows = [[*(entry[column] for column in columns), compact(entry["data"])] for entry in entries]
    print_table([*columns, "data"], rows, ["sequence"])


@command(REASON)
async def setup(self: TypesCommand, reason: str) -> None:
    """Make the topics, the journal's tables and the schemas, where they are missing, also in a schema registry.

    \b
    KAFKA_BROKERS=kafka://k1:9092 JOURNAL_URL=cassandra://c1:9042/shop faust -A streams.shop.orders setup

    On one machine the workers do this themselves. In production, where SETUP is never or the journal is elsewhere,
    it is run once before the workers of this app are started, and again after an update. What is there stays as it
    is. Topics get PARTITIONS partitions, which cannot be changed later.

    Exit code: 1 when a server does not answer or refuses, 2 when a topic has another number of partitions.
    """
    async with ordered(self, "setup", reason, makes_topic=True) as order:
        async for line in set_up(self.types, order.without_audit(self.app.rights.topics)):
            order.did(line)
        for set_up_more in self.more_set_up:
            async for line in set_up_more():
                order.did(line)


@command(
    argument("action", type=click.Choice(["list", "show", "retry", "drop"])),
    argument("type", required=False, metavar="[TYPE]"),
    argument("position", required=False, metavar="[PARTITION:OFFSET]"),
    option("--limit", type=click.IntRange(1, 10_000), default=50, metavar="N", help="list: at most the newest N."),
    option("--wait", type=SECONDS, default=10, metavar="SECONDS", help="drop: how long to wait for the owner."),
    REASON,
)
async def dead_letters(
    self: TypesCommand, action: str, type: str | None, position: str | None, limit: int, wait: float, reason: str
) -> None:
    """See the commands that could not be processed, send them again, or give them up.

    \b
    faust -A streams.shop.orders dead-letters list
    faust -A streams.shop.orders dead-letters list order
    faust -A streams.shop.orders dead-letters show order 3:17
    faust -A streams.shop.orders dead-letters retry order 3:17
    faust -A streams.shop.orders dead-letters drop order 3:17 --reason 'sent twice, ticket 17'

    A command comes here when it cannot be read, came too late or hit a bug; one that the domain rejects does not.
    After the cause is mended, retry sends it again as it first came: same id, same key, same bytes. The dead letter
    stays listed. Retrying twice is harmless. Drop takes it off the list for good. List without a type has those of
    all types of this app.

    Where its aggregate is in quarantine for it, the commands that wait there go on: behind it after a retry that
    the domain takes, without it after a drop, which waits for the owner of the aggregate to say so.

    Exit code: 1 when there is no such dead letter, or Kafka does not answer; 2 wrong use; drop: 4 the owner could
    not do it, 5 no reply from it in time, and then nothing is dropped.
    """
    if action == "list":
        if position is not None:
            raise CliError(USAGE, f"list takes no position; did you mean `dead-letters show {type} {position}`?")
        for name in [type] if type else self.types:
            await _list_letters(DeadLetterTopic(self.settings, name, self.types), limit, titled=len(self.types) > 1)
        return
    if type is None:
        raise CliError(USAGE, f"{action} takes an aggregate type and a PARTITION:OFFSET")
    letters = DeadLetterTopic(self.settings, type, self.types)
    if action == "show":
        click.echo(indented(letter_details(await letters.get(parse_position(position, action)))))
    else:
        await _order_of_letter(self, letters, action, parse_position(position, action), wait, reason)


async def _order_of_letter(
    self: TypesCommand, letters: DeadLetterTopic, action: str, position: tuple[int, int], wait: float, reason: str
) -> None:
    """Retry a dead letter, or drop it."""
    if action == "drop" and not reason.strip():
        click.echo("note: a command is given up without a --reason, which the audit would have", err=True)
    record, (partition, offset) = await letters.get(position), position
    named = {"type": letters.type, "id": text(record.key), "position": f"{partition}:{offset}"}
    async with ordered(self, f"dead-letters {action}", reason, named) as order:
        if action == "retry":
            order.did(f"sent again: {printable(await letters.retry(position))}")
        else:
            order.did(f"dropped: {printable(await letters.drop(position, wait))}")


async def _list_letters(letters: DeadLetterTopic, limit: int, titled: bool) -> None:
    """Print the newest dead letters of a type, under its name if `titled`."""
    records, more = await letters.newest(limit)
    print_rows(
        ("position", "time", "id", "command", "failure", "message"),
        [summary(record) for record in records],
        none=f"no dead letters of {letters.type}",
        title=f"{letters.type}:" if titled else "",
        more=f"the newest {len(records)}; --limit shows more" if more else "",
    )


@command()
async def asyncapi(self: TypesCommand) -> None:
    """Print the topics of this app as an AsyncAPI 3 document, in JSON.

    \b
    faust -A streams.shop.orders asyncapi > orders.asyncapi.json
    faust -A projections.shop.app asyncapi

    Channels are topics, with the commands that clients may send, their replies, and the events, each with the newest
    version of its Avro schema. Commands may be JSON as well, with the same fields. No server is asked.
    """
    click.echo(indented(document(self.types.values(), self.app.conf.id)))


COMMANDS = (
    journal,
    send,
    show,
    history,
    lag,
    setup,
    dead_letters,
    quarantine,
    schemas,
    subjects,
    token,
    asyncapi,
    backup,
    restore,
)
