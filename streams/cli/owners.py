"""`faust -A <app> owners`: which worker owns which partition, and how far each is."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import click
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocol
from faust.cli import option

from streams.cli.http import ask, read
from streams.cli.kafka import REQUEST_SECONDS, connected, kafka
from streams.cli.run import DONE, ERROR, USAGE, CliError, TypesCommand, command, print_table
from streams.journal.port import stream_name, stream_type
from streams.moments import in_utc
from streams.settings import Settings
from streams.web.owners import OwnedPartition, OwnersAnswer

COLUMNS = ("type", "partition", "serving", "owner", "epoch", "head", "indexed", "eventful", "next_offset", "queued",
           "queued_bytes", "aggregates", "weight", "takeover_ms", "since")  # fmt: skip
NUMBERS = [name for name in COLUMNS if name not in ("type", "serving", "owner", "since")]


@command(
    option("--url", "urls", multiple=True, metavar="URL", help="A worker; may be repeated.", show_default=False),
)
async def owners(self: TypesCommand, urls: tuple[str, ...]) -> int:
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
    answers = await asyncio.gather(*map(get_owners, urls or await members(self.settings, self.app.conf.id)))
    partitions = [partition for answer in answers for partition in answer.owners]
    if not urls:
        owned = {partition.stream for partition in partitions}
        for type in self.types:
            for number in range(self.settings.partitions):
                if (stream := stream_name(type, number)) not in owned:
                    partitions.append(OwnedPartition(number, stream))
    partitions.sort(key=lambda partition: (stream_type(partition.stream), partition.partition))
    print_table(COLUMNS, [row(partition) for partition in partitions], NUMBERS)
    for partition in partitions:
        if partition.waits:
            click.echo(f"{partition.stream} waits: {partition.waits}")
    return DONE if all(partition.serving for partition in partitions) else ERROR


def row(owned: OwnedPartition) -> list[Any]:
    """A line of the table."""
    shown = {name: getattr(owned, name, None) for name in COLUMNS}
    shown["type"] = stream_type(owned.stream)
    shown["serving"] = "yes" if owned.serving else "no"
    shown["since"] = owned.since and in_utc(owned.since, "seconds")
    return list(shown.values())


async def get_owners(url: str) -> OwnersAnswer:
    """The answer of a worker. Raises `CliError` with USAGE, since 1 means that a partition is not served."""
    answer = await ask(url, "/owners", "is this worker up, and is it one of a command app?")
    return read(answer, OwnersAnswer, "the /owners of a worker of a command app")


async def members(settings: Settings, group: str) -> list[str]:
    """The URLs of the workers in a consumer group, which each gave when it joined. Raises `CliError` with USAGE."""
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
