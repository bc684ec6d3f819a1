"""One aggregate type of a bounded context: its domain code, schemas, codecs, topics and journal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from aggregates.decider import Decider
from aggregates.process_manager import ProcessManager
from aggregates.subject import subject
from schemas.codec import Codec
from schemas.drafting.drafts import drafting
from schemas.formats import AVRO, Format
from schemas.registry import SchemaError, Schemas
from schemas.release.check_form import classes
from schemas.release.contract import Contract
from schemas.release.lock import locked_state
from streams.journal.grants import Grant, Role, journal_grants
from streams.journal.port import Identity, Journal
from streams.kafka import topics
from streams.keys.fences import Fences
from streams.keys.keys import Keys
from streams.keys.opening import keys_grants
from streams.limits import RECORD_BYTES, Limits
from streams.open_journal import database_of, open_journal
from streams.registry.client import RegistryAddress, SchemaRegistry
from streams.registry.schema_ids import SchemaIds
from streams.settings import Settings

Kind = Decider[Any, Any, Any] | ProcessManager[Any, Any, Any]


class AggregateType:
    """One aggregate type of a bounded context, its codecs, topics and journal: what agents and command line share.

    `process` is the process manager, where the type is one. `schema_root` is the folder with the schemas: one in
    `schemas/` by its name, or any by its path. Raises `SchemaError`.
    """

    def __init__(
        self,
        name: str,
        kind: Kind,
        settings: Settings,
        schema_root: str | Path,
        format: Format = AVRO,
    ) -> None:
        self.process = kind if isinstance(kind, ProcessManager) else None
        self.accepts = tuple(kind.accepts)
        decider = kind.decider if isinstance(kind, ProcessManager) else kind
        if (drafts := drafting()) is not None:
            drafts.add(decider, schema_root)
        schemas = Schemas.load(schema_root, decider.type)
        schemas.require([*decider.commands, *decider.events])
        if problems := list(classes(Contract(decider, schemas))):
            raise SchemaError("\n".join(str(replace(it, where=f"{schemas.folder}/{it.file}")) for it in problems))
        locked_state(decider)
        upcasters = schemas.upcasters
        self.name = name
        self.schema_root = schema_root
        self.decider = decider
        self.settings = settings
        self.schemas = schemas
        self.event_schemas = [schema for schema in schemas if schema.name not in decider.commands]
        self.events = Codec(self.event_schemas, decider.events, upcasters, format)
        self.keys = Keys.of(settings) if self.events.personal_subjects else None
        self.events.sealer = self.keys
        tells_of_subjects = decider.type == subject.type and bool(settings.key_management)
        self.fences = self.keys or (Fences.of(settings) if tells_of_subjects else None)
        """The rows of keys that its workers change; None where they have to do with no persons."""
        self.commands = Codec([s for s in schemas if s.name in decider.commands], decider.commands, upcasters)
        self.commands_topic = topics.commands_topic(settings.namespace, decider.type)
        self.logs_topic = topics.logs_topic(settings.namespace, decider.type)
        self.commits_topic = topics.commits_topic(settings.namespace, decider.type)
        self.dead_letters_topic = topics.dead_letters_topic(settings.namespace, decider.type)
        self.registry = RegistryAddress.of(settings)

    @property
    def source(self) -> str:
        """What `ce_source` of its messages is."""
        return f"/{self.settings.namespace}{self.name}"

    def journal(self) -> Journal:
        """The context's own journal, not yet open. Raises `SettingsError`."""
        return open_journal(self.settings.journal_url, self.settings.namespace, self.name)

    def grants(self, role: Role) -> set[Grant]:
        """What a process of this role needs of the journal, and of the keys of persons where it has to do with them;
        nothing where the store has no users."""
        database = database_of(self.settings.journal_url, self.settings.namespace, self.name)
        granted = journal_grants(database, role) if database is not None else set()
        return granted | keys_grants(self.settings) if self.fences is not None else granted

    def identity(self, cluster: str = "") -> Identity:
        """Whose its journal is, with the topics of this Kafka cluster; empty: of any."""
        settings = self.settings
        return Identity(
            context=self.name, namespace=settings.namespace, partitions=settings.partitions, cluster=cluster
        )

    def schema_ids(self, may_register: bool) -> SchemaIds | None:
        """The ids that the schema registry has for its events; None where there is no registry."""
        if self.registry is None:
            return None
        topic = topics.events_topic(self.settings.namespace, self.decider.type)
        registry = SchemaRegistry(self.registry)
        return SchemaIds(registry, topic, self.event_schemas, self.schemas.upcasters, may_register)

    def limits(self) -> Limits:
        """What its owners take on. A process manager hears events as JSON, which is larger than the events were, and no
        sender could be told to say less: its owners take commands of any size that its topic takes."""
        hears = self.process is not None and self.process.hears
        return replace(self.settings, command_bytes=RECORD_BYTES) if hears else self.settings
