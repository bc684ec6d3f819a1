"""`faust -A <app> subjects`: what is known of a person's key, and the order to forget him."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import click
import msgspec
from faust.cli import argument, option

from aggregates.subject import AllowSubject, Command, ForgetSubject, subject
from streams.cli.audit.orders import REASON, ordered
from streams.cli.kafka import SOURCE, check_id, kafka, partitions_by_topic, produce
from streams.cli.run import ERROR, USAGE, CliError, TypesCommand, command, indented
from streams.deciding.messages import command_headers
from streams.journal.port import JournalMissing, Unavailable
from streams.kafka.topics import commands_topic
from streams.keys.keys import Keys
from streams.keys.management.port import KeyDestroyed
from streams.keys.receipt import Receipt, receipt
from streams.keys.records import SubjectKey, next_erasure
from streams.settings import Settings, SettingsError

ACTIONS = ["show", "forget", "allow", "renew"]


@asynccontextmanager
async def keys_of(self: TypesCommand) -> AsyncIterator[Keys]:
    """The keys of the app's namespace. Raises `CliError`."""
    keys = next((type.keys for type in self.types.values() if type.keys is not None), None)
    if keys is None:
        raise CliError(USAGE, "no event of this app has a personal field: see docs/privacy.md")
    try:
        await keys.open()
        yield keys
    except (Unavailable, JournalMissing, SettingsError, KeyDestroyed) as error:
        raise CliError(ERROR, str(error)) from None
    finally:
        await keys.close()


async def _tell(settings: Settings, id: str, command: Command) -> None:
    """Have the log of subjects take a command, which is on Kafka when this returns. Where nobody has ever served it
    nobody is told. Raises `CliError`."""
    topic = commands_topic(settings.namespace, subject.type)
    async with kafka(settings):
        if topic not in await partitions_by_topic(settings):
            click.echo(f"there is no topic {topic}: no process manager is told, until `streams.timers` runs", err=True)
            return
        headers = command_headers(str(uuid.uuid4()), type(command).__name__, SOURCE)
        await produce(settings, topic, msgspec.json.encode(command), id.encode(), headers)


def _print(told: Receipt) -> None:
    click.echo(indented(msgspec.to_builtins(told)))


async def _forget(self: TypesCommand, keys: Keys, id: str, reason: str) -> SubjectKey:
    """Put the fence, when it is ordered: whatever ends between, the owner of the subject does it. Raises `CliError`,
    and what the store raises."""
    erasure = next_erasure(await keys.look(id))
    await _tell(self.settings, id, ForgetSubject(erasure))
    return await keys.erase(id, reason, erasure)


async def _allow(self: TypesCommand, keys: Keys, id: str, reason: str) -> SubjectKey | None:
    key = await keys.allow(id, reason)
    if key is not None and key.erasures:
        await _tell(self.settings, id, AllowSubject(key.erasures))
    return key


@command(
    argument("action", type=click.Choice(ACTIONS)),
    argument("id", required=False, metavar="[ID]"),
    option("--yes", is_flag=True, help="forget: do not ask whether it is meant."),
    REASON,
)
async def subjects(self: TypesCommand, action: str, id: str | None, yes: bool, reason: str) -> int | None:
    """What is known of the key of a person, by the id of the subject; to forget him; and to let him have another key.

    \b
    faust -A <app> subjects show 17850
    faust -A <app> subjects forget 17850 --reason "asked for on 30 November"
    faust -A <app> subjects allow 17850 --reason "is a customer again"
    faust -A <app> subjects renew    # wraps all living keys anew, destroys what wrapped them: workers do it every week

    What was sealed for a person who is forgotten nobody can ever read again, in no copy. A receipt is printed, which
    says by when that is so. `allow` brings nothing back: what is sealed from then on has another key. Process managers
    are told of both, where a worker of `streams.timers` runs.

    Exit code: 1 when a store or the key management does not answer, 2 when no event here has a personal field.
    """
    async with keys_of(self) as keys:
        if action == "renew":
            async with ordered(self, "subjects renew", reason) as order:
                done = await keys.renew()
                order.did(f"period {done.period}: {done.wrapped} keys wrapped anew, {len(done.destroyed)} destroyed")
            return None
        if not id:
            raise CliError(USAGE, f"subjects {action}: say which ID")
        check_id("id", id)
        if action == "show":
            _print(await receipt(keys, id, await keys.look(id)))
            return None
        if action == "forget" and not yes and not click.confirm(f"Forget {id} for ever?", err=True):
            raise CliError(USAGE, "nothing was done: say --yes")
        async with ordered(self, f"subjects {action}", reason, {"id": id}) as order:
            if action == "forget":
                key: SubjectKey | None = await _forget(self, keys, id, reason)
                order.effect = f"{id} is erased"
            else:
                key = await _allow(self, keys, id, reason)
                order.effect = f"{id} may have another key" if key is not None else f"{id} never had a key"
            _print(await receipt(keys, id, key))
    return None
