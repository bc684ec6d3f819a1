"""One secured broker, with a namespace of its own, for all of these tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from servers.secured.kafka import ADMIN, SecuredKafka
from servers.where import Where
from tests.chaos.servers import server_port
from tests.e2e.worker import ORDERS, PROJECTIONS
from tests.security.site import Site


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """The topics are made by the administrator, and the rights of the workers are granted."""
    folder = tmp_path_factory.mktemp("secured")
    kafka = SecuredKafka(folder / "kafka", server_port(1, 2), Where.from_environment().jars_of("kafka"), heap="256m")
    _, issuer = kafka.prepare()
    kafka.start(lambda line: None)
    site = Site(kafka, issuer, folder, tmp_path_factory.mktemp("system"))
    try:
        await site.system.open()
        for app in (ORDERS, PROJECTIONS):
            ended = await site.system.run("-A", app, "setup", **site.login(ADMIN))
            assert 0 == ended.returncode, ended.stdout + ended.stderr
        await site.grant_all()
        yield site
        await site.system.close()
    finally:
        kafka.stop()
