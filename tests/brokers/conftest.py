"""Each fault has a namespace of its own, on three brokers that all faults share and nobody else uses."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import pytest_asyncio

from servers import kafka
from servers.secured.kafka import ADMIN, SecuredKafka
from servers.where import Where
from tests.brokers.cluster import Broker, Cluster, PlainBroker, SecuredBroker
from tests.chaos.results import Result, report, table
from tests.chaos.rig import UnderLoad
from tests.chaos.servers import ended, own_folder, server_port
from tests.e2e.system import System
from tests.e2e.worker import ORDERS, PROJECTIONS
from tests.security.site import Site
from tests.side_by_side import keep_table

RESULTS = pytest.StashKey[list[Result]]()
TITLE = "Faults of three brokers under load"
NEXT = kafka.NEXT_BROKER


@dataclass(kw_only=True)
class Rig(UnderLoad):
    """A system under load on three brokers."""

    cluster: Cluster


@dataclass(kw_only=True)
class SecuredRig(Rig):
    """The same with TLS, logins and rights."""

    site: Site


@pytest.fixture(scope="session")
def results(pytestconfig: pytest.Config) -> list[Result]:
    """One for each fault that the system has stood."""
    return pytestconfig.stash.setdefault(RESULTS, [])


@pytest.fixture(scope="session")
def brokers() -> Iterator[list[PlainBroker]]:
    """Three, not started."""
    with own_folder("brokers") as where:
        cluster = kafka.cluster(replace(where, kafka_port=server_port(1, NEXT, NEXT + 1, 2 * NEXT, 2 * NEXT + 1)))
        brokers = [PlainBroker("kafka", each) for each in cluster]
        with ended(brokers):
            yield brokers


@pytest_asyncio.fixture
async def rig(tmp_path: Path, brokers: list[PlainBroker], results: list[Result]) -> AsyncIterator[Rig]:
    """A new namespace on brokers that are up, and no workers yet."""
    await asyncio.gather(*(broker.start() for broker in brokers))
    addresses = ";".join(f"kafka://{broker.address}" for broker in brokers)
    system = System(tmp_path, f"sqlite:///{tmp_path}/journal", addresses)
    await system.open()
    cluster = Cluster(brokers, system)
    yield Rig(system, True, results, cluster=cluster)
    await _up_again(cluster)
    await system.close()


@pytest_asyncio.fixture
async def secured(tmp_path: Path, results: list[Result], pytestconfig: pytest.Config) -> AsyncIterator[SecuredRig]:
    """Three brokers that let nobody do what was not granted: the topics of the system are made, and its rights are
    granted."""
    port = server_port(1, 2, *(NEXT * further + own for further in (1, 2) for own in range(3)))
    jars = Where.from_environment().jars_of("kafka")
    kafka = SecuredKafka(tmp_path / "kafka", port, jars, heap="256m", count=3)
    _, issuer = kafka.prepare()
    try:
        await asyncio.to_thread(kafka.start, lambda line: None)
        (tmp_path / "system").mkdir()
        site = Site(kafka, issuer, tmp_path, tmp_path / "system")
        await site.system.open()
        for app in (ORDERS, PROJECTIONS):
            done = await site.system.run("-A", app, "setup", **site.login(ADMIN))
            assert 0 == done.returncode, done.stdout + done.stderr
        await site.grant_all()
        cluster = Cluster([SecuredBroker(kafka, broker) for broker in kafka.brokers], site.system)
        yield SecuredRig(site.system, True, results, cluster=cluster, site=site)
        await _up_again(cluster)
        await site.system.close()
    finally:
        kafka.stop()


async def _up_again(cluster: Cluster) -> None:
    """Where a fault has failed in the middle."""

    async def up(broker: Broker) -> None:
        try:
            broker.signal(signal.SIGCONT)
        except AssertionError:
            await broker.start()

    await asyncio.gather(*map(up, cluster.brokers))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """The table, for the process that prints what all have found."""
    if results := session.config.stash.get(RESULTS, []):
        keep_table(session.config, TITLE.lower(), table(results))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The table; to a file as well when `--report` names one."""
    if results := config.stash.get(RESULTS, []):
        terminalreporter.section(TITLE.lower())
        for line in table(results):
            terminalreporter.write_line(line)
        if path := config.getoption("report"):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_text(report(results, TITLE))
