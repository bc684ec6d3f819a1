"""Events on their way out, in the wire format of a schema registry. What the journal keeps knows nothing of one."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from schemas.registry import Schema
from schemas.wire_format import avro_fingerprint, to_wire
from streams.concurrency.retry import until_it_answers
from streams.journal.port import StoredSchemas, Unavailable
from streams.kafka.client import ProducerRecord
from streams.registry.client import RegistryDown, RegistryError
from streams.registry.schema_ids import SchemaIds

log = logging.getLogger(__name__)


class RegistryFraming:
    """Puts the Avro values of one events topic into the wire format; other formats stay as they are."""

    def __init__(self, ids: SchemaIds, journal: StoredSchemas) -> None:
        self._ids = ids
        self._journal = journal

    async def start(self) -> None:
        """Learn the ids of all schemas known here. Waits for a registry that is down. Raises `RegistryError`."""

        async def learn_all() -> None:
            async for line in self._ids.learn_all():
                log.info(line)

        await until_it_answers(learn_all, "schema registry", RegistryDown)

    async def close(self) -> None:
        await self._ids.registry.close()

    async def __call__(self, stream: str, records: Sequence[ProducerRecord]) -> list[ProducerRecord]:
        """The same records with their values in the wire format.

        For as long as the id of a schema cannot be had, this waits and says why: only this stream stands still.
        """
        sent = []
        for key, value, headers in records:
            fingerprint = avro_fingerprint(value or b"")
            if value is not None and fingerprint is not None:
                if fingerprint not in self._ids:
                    await self._wait_for(stream, fingerprint)
                value = to_wire(value, self._ids[fingerprint])
            sent.append((key, value, headers))
        return sent

    async def _wait_for(self, stream: str, fingerprint: bytes) -> None:
        what = f"{stream}: events wait, nothing is lost: schema {fingerprint.hex()}"
        await until_it_answers(lambda: self._learn(fingerprint), what, (RegistryError, Unavailable))

    async def _learn(self, fingerprint: bytes) -> None:
        """The id of what a newer version wrote, which keeps its schemas in the journal before it writes."""
        json = (await self._journal.schemas()).get(fingerprint.hex())
        if json is None:
            raise RegistryError("it is not in the journal")
        await self._ids.learn(Schema.parse(json))
