"""The context of orders as the command line sees it, on a journal in memory; and how a call stops."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from aggregates.shop.order import order
from schemas.codec import Codec
from schemas.registry import Schemas
from streams.cli.run import CliError
from streams.journal.memory import MemoryJournal, MemoryStore
from streams.journal.port import Identity
from streams.settings import Settings
from streams.slices import partition_of

PARTITIONS = 4
AT = datetime(2026, 11, 23, 9, 30, 0, 123000, UTC)
SLICE = partition_of(b"536365", PARTITIONS)
STREAM = f"order-{SLICE}"


class FakeContext:
    """The context of orders, on a journal in memory that pretends to be elsewhere."""

    def __init__(self, store: MemoryStore, partitions: int = PARTITIONS) -> None:
        schemas = [schema for schema in Schemas.load("shop", "order") if schema.name not in order.commands]
        self.name, self.decider = "orders", order
        self.settings = Settings(partitions=partitions)
        self.events = Codec(schemas, order.events)
        self.store = store

    def journal(self) -> MemoryJournal:
        """All on the same store."""
        return MemoryJournal(self.store)

    def identity(self) -> Identity:
        """As the settings say it."""
        return Identity(context=self.name, namespace="", partitions=self.settings.partitions, cluster="")


def code_of(call: Callable[[], object]) -> int:
    """The exit code that a call stops with."""
    with pytest.raises(CliError) as stopped:
        call()
    assert "\n" not in str(stopped.value)
    return stopped.value.code
