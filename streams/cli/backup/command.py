"""`faust -A <app> backup FOLDER` and `restore FOLDER`: the journals of an app as files, and out of them again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import click
from faust.cli import argument

from streams.aggregate_type import AggregateType
from streams.backup.archive import BackupError, Reader
from streams.backup.journal_copy import Progress, back_up, look
from streams.backup.journal_copy import restore as restored
from streams.cli.audit.orders import REASON, ordered
from streams.cli.journal import OPEN_SECONDS, errors_as_one_line, journal_of
from streams.cli.kafka import kafka
from streams.cli.progress import Meter
from streams.cli.run import ERROR, CliError, TypesCommand, command
from streams.journal.port import Journal
from streams.kafka import topics
from streams.kafka.client_factory import ClientFactory
from streams.kafka.published_through import last_positions
from streams.runtime.preparation import made, opened

ENDING = ".backup"


@command(argument("folder", type=click.Path(path_type=Path)))
async def backup(self: TypesCommand, folder: Path) -> None:
    """Write the journals of this app to files in a folder, one for each context.

    \b
    faust -A projections.shop.app backup /backups/2026-11-30

    A file has the commits, the layout of the logs, and the schemas to read them by: all from which the rest can be
    made again, in a form that no store has a part in, so what was in one may be restored into another. What is personal
    is sealed in it, and the keys of persons are not there. It only reads, and may run while the workers do; each log is
    exact, and logs fit each other exactly where no worker of the write side runs meanwhile. Where files are there
    already they are replaced, each when the new one is whole.

    Exit code: 1 when the journal does not answer, a commit is missing, or a file cannot be written; 2 wrong use.
    """
    with errors_of_backups():
        async with AsyncExitStack() as stack:
            journals: dict[str, Journal] = {}
            for name, types in contexts_of(self.types).items():
                journals[name] = await stack.enter_async_context(journal_of(next(iter(types.values()))))
            async with errors_as_one_line(self.settings):
                begun = {name: await look(journal, contexts_of(self.types)[name]) for name, journal in journals.items()}
                for name, journal in journals.items():
                    path = folder / f"{name}{ENDING}"
                    with Meter(f"backing up {name}", 0, "commits") as meter:
                        count = await back_up(journal, begun[name], path, shown_by(meter))
                    click.echo(f"{path}: {said(count)}, {path.stat().st_size:,} bytes")


@command(argument("folder", type=click.Path(path_type=Path)), REASON)
async def restore(self: TypesCommand, folder: Path, reason: str) -> None:
    """Put the files of a backup into empty journals, of the store that JOURNAL_URL says.

    \b
    faust -A projections.shop.app restore /backups/2026-11-30
    faust -A projections.shop.app setup

    All workers are stopped, the journals of these contexts are not there or have nothing, and neither have the topics
    of their events, which get all events again when the workers start; so are the tables made again. Broken off, it may
    be run again, and goes on. "Backup and restore" in docs/operations.md has the order of all steps, and what is lost.

    Exit code: 1 when a file or a server says no, 2 wrong use.
    """
    async with ordered(self, "restore", reason, {"folder": str(folder)}, makes_topic=True) as order:
        with errors_of_backups():
            files = {name: Reader(folder / f"{name}{ENDING}") for name in contexts_of(self.types)}
        async with kafka(self.settings):
            cluster, _ = await topics.look_at_topics(ClientFactory.of(self.settings), [])
            for name in self.types:
                await require_no_events(self, name)
        for name, types in contexts_of(self.types).items():
            context, reader = next(iter(types.values())), files[name]
            with Meter(f"restoring {name}", 0, "commits") as meter, errors_of_backups():
                async with empty_journal(context) as journal, errors_as_one_line(self.settings):
                    count = await restored(journal, reader, context.identity(cluster), shown_by(meter))
            order.did(f"{name}: {said(count)}, as of {reader.begin.taken_at:%Y-%m-%d %H:%M:%S} UTC")


def contexts_of(types: Mapping[str, AggregateType]) -> dict[str, dict[str, AggregateType]]:
    """The aggregate types by context, whose journal they share, and by name."""
    found: dict[str, dict[str, AggregateType]] = {}
    for name, type in types.items():
        found.setdefault(type.name, {})[name] = type
    return found


def shown_by(meter: Meter) -> Progress:
    """Has a meter show how far it is."""
    return lambda done, total: meter.at(done, total=total)


def said(count: tuple[int, int]) -> str:
    """Commits and events, for people."""
    return f"{count[0]:,} commits, {count[1]:,} events"


@contextmanager
def errors_of_backups() -> Iterator[None]:
    """Turns what is wrong with a backup into `CliError`."""
    try:
        yield
    except BackupError as error:
        raise CliError(ERROR, str(error)) from None


async def require_no_events(command: TypesCommand, type: str) -> None:
    """Raise `CliError` where the topic of a type's events has some: it would have others behind the end of the backup,
    or the same ones twice."""
    settings = command.settings
    topic = topics.events_topic(settings.namespace, type)
    if await last_positions(ClientFactory.of(settings), type, topic, settings.partitions):
        raise CliError(ERROR, f"{topic} has events: delete this topic first, it is made again from the journal")


@asynccontextmanager
async def empty_journal(context: AggregateType) -> AsyncIterator[Journal]:
    """The journal of a context, made where it is not there. Raises `CliError`."""
    if context.settings.journal_url.startswith("memory:"):
        raise CliError(ERROR, "JOURNAL_URL: memory:// is gone when this command ends")
    async with errors_as_one_line(context.settings):
        journal = context.journal()
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                is_there = await opened(journal, context.identity(), create=True)
            if not is_there:
                await made(journal)  # which may take its time
            yield journal
        finally:
            await journal.close()
