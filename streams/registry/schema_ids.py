"""The ids that a schema registry has for the schemas of an events topic.

Subjects follow Confluent's `TopicRecordNameStrategy`: `<topic>-<full name of the record>`, with its versions in their
order. An id never changes, so each is asked for once and kept.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from schemas.registry import BACKWARD, Schema
from schemas.upcasting import Upcaster
from streams.registry.client import Incompatible, RegistryError, SchemaRegistry


class NotRegistered(RegistryError):
    """A schema is not in the registry, and this process may not register it."""


class SchemaIds:
    """The ids of one topic's schemas, by fingerprint; one that the registry does not have is registered, if allowed.

    `schemas` are those known here, the versions of a record in their order, `upcasters` those of the same type.
    """

    def __init__(
        self,
        registry: SchemaRegistry,
        topic: str,
        schemas: Sequence[Schema],
        upcasters: Sequence[Upcaster],
        may_register: bool,
    ) -> None:
        self.registry = registry
        self._topic = topic
        self._schemas = schemas
        self._may_register = may_register
        self._exceptions = {schema.name for schema in schemas if schema.compatibility == BACKWARD}
        self._exceptions |= {upcaster.name for upcaster in upcasters}
        self._ids: dict[bytes, int] = {}

    def __contains__(self, fingerprint: bytes) -> bool:
        return fingerprint in self._ids

    def __getitem__(self, fingerprint: bytes) -> int:
        return self._ids[fingerprint]

    async def learn_all(self) -> AsyncIterator[str]:
        """Learn the ids of all schemas known here, and say of each what happened. Raises `RegistryError`."""
        for schema in self._schemas:
            yield await self.learn(schema)

    async def learn(self, schema: Schema) -> str:
        """Learn the id of a schema; what happened, for people. Raises `RegistryError`."""
        subject = f"{self._topic}-{schema.full_name}"
        version = f"{subject} version {schema.version}"
        id = await self.registry.look_up(subject, schema.json)
        happened = "found"
        if id is None:
            if not self._may_register:
                raise NotRegistered(
                    f"the {self.registry.address} does not have {version}, and SETUP does not let a worker register it:"
                    " run `faust -A <app> schemas register`"
                )
            id, happened = await self._register(subject, schema, version)
        self._ids[bytes.fromhex(schema.fingerprint)] = id
        return f"schema {version}: {happened}, id {id}"

    async def _register(self, subject: str, schema: Schema, version: str) -> tuple[int, str]:
        try:
            return await self.registry.register(subject, schema.json), "registered"
        except Incompatible as error:
            # Our own rule is the stricter one. Where an exception to it is declared, our readers have what it takes;
            # where there is none, the registry has what we do not know.
            if schema.name not in self._exceptions and schema.compatibility != BACKWARD:
                raise Incompatible(
                    f"{version}: {error}. Are there versions that somebody else has registered? If its readers can do"
                    f" with it, PUT /config/{subject} of the registry with compatibility NONE, then try again"
                ) from None
        await self.registry.accept_all(subject)
        id = await self.registry.register(subject, schema.json)
        return id, "registered, the compatibility of its subject set to NONE, since it is a declared exception"
