"""The command line's way to the journal: the state and history of an aggregate, and `setup`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import msgspec

from schemas.sealing import plain
from streams.aggregate_type import AggregateType
from streams.cli.kafka import kafka, partitions_by_topic
from streams.cli.run import ERROR, USAGE, CliError
from streams.cli.schemas import register_schemas
from streams.journal.event_decoding import NotReadableYet, decode_event, place_of
from streams.journal.event_view import entries, learn_for
from streams.journal.identity import check_identity
from streams.journal.port import (
    Aggregates,
    Journal,
    JournalIncomplete,
    JournalMissing,
    NotPermitted,
    StoredEvent,
    Unavailable,
)
from streams.journal.position import stream_name
from streams.kafka import topics
from streams.kafka.client_factory import ClientFactory
from streams.kafka.published_through import JournalBehind, check_not_behind, last_positions
from streams.runtime.preparation import lay_out, made, opened
from streams.settings import Settings, SettingsError
from streams.slices import slice_of
from streams.text import one_line

OPEN_SECONDS = 9.0


@asynccontextmanager
async def errors_as_one_line(settings: Settings) -> AsyncIterator[None]:
    """Turns the errors of a journal in this block into `CliError`, one line with the address and the setting."""
    help = "is it up (make up), is JOURNAL_URL right?"
    try:
        yield
    except NotPermitted as error:
        raise CliError(USAGE, str(error)) from None
    except Unavailable as error:
        raise CliError(ERROR, f"the journal does not answer: {one_line(error)}; {help}") from None
    except TimeoutError:
        url = urlsplit(settings.journal_url)
        address = url.netloc.rpartition("@")[2] or url.path
        raise CliError(ERROR, f"the journal at {address} does not answer in time; {help}") from None
    except NotReadableYet as error:
        raise CliError(ERROR, str(error)) from None
    except (JournalMissing, JournalBehind, SettingsError) as error:
        raise CliError(USAGE, str(error)) from None


@asynccontextmanager
async def journal_of(type: AggregateType) -> AsyncIterator[Journal]:
    """The journal of an aggregate type, open. Raises `CliError`."""
    if type.settings.journal_url.startswith("memory:"):
        raise CliError(
            USAGE, "JOURNAL_URL: memory:// lives inside a worker's process, where the command line cannot look"
        )
    async with errors_as_one_line(type.settings):
        journal = type.journal()
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                await opened(journal, type.identity(), create=False)
            yield journal
        finally:
            await journal.close()


async def read_events(journal: Aggregates, type: str, aggregate_id: str, until: int | None = None) -> list[StoredEvent]:
    """The events of an aggregate, up to sequence `until`. Raises `CliError` when it has none."""
    stored = [row for row in await journal.events(type, aggregate_id) if row.event.is_event]
    if not stored:
        raise CliError(ERROR, f"no {type} {aggregate_id}")
    return [row for row in stored if until is None or row.event.sequence <= until]


async def state_at(context: AggregateType, aggregate_id: str, at: int | None) -> dict[str, Any]:
    """What `show` prints: the state after all events, or after those with a sequence up to `at`. Raises `CliError`."""
    decider = context.decider
    async with journal_of(context) as journal:
        stored = await read_events(journal, decider.type, aggregate_id, at)
        events = [
            event
            for row in stored
            for event in await decode_event(context.events, journal, row.event.data, place_of(row.event), closed=True)
        ]
    state = msgspec.to_builtins(decider.fold(events), str_keys=True, enc_hook=plain)
    return {"type": decider.type, "id": aggregate_id, "sequence": stored[-1].event.sequence, "state": state}


async def history_of(context: AggregateType, aggregate_id: str) -> list[dict[str, Any]]:
    """What `history` prints, oldest first. Raises `CliError`."""
    settings, type = context.settings, context.decider.type
    async with journal_of(context) as journal:
        stored = await read_events(journal, type, aggregate_id)
        stream = stream_name(type, slice_of(aggregate_id, settings.partitions))
        await learn_for(context.events, journal, stored)
    return list(entries(context.events, stream, stored))


async def set_up(contexts: Mapping[str, AggregateType], more: Sequence[topics.Topic] = ()) -> AsyncIterator[str]:
    """Make topics, those of the types and `more`, keyspaces and tables where they are missing, store and register the
    schemas, and say so line by line.

    Raises `CliError` when a server does not answer or a topic has another number of partitions.
    """
    settings = next(iter(contexts.values())).settings
    wanted = [t for type in contexts for t in topics.type_topics(settings.namespace, type, settings.partitions)]
    wanted.append(topics.reply_topic(topics.replies_topic(settings.namespace), settings.partitions))
    wanted = [replace(topic, needs=()) for topic in {topic.name: topic for topic in [*wanted, *more]}.values()]
    async with kafka(settings):
        cluster, _ = await topics.look_at_topics(ClientFactory.of(settings), wanted)
        present = await partitions_by_topic(settings)
    async with errors_as_one_line(settings):  # all is held against one another before anything is made
        for context in contexts.values():
            await _check_journal(context, cluster)
    async with kafka(settings):
        await topics.ensure_topics(ClientFactory.of(settings), wanted)
    for topic in wanted:
        yield f"topic {topic.name}: {'found' if topic.name in present else 'made'}"
    for context in contexts.values():
        async with errors_as_one_line(context.settings):
            yield await _set_up_journal(context, cluster)
    keys = next((context.fences for context in contexts.values() if context.fences is not None), None)
    if keys is not None:
        async with errors_as_one_line(settings):
            yield f"keys of persons: {'made' if await keys.set_up() else 'found'}"
    async for line in register_schemas(contexts):
        yield line


async def _check_journal(context: AggregateType, cluster: str) -> None:
    settings, type, journal = context.settings, context.decider.type, context.journal()
    try:
        try:
            is_there = await opened(journal, context.identity(cluster), create=False)
        except JournalIncomplete:
            return
        except JournalMissing:
            is_there = False
        topic = topics.events_topic(settings.namespace, type)
        async with kafka(settings):
            published = await last_positions(ClientFactory.of(settings), type, topic, settings.partitions)
        await check_not_behind(journal if is_there else None, published)
    finally:
        await journal.close()


async def _set_up_journal(context: AggregateType, cluster: str) -> str:
    journal = context.journal()
    try:
        try:
            await journal.open()
            outcome = "found"
        except JournalMissing:
            await made(journal)
            outcome = "made"
        check_identity(await journal.claim(context.identity(cluster)), context.identity(cluster))
        await lay_out(journal, context.settings, [context.decider.type])
        before = await journal.schemas()
        await journal.save_schemas(context.events.schemas)
        new = len(context.events.schemas.keys() - before.keys())
    finally:
        await journal.close()
    return f"journal of {context.name}: {outcome}; schemas of its events: {len(context.events.schemas)}, {new} new"
