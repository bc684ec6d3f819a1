"""An aggregate type of somebody else's, of which there is nothing here but its topic of events and their schemas."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from schemas.codec import Codec
from schemas.registry import SchemaError, Schemas
from streams.kafka import topics
from streams.settings import Settings


class ForeignType:
    """The events of an aggregate type that another context owns, read as fields of plain JSON: no class is needed.

    `schema_root` is the folder with copies of the owner's schemas: `<type>/<Event>.v1.avsc` and those that follow.
    `events` names those that are read; the default is all that have a schema there. Events of other names are passed
    over unread, so that what is new at the owner's holds nothing up. `settings` has the namespace of the owner and its
    number of partitions. Raises `SchemaError`.
    """

    def __init__(self, type: str, settings: Settings, schema_root: str | Path, events: Collection[str] = ()) -> None:
        schemas = Schemas.load(schema_root, type)
        schemas.require(events)
        if not len(schemas):
            raise SchemaError(f"{schemas.folder} has no schema of an event of {type}: copy those of its owner")
        self.type = type
        name, partitions = topics.events_topic(settings.namespace, type), settings.partitions
        self.topic = topics.Topic(name, partitions, topics.FOREVER, needs=topics.READS["events"])
        self._codec = Codec(schemas, {}, schemas.upcasters)
        self._wanted = frozenset(events or (schema.name for schema in schemas))
        former = {
            alias.rpartition(".")[2] for schema in schemas if schema.name in self._wanted for alias in schema.aliases
        }
        self._read = self._wanted | former | {upcaster.name for upcaster in schemas.upcasters}

    def reads(self, name: str) -> bool:
        """Whether events of this name are read."""
        return name in self._read

    def decode(self, name: str, data: bytes) -> list[tuple[str, dict[str, Any]]]:
        """The newest names and fields that an event stands for; none for one that is not read. Raises `Undecodable`."""
        if not self.reads(name):
            return []
        parts = self._codec.decode_to_builtins(data)
        return [(schema.name, fields) for schema, fields in parts if schema.name in self._wanted]
