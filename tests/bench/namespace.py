"""A namespace for one measurement: nothing of it is left on the servers."""

from __future__ import annotations

import contextlib
import os
import tempfile
import uuid
from collections.abc import AsyncIterator

from streams.settings import Settings
from tests.bench.worker import delete_topics
from tests.stores import drop_journals


@contextlib.asynccontextmanager
async def fresh_namespace() -> AsyncIterator[dict[str, str]]:
    """The environment of its workers, with a `DATA_DIR` that is removed in the end."""
    namespace = f"bench{uuid.uuid4().hex[:6]}_"
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "NAMESPACE": namespace, "DATA_DIR": folder}
        settings = Settings.from_environment(environment)
        try:
            yield environment
        finally:
            await delete_topics(settings.bootstrap_servers, lambda name: name.startswith(namespace))
            for url in {settings.journal_url, settings.read_model_url or settings.journal_url}:
                await drop_journals(url, namespace)
