"""`acls` and `grants`: what the user of an app's workers is to be allowed, made from the app's wiring."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace
from typing import Any

import click
from faust.cli import option

from streams.cli.audit import command as audit
from streams.cli.audit.orders import REASON, ordered
from streams.cli.kafka import kafka, partitions_by_topic
from streams.cli.run import USAGE, CliCommand, CliError, compact
from streams.journal.grants import statements
from streams.kafka.client_factory import ClientFactory
from streams.kafka.topics import SENDS, ensure_topics, type_topics
from streams.permissions import acls as kafka_acls
from streams.settings import SettingsError

PRINCIPAL = option("--principal", metavar="TYPE:NAME", help="Whose rights; User:<app> without it.", show_default=False)
CONFIG = option("--command-config", "config", metavar="FILE", default="", help="The administrator's, for kafka-acls.")
WORKERS, OPERATORS, AUDITORS = WHO = "workers", "operators", "auditors"
OF = option("--of", "whose", type=click.Choice(WHO), default=WORKERS, help="Of the app's workers, or of people.")
SENDS_TO = option("--sends-to", multiple=True, metavar="TYPE", help="Also send commands to this type; may be repeated.")
USER = option("--user", metavar="NAME", help="Whose rights; the app's name without it.", show_default=False)
JSON = option("--json", "as_json", is_flag=True, help="One JSON object a line.", show_default=False)


async def acls(
    self: Any, principal: str | None, config: str, whose: str, sends_to: tuple[str, ...], as_json: bool
) -> None:
    """Print what Kafka is to allow the workers of this app, or people, as lines for a shell.

    \b
    faust -A streams.shop.orders acls
    faust -A streams.shop.orders acls --principal User:CN=orders --command-config admin.properties | sh
    faust -A streams.timers acls --sends-to order --sends-to user
    faust -A streams.shop.orders acls --of operators --principal User:alice
    faust -A streams.shop.orders acls --json

    It is all that a worker makes use of, and nothing else: with it no other context can write this one's events, nor
    this one any other's. Topics are made by `setup`, with the rights of an administrator.

    Operators give orders on the command line (dead letters, quarantine, logs, timers), which are written to the audit;
    auditors print that. Whoever runs `setup` is an administrator.

    Timers go to any type: say which with --sends-to.
    """
    settings, rights = self.app.settings, self.app.rights
    if whose != WORKERS:
        people = kafka_acls.of_auditors(settings)
        if whose == OPERATORS:
            people = kafka_acls.of_operators(settings, sorted(self.app.contexts), self.app.conf.id)
        _print_acls(self, people, principal or f"User:{whose}", config, as_json)
        return
    types = [topic for type in sends_to for topic in type_topics(settings.namespace, type, settings.partitions, SENDS)]
    found = kafka_acls.acls([*rights.topics, *rights.others, *types], rights.groups, rights.prefixes, rights.watched)
    _print_acls(self, found, principal or f"User:{self.app.conf.id}", config, as_json)
    for prefix in rights.prefixes:
        if kafka_acls.reaches_types(prefix, settings.namespace):
            click.echo(
                f"REPLY_TOPICS={prefix}: whoever may write to all topics that begin so may write the events of types"
                " that do: put a '.' into it, which no type has in its name",
                err=True,
            )
    for type in rights.anywhere:
        if not sends_to:
            click.echo(f"{type} sends commands to types that it is told: name them with --sends-to TYPE", err=True)


def _print_acls(self: Any, found: Iterable[kafka_acls.Acl], principal: str, config: str, as_json: bool) -> None:
    for acl in found:
        if as_json or self.json:
            click.echo(compact({"principal": principal, **acl._asdict()}))
        else:
            click.echo(kafka_acls.command(acl, principal, self.app.settings.bootstrap_servers, config))


async def grants(self: Any, user: str | None, as_json: bool) -> None:
    """Print what Cassandra or PostgreSQL is to allow the workers of this app, as statements for cqlsh or psql.

    \b
    faust -A streams.shop.orders grants
    faust -A streams.shop.orders grants --user orders_worker
    faust -A streams.shop.orders grants --json

    Run it after `setup`, which makes the tables with the rights of an administrator: workers write rows, and make
    nothing. A file of SQLite has no users: its folder is to be the workers' own.
    """
    try:
        by_database = list(statements(self.app.rights.grants, user or self.app.conf.id))
    except SettingsError as error:
        raise CliError(USAGE, str(error)) from None
    if not by_database:
        click.echo("no database with users: nothing to grant", err=True)
    for database, lines in by_database:
        if not (as_json or self.json):
            click.echo(f"-- {database.setting}: {database.server}")
        for line in lines:
            if as_json or self.json:
                where = {"setting": database.setting, "server": database.server, "database": database.name}
                click.echo(compact({**where, "statement": line}))
            else:
                click.echo(line)


async def setup(self: Any, reason: str) -> None:
    """Make the topics of this app, and its tables in a read model, where they are missing.

    In production, where SETUP is never or workers may not make topics, it is run once before the workers of this app
    are started, and again after an update. What is there stays as it is.

    Exit code: 1 when Kafka does not answer or refuses, 2 when a topic has another number of partitions.
    """
    settings = self.app.settings
    async with ordered(self, "setup", reason, makes_topic=True) as order:
        wanted = {topic.name: replace(topic, needs=()) for topic in order.without_audit(self.app.rights.topics)}
        async with kafka(settings):
            present = await partitions_by_topic(settings)
            await ensure_topics(ClientFactory.of(settings), wanted.values())
        for name in wanted:
            order.did(f"topic {name}: {'found' if name in present else 'made'}")
        for set_up_more in self.more_set_up:
            async for line in set_up_more():
                order.did(line)


def register(app: Any) -> None:
    """Add `acls` and `grants` to the commands of an app."""
    app.command(PRINCIPAL, CONFIG, OF, SENDS_TO, JSON, base=CliCommand)(acls)
    app.command(USER, JSON, base=CliCommand)(grants)


def register_setup(app: Any, *also: Callable[[], AsyncIterator[str]]) -> None:
    """Add `setup` and `audit` to the commands of an app without types of its own. `also` make what else it needs, and
    yield a line for each."""
    app.command(REASON, base=type("SetupCommand", (CliCommand,), {"abstract": True, "more_set_up": also}))(setup)
    audit.register(app)
