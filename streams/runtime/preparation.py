"""Before a worker serves: topics, keyspace and tables are there, or the user is told what to do."""

from __future__ import annotations

import logging
import secrets
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from aiokafka.errors import KafkaError
from msgspec.structs import replace

from schemas.registry import SchemaError
from streams.concurrency.retry import until_it_answers
from streams.journal.identity import check_identity
from streams.journal.layout import first_layout
from streams.journal.port import (
    Identity,
    Journal,
    JournalIncomplete,
    JournalMissing,
    Log,
    NotPermitted,
    Unavailable,
)
from streams.kafka.client_factory import ClientFactory
from streams.kafka.published_through import JournalBehind, check_not_behind, last_positions
from streams.kafka.topics import Topic, TopicError, ensure_topics, events_topic, look_at_topics
from streams.registry.client import RegistryError
from streams.settings import Settings, SettingsError, is_here

log = logging.getLogger(__name__)

T = TypeVar("T")

USER_ERROR = 2
HINT_KEY_BYTES = 16

_KAFKA = (KafkaError, TimeoutError)


class NotMadeYet(Exception):
    """A topic of somebody else's is not there."""


@contextmanager
def stop_on_user_error() -> Iterator[None]:
    """End the process with one clear line, and status 2, for what only its user can mend."""
    try:
        yield
    except (
        SettingsError,
        TopicError,
        JournalMissing,
        JournalBehind,
        NotPermitted,
        SchemaError,
        RegistryError,
    ) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        raise SystemExit(USER_ERROR) from None


async def journal_answers(operation: Callable[[], Awaitable[T]], what: str = "journal") -> T:
    """What a start asks of a store, which may be down. Raises `NotPermitted`: nobody waits for a right at a start."""
    return await until_it_answers(operation, what, Unavailable, unless=NotPermitted)


def may_create(settings: Settings, url: str = "") -> bool:
    """Whether a worker makes by itself what is missing at a URL, that of the journal if none is given: keyspace and
    tables, or schemas in a registry. Always, never, or on this machine."""
    if settings.setup != "auto":
        return settings.setup == "always"
    return is_here(url or settings.journal_url, "JOURNAL_URL")


async def prepare(
    settings: Settings,
    journal: Journal,
    whose: Identity,
    wanted: Iterable[Topic],
    types: Sequence[str],
    is_owner: bool = True,
) -> str:
    """Make the missing topics, keyspace and tables if this worker may, and the first layouts; open the journal.

    Before anything is made, all that is there is held against one another: the journal is `whose` it has to be, the
    topics have the right number of partitions, and of its `types`, where the app is their owner, nothing was published
    that the journal does not have. Waits for servers that are down. Returns the id of the Kafka cluster. Raises
    `TopicError`, `JournalMissing`, `JournalBehind`, `SettingsError`.
    """
    clients, may_make = ClientFactory.of(settings), settings.setup != "never"
    topics = [topic for topic in wanted if may_make or topic.needs]
    cluster, _ = await until_it_answers(lambda: look_at_topics(clients, topics), "Kafka", _KAFKA)
    ours = replace(whose, cluster=cluster)
    open_it = partial(opened, journal, ours, may_create(settings))
    is_there = await journal_answers(open_it)
    for type in types if is_owner else ():
        topic = events_topic(settings.namespace, type)
        published = await until_it_answers(
            partial(last_positions, clients, type, topic, settings.partitions), f"Kafka: looking at {topic}", _KAFKA
        )
        if published and not is_there:  # another worker may have made it since, and published
            is_there = await journal_answers(open_it)
        check = partial(check_not_behind, journal if is_there else None, published)
        await journal_answers(check)
    if not is_there:
        await journal_answers(partial(made, journal), "journal: making tables")
    check_identity(await journal_answers(lambda: journal.claim(ours)), ours)
    await journal_answers(partial(lay_out, journal, settings, types))
    ensure = partial(ensure_topics, clients, topics, may_make)
    await until_it_answers(ensure, "Kafka: making topics", _KAFKA)
    return cluster


async def lay_out(journal: Log, settings: Settings, types: Iterable[str]) -> None:
    """Say which logs each of these types begins with, and with which slices, where nobody has; and make the key of its
    hints, which journals of older versions lack. Raises `Unavailable`."""
    for type in types:
        key, layout = secrets.token_hex(HINT_KEY_BYTES), await journal.layout(type)
        if layout is None:
            await journal.change_layout(type, first_layout(settings.partitions, settings.logs, key))
        elif not layout.hint_key:
            await journal.change_layout(type, layout.with_hint_key(key))


async def topics_of_others(settings: Settings, theirs: Sequence[Topic]) -> str:
    """Wait until somebody else has made these topics. Returns the id of the Kafka cluster.

    Raises `TopicError` where one has another number of partitions than PARTITIONS says.
    """

    async def there() -> str:
        cluster, missing = await look_at_topics(ClientFactory.of(settings), theirs)
        if missing:
            raise NotMadeYet(f"there is no topic {missing[0]} yet, which the app that owns it makes")
        return cluster

    return await until_it_answers(there, "Kafka", (*_KAFKA, NotMadeYet))


async def opened(journal: Journal, ours: Identity, create: bool) -> bool:
    """Open a journal if it is there, with the tables that a newer version has added if this worker may `create` them.

    False where it is not there and may be made. Raises `JournalMissing`, `Unavailable`, and `SettingsError` when it is
    another system's.
    """
    try:
        await journal.open()
    except JournalIncomplete:
        if not create:
            raise
        await made(journal)
    except JournalMissing:
        if not create:
            raise
        return False
    try:
        identity = await journal.identity()
        if identity is not None:
            check_identity(identity, ours)
    except BaseException:
        await journal.close()
        raise
    return True


async def made(journal: Journal) -> None:
    """Make keyspace and tables, and open the journal."""
    await journal.create()
    await journal.open()
