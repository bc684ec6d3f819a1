"""`faust -A <app> owners`: which worker owns which partition, and how far each is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import msgspec
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocol
from faust.cli import option

from streams.cli.http import ask
from streams.cli.kafka import REQUEST_SECONDS, connected, kafka
from streams.cli.run import DONE, ERROR, USAGE, CliCommand, CliError, print_table, table
from streams.journal.port import stream_name, stream_type
from streams.moments import in_utc
from streams.settings import Settings
from streams.text import one_line
from streams.web.owners import OwnedPartition, OwnersAnswer

COLUMNS = ("type", "partition", "serving", "owner", "epoch", "head", "indexed", "eventful", "next_offset", "queued",
           "queued_bytes", "aggregates", "weight", "takeover_ms", "since")  # fmt: skip
NUMBERS = [name for name in COLUMNS if name not in ("type", "serving", "owner", "since")]


def register(app: Any, settings: Settings, types: Sequence[str]) -> None:
    """Add the command to a command app of these types, whose consumer group is its id."""

    @app.command(
        option("--url", "urls", multiple=True, metavar="URL", help="A worker; may be repeated.", show_default=False),
        base=CliCommand,
    )
    async def owners(self: CliCommand, urls: tuple[str, ...]) -> int:
        """Print which worker owns which partition, and how far each is.

        \b
        faust -A streams.shop.orders owners
        faust -A streams.shop.orders owners --url http://10.0.0.7:6062 --url http://10.0.0.8:6062

        Without --url, Kafka is asked where the members of the consumer group are. Head is the newest commit, indexed
        the newest up to which all is derived, eventful the newest with an event; next offset is the command that is
        due, queued those that wait for a commit; aggregates and weight are what the cache holds; since when, and how
        long the takeover took. Of a partition that is not served a line says for what it waits.

        Exit code: 0 when every partition is served, with --url every one that these workers have; 1 when not; 2 wrong
        use, or somebody does not answer.
        """
        where = urls or await members(settings, app.conf.id)
        answers = await asyncio.gather(*map(get_owners, where))
        found = [owned for answer in answers for owned in answer.owners]
        if not urls:
            wanted = {
                stream_name(type, partition): partition for type in types for partition in range(settings.partitions)
            }
            missing = wanted.keys() - {owned.stream for owned in found}
            found += [OwnedPartition(wanted[stream], stream) for stream in missing]
        found.sort(key=lambda owned: (stream_type(owned.stream), owned.partition))
        print_table(table(_titles(COLUMNS), map(row, found), _titles(NUMBERS)))
        for owned in found:
            if owned.waits:
                print(f"{owned.stream} waits: {owned.waits}")
        return DONE if all(owned.serving for owned in found) else ERROR


def row(owned: OwnedPartition) -> list[Any]:
    """A line of the table."""
    shown = {name: getattr(owned, name, None) for name in COLUMNS}
    shown["type"] = stream_type(owned.stream)
    shown["serving"] = "yes" if owned.serving else "no"
    shown["since"] = owned.since and in_utc(owned.since, "seconds")
    return list(shown.values())


def _titles(names: Sequence[str]) -> list[str]:
    return [name.replace("_", " ") for name in names]


async def get_owners(url: str) -> OwnersAnswer:
    """What a worker answers. Raises `CliError` with 2, since 1 means that a partition is not served."""
    where, status, body = await ask(url, "/owners", "is this worker up, and is it one of a command app?")
    if status != 200:
        raise CliError(USAGE, f"{where} answers {status}: is it a worker of a command app?")
    try:
        return msgspec.json.decode(body, type=OwnersAnswer)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CliError(USAGE, f"{where} is not the /owners of a worker: {one_line(error)}") from None


async def members(settings: Settings, group: str) -> list[str]:
    """The URLs of the workers in a consumer group, as each told it when it joined. Raises `CliError` with 2."""
    try:
        async with (
            kafka(settings),
            connected(AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap_servers)) as admin,
        ):
            async with asyncio.timeout(REQUEST_SECONDS):
                [response] = await admin.describe_consumer_groups([group])
    except CliError as stop:
        raise CliError(USAGE, str(stop)) from None
    [described] = response.to_object()["groups"]
    urls = sorted(
        json.loads(ConsumerProtocol.METADATA.decode(metadata).user_data)["url"]
        for member in described["members"]
        if (metadata := member["member_metadata"])  # none while it is joining
    )
    if not urls:
        raise CliError(
            USAGE, f"the consumer group {group} has no members: no worker is up, or a rebalance is under way"
        )
    return urls
