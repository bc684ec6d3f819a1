"""Before a worker serves: topics, keyspace and tables are there, or the user is told what to do."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from aiokafka.errors import KafkaError

from schemas.registry import SchemaError
from streams.journal import Journal, JournalMissing, Unavailable
from streams.retry import until_it_answers
from streams.schema_registry import RegistryError
from streams.settings import Settings, SettingsError, host_and_port
from streams.topics import Topic, TopicError, ensure_topics

log = logging.getLogger(__name__)

USER_ERROR = 2


@contextmanager
def stop_on_user_error() -> Iterator[None]:
    """End the process with one clear line, and status 2, for what only its user can mend."""
    try:
        yield
    except (SettingsError, TopicError, JournalMissing, SchemaError, RegistryError) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        raise SystemExit(USER_ERROR) from None


def may_create(settings: Settings, url: str = "") -> bool:
    """Whether a worker makes by itself what is missing at a URL, that of the journal if none is given: keyspace and
    tables, or schemas in a registry. Always, never, or on this machine."""
    if settings.setup != "auto":
        return settings.setup == "always"
    netloc = urlsplit(url or settings.journal_url).netloc.rpartition("@")[2]
    hosts = [host_and_port(host, "")[0] for host in netloc.split(",")]
    return all(host in ("", "localhost", "[::1]") or host.startswith("127.") for host in hosts)


async def prepare(settings: Settings, journal: Journal, wanted: Iterable[Topic], create: bool | None = None) -> None:
    """Make the missing topics, and keyspace and tables if this worker may; open the journal.

    Waits for servers that are down. Raises `TopicError`, `JournalMissing`, `SettingsError`.
    """
    topics = list(wanted)
    await until_it_answers(
        lambda: ensure_topics(settings.bootstrap_servers, topics), "Kafka: making topics", (KafkaError, TimeoutError)
    )
    if create if create is not None else may_create(settings):
        await until_it_answers(journal.create, "journal: making tables", Unavailable)
    await until_it_answers(journal.open, "journal", Unavailable)
