"""Orders on the command line: each is written to the audit before it is done, and so is what came of it."""

from __future__ import annotations

import os
import pwd
import socket
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any

import click
from faust.cli import option

from streams.audit.records import ActionEnded, ActionRequested, Outcome, in_short, parameters_of
from streams.audit.trail import AuditTrail, NotAudited
from streams.cli.kafka import kafka, produce
from streams.cli.run import DONE, ERROR, REJECTED, USAGE, CliError
from streams.kafka.client import ProducerRecord
from streams.kafka.client_factory import ClientFactory
from streams.kafka.topics import WRITE, Topic, audit_topic, ensure_topics, look_at_topics
from streams.settings import Settings

FOUND = ": found"
"""How a line of `setup` ends about what was there."""
REASON = option("--reason", metavar="TEXT", default="", help="Why, for the audit.", show_default=False)


class Order:
    """An order that is being done. What is put here is written down when it has ended.

    code    its exit code
    effect  what it has done
    """

    def __init__(self, topic: str, made: bool) -> None:
        self.code = DONE
        self.effect = ""
        self._topic = topic
        self._made = made

    def did(self, line: str) -> None:
        """Print a line that says what was done, and keep it for the audit, unless something was found as it is to
        be."""
        click.echo(line)
        if not line.endswith(FOUND):
            self.effect = f"{self.effect}; {line}" if self.effect else line

    def without_audit(self, topics: Iterable[Topic]) -> list[Topic]:
        """The topics that are to be made besides that of the audit, about which a line is printed."""
        self.did(f"topic {self._topic}: {'made' if self._made else 'found'}")
        return [topic for topic in topics if topic.name != self._topic]


@asynccontextmanager
async def ordered(
    command: Any,
    action: str,
    reason: str,
    parameters: Mapping[str, object] = MappingProxyType({}),
    *,
    makes_topic: bool = False,
) -> AsyncIterator[Order]:
    """What is done inside is an order to the app of a command, and in the audit before it begins. `makes_topic`: also
    where SETUP is never. Raises `CliError` where it cannot be written there: then nothing is done."""
    settings = command.app.settings
    topic, clients = audit_topic(settings.namespace, settings.audit_days, WRITE), ClientFactory.of(settings)
    async with kafka(settings):
        _, missing = await look_at_topics(clients, [topic])
        if missing:
            await ensure_topics(clients, [topic], makes_topic or settings.setup != "never")
    order = Order(topic.name, bool(missing))

    async def send(records: Sequence[ProducerRecord]) -> None:
        for key, value, headers in records:
            await produce(settings, topic.name, value, key, headers, partition=0)

    trail = AuditTrail(send, command.app.module)
    try:
        id = await trail.begin(_action(settings, command.app.module, action, reason, parameters))
    except NotAudited as error:
        raise CliError(ERROR, str(error)) from None
    ended = ActionEnded(Outcome.FAILED, "it was broken off")
    try:
        yield order
        ended = ActionEnded(_outcome(order.code), in_short(order.effect))
    except CliError as error:
        ended = ActionEnded(_outcome(error.code), in_short(f"{order.effect}; {error}" if order.effect else str(error)))
        raise
    except Exception as error:
        ended = ActionEnded(Outcome.FAILED, type(error).__name__)
        raise
    finally:
        if not await trail.end(id, ended):
            click.echo("Warning: what came of this could not be written to the audit", err=True)


def user() -> str:
    """Who runs this process, as the machine says."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = str(os.getuid())
    return f"{name}@{socket.gethostname()}"


def _action(
    settings: Settings, app: str, action: str, reason: str, parameters: Mapping[str, object]
) -> ActionRequested:
    ssh = os.environ.get("SSH_CONNECTION", "").partition(" ")[0]
    known = f", on Kafka as {settings.kafka_user}" if settings.kafka_user else ""
    return ActionRequested(
        action=action,
        app=app,
        who=in_short(f"os:{user()}"),
        address=in_short(ssh or socket.gethostname()),
        client=in_short(f"command line{known}"),
        parameters=parameters_of(parameters),
        reason=in_short(reason),
    )


def _outcome(code: int) -> Outcome:
    if code == DONE:
        return Outcome.ACCEPTED
    return Outcome.REFUSED if code in (USAGE, REJECTED) else Outcome.FAILED
