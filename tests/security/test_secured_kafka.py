"""Workers on a Kafka with TLS, logins and rights: they work by what is granted, say what is wrong, and go on when it is
mended."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiokafka import TopicPartition

from servers.secured.certificates import Authority
from servers.secured.kafka import ADMIN, SERVER
from servers.where import HOST
from streams.kafka.client_factory import ClientFactory
from streams.settings import Settings
from tests.e2e.client import eventually
from tests.e2e.worker import ORDERS, PROJECTIONS, Worker
from tests.security.site import Site

pytestmark = pytest.mark.asyncio(loop_scope="package")

CANARY = "canary-5e1f"
CLOSED_SECONDS = 2.0
TOKEN_SECONDS = 15


class Workers:
    """One of orders, by password; one of projections, by a token."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.token = site.folder / "token"
        site.write_token(self.token, "projections", 3_600)
        self.orders = site.system.start(ORDERS, **site.login("orders"))
        self.projections = site.system.start(PROJECTIONS, **site.bearer(self.token))
        self._number = 0

    async def order(self) -> dict[str, Any]:
        """Open an order by HTTP, and see it in the table: the row."""
        self._number += 1
        url, id = self.projections.url, f"o-{self._number}"
        body = {"type": "OpenOrder", "data": {"user_id": "u1", "kind": "sale"}}
        async with self.site.system.http.post(f"{url}/orders/{id}/commands", json=body) as response:
            reply = await response.json()
            assert 200 == response.status, reply
        headers = {"At-Least": reply["position"], "Prefer": "wait=30"}
        async with self.site.system.http.get(f"{url}/orders/{id}", headers=headers) as response:
            row = await response.json()
            assert 200 == response.status, row
            return dict(row)

    async def ordered(self) -> bool:
        """Whether that works just now, as it does not while a table moves to a worker that has just come."""
        try:
            await self.order()
        except (AssertionError, KeyError, aiohttp.ClientError):
            return False
        return True

    async def health(self, worker: Worker) -> tuple[int, str]:
        """Status and text."""
        async with self.site.system.http.get(f"{worker.url}/health/ready") as response:
            return response.status, await response.text()


@pytest_asyncio.fixture(scope="module", loop_scope="package")
async def workers(site: Site) -> Workers:
    """Both are ready."""
    workers = Workers(site)
    await site.system.all_served(workers.orders)
    await site.system.all_served(workers.projections)
    return workers


def errors(worker: Worker, text: str) -> list[str]:
    """The lines of its log with this text."""
    return [line for line in worker.lines if text in line]


async def test_a_command_and_a_query(workers: Workers) -> None:
    """With the rights that are granted and no others, over TLS."""
    row = await workers.order()
    assert ("o-1", "u1") == (row["id"], row["user_id"])


async def test_a_consumer_whose_request_waits_closes_at_once(site: Site) -> None:
    """The broker says no goodbye on a connection while it keeps a request, and a rebalance cannot wait for it."""
    clients = ClientFactory.of(Settings.from_environment(site.login(ADMIN)))
    consumer = clients.consumer(enable_auto_commit=False, auto_offset_reset="earliest", fetch_max_wait_ms=20_000)
    await consumer.start()
    consumer.assign([TopicPartition(site.system.topic("order-commands"), 0)])
    await consumer.seek_to_end()
    await consumer.getmany(timeout_ms=500)
    began = time.monotonic()
    await consumer.stop()
    assert time.monotonic() - began < CLOSED_SECONDS


async def started(site: Site, environment: dict[str, str], module: str = ORDERS) -> CompletedProcess[str]:
    """A worker that is to end by itself."""
    return await site.system.run("-A", module, "worker", "--without-web", timeout=60, **environment)


@asynccontextmanager
async def another_name(site: Site) -> AsyncIterator[str]:
    """The same listener at an address that its certificate does not name."""

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, to = await asyncio.open_connection(HOST, site.kafka.port)

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(1 << 16):
                sink.write(data)
            sink.close()

        await asyncio.gather(copy(reader, to), copy(there, writer), return_exceptions=True)

    async with await asyncio.start_server(pass_on, "127.0.0.3", 0) as server:
        yield f"kafka://127.0.0.3:{server.sockets[0].getsockname()[1]}"


def with_token(site: Site, seconds: float) -> dict[str, str]:
    """The settings of whoever has a token that is good for so long."""
    file = site.folder / f"token-{seconds:g}"
    site.write_token(file, "orders", seconds)
    return site.bearer(file)


MISTAKES: dict[str, tuple[Callable[[Site], dict[str, str]], str]] = {
    "password": (
        lambda site: {**site.login("orders", KAFKA_PASSWORD=CANARY), "KAFKA_PASSWORD_FILE": ""},
        "does not let 'orders' in by SCRAM-SHA-512: are KAFKA_USER and KAFKA_PASSWORD right?",
    ),
    "authority": (
        lambda site: site.login("orders", KAFKA_CA_FILE=str(Authority(site.folder / "other").file)),
        "its certificate is from an authority that is not trusted: set KAFKA_CA_FILE",
    ),
    "certificate": (
        lambda site: site.certified(Authority(site.folder / "stranger").issue("orders")),
        "does not take the certificate of this process",
    ),
    "token": (lambda site: with_token(site, -60), "its token has ended: renew it"),
    "group": (lambda site: site.login("nobody"), "the consumer group"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
async def test_a_mistake_at_start(site: Site, mistake: str) -> None:
    """One line that says which it is, and status 2."""
    environment, said = MISTAKES[mistake]
    ended = await started(site, environment(site))
    output = ended.stdout + ended.stderr
    [line] = [line for line in output.splitlines() if line.startswith("error: ")]
    assert 2 == ended.returncode, output
    assert said in line
    assert "Traceback" not in output
    assert CANARY not in output


async def test_another_name_at_start(site: Site) -> None:
    """A certificate is for the names in it alone."""
    async with another_name(site) as brokers:
        ended = await started(site, site.login("orders", KAFKA_BROKERS=brokers))
    assert 2 == ended.returncode, ended.stdout + ended.stderr
    assert "its certificate is for another name than 127.0.0.3" in ended.stderr


async def test_a_right_that_is_missing_at_start(site: Site) -> None:
    """Which topic, and which right."""
    await site.grant("nobody", "Read", "group:orders*")
    ended = await started(site, site.login("nobody"))
    assert 2 == ended.returncode, ended.stdout + ended.stderr
    assert "this process may not look at it: grant Describe on it" in ended.stderr
    topics = ("commands", "logs", "commits", "events", "dead-letters")
    others = "topic:replies", "topic:orders-keys"
    await site.grant("nobody", "Describe", *others, *(f"topic:order-{topic}" for topic in topics))
    ended = await started(site, site.login("nobody"))
    assert 2 == ended.returncode, ended.stdout + ended.stderr
    assert "grant Write on it" in ended.stderr


async def test_the_command_line(site: Site, workers: Workers) -> None:
    """It is let in in the same way, and says the same. A topic that it may not look at is not a missing one."""
    ended = await site.system.run("-A", ORDERS, "owners", **site.login("orders"))
    assert 0 == ended.returncode, ended.stdout + ended.stderr
    command = ("-A", ORDERS, "send", "order", "x", "OpenOrder", "{}")
    wrong = {**site.login("orders", KAFKA_PASSWORD=CANARY), "KAFKA_PASSWORD_FILE": ""}
    ended = await site.system.run(*command, **wrong)
    assert (2, True) == (ended.returncode, "does not let 'orders' in" in ended.stderr), ended.stderr
    assert CANARY not in ended.stdout + ended.stderr
    ended = await site.system.run("-A", ORDERS, "send", "product", "x", "Restock", "{}", **site.login("orders"))
    assert 2 == ended.returncode, ended.stderr
    assert "product-commands: this process may not look at it" in ended.stderr
    ended = await site.system.run("-A", ORDERS, "dead-letters", "list", "order", **site.login("users"))
    assert 2 == ended.returncode, ended.stderr
    assert "order-dead-letters: this process may not look at it" in ended.stderr


async def test_rights_that_are_revoked(site: Site, workers: Workers) -> None:
    """What a worker may not do any more is said once, shown, and waited out."""
    topic = site.system.topic("order-commands")
    await site.revoke("orders", "Read", "topic:order-commands")
    await eventually(lambda: errors(workers.orders, f"{topic}: this process may not"), 60, workers.orders.tail)

    async def shown() -> bool:
        status, text = await workers.health(workers.orders)
        return status == 503 and topic in text

    await eventually(shown, 60, workers.orders.tail)
    await site.grant("orders", "Read", "topic:order-commands")
    await eventually(lambda: healthy(workers, workers.orders), 60, workers.orders.tail)
    await workers.order()
    events = site.system.topic("order-events")
    await site.revoke("projections", "Write", "topic:order-events")

    async def unseen() -> bool:
        """Whether an order is decided, and not to be seen. The broker may take a moment to know of the right."""
        try:
            async with asyncio.timeout(10):
                await workers.order()
        except (AssertionError, TimeoutError):
            return True
        return False

    await eventually(unseen, 60, workers.projections.tail)
    await eventually(lambda: errors(workers.projections, f"{events}: this process may not write to it"), 30, "it says")
    await site.grant("projections", "Write", "topic:order-events")
    await workers.order()
    assert len(errors(workers.projections, "may not write to it")) <= 3


async def healthy(workers: Workers, worker: Worker) -> bool:
    """Whether it is ready."""
    return (await workers.health(worker))[0] == 200


async def test_tokens_that_end(site: Site, workers: Workers) -> None:
    """A session ends with its token: the next connection has the next one, and nobody notices. When nobody renews it,
    that is shown; when somebody does, all goes on."""
    site.write_token(workers.token, "projections", TOKEN_SECONDS)
    worker = site.system.start(PROJECTIONS, **site.bearer(workers.token))
    both = workers.projections, worker
    deadline = asyncio.get_running_loop().time() + 2.5 * TOKEN_SECONDS

    async def renew() -> None:
        while True:
            site.write_token(workers.token, "projections", TOKEN_SECONDS)
            await asyncio.sleep(TOKEN_SECONDS / 5)

    renewing = asyncio.create_task(renew())
    while asyncio.get_running_loop().time() < deadline:
        await eventually(workers.ordered, 30, worker.tail)
    renewing.cancel()
    assert [] == [line for it in both for line in errors(it, "its token has ended")]

    async def shown() -> bool:
        found = await asyncio.gather(*map(workers.health, both))
        return any(status == 503 and "its token has ended" in text for status, text in found)

    await eventually(shown, 4 * TOKEN_SECONDS, worker.tail)
    site.write_token(workers.token, "projections", 3_600)

    async def well() -> bool:
        return all(await asyncio.gather(*(healthy(workers, it) for it in both)))

    await eventually(well, 60, lambda: "\n".join(it.tail() for it in both))
    await workers.order()


async def test_certificates_that_are_renewed(site: Site) -> None:
    """Of the broker, by another authority, and of the worker: taken at the next connection."""
    folder = site.folder / "certified"
    folder.mkdir()
    own = Authority(site.kafka.folder / "second", "ca")

    def mount(name: str, ca: Path, certificate: Path) -> None:
        """Puts both files in place in one step, as Kubernetes does with those of a secret."""
        (folder / name).mkdir()
        shutil.copy(ca, folder / name / "ca.pem")
        shutil.copy(certificate, folder / name / "own.pem")
        (folder / "next").symlink_to(name)
        (folder / "next").replace(folder / "data")

    mount("first", site.kafka.ca, site.kafka.certificate("orders"))
    settings = {**site.certified(folder / "data/own.pem"), "KAFKA_CA_FILE": str(folder / "data/ca.pem")}
    worker = site.system.start(ORDERS, **settings)
    await eventually(lambda: worker.last_ready, 60, worker.tail)
    before = len(worker.lines)
    # The broker comes back with certificates of the second authority, and takes only such.
    await asyncio.to_thread(site.kafka.stop)
    shutil.copy(own.issue_here(SERVER), site.kafka.certificate(SERVER))
    shutil.copy(own.file, site.kafka.ca)
    await asyncio.to_thread(site.kafka.start, lambda line: None)
    await eventually(lambda: errors(worker, "from an authority that is not trusted"), 60, worker.tail)
    mount("second", own.file, own.issue("orders"))
    await eventually(lambda: errors(worker, "takes connections of this process again"), 60, worker.tail)

    async def ready() -> bool:
        async with site.system.http.get(f"{worker.url}/health/ready") as response:
            return response.status == 200

    await eventually(ready, 60, worker.tail)
    assert 1 == sum("KAFKA: its files are renewed" in line for line in worker.lines[before:])
    assert worker.running


async def test_no_secret_is_shown(site: Site, workers: Workers) -> None:
    """Neither in a log, nor on a page, nor in the metrics, nor by `--help`."""
    secrets = {site.kafka.password(user) for user in ("orders", "projections", "admin")} | site.secrets
    shown = {worker.log.name: worker.log.read_text(errors="replace") for worker in site.system.workers}
    for worker in (workers.orders, workers.projections):
        for page in ("/health/ready", "/health/live", "/metrics", "/lag", "/owners", "/openapi.json", "/projections"):
            async with site.system.http.get(worker.url + page) as response:
                shown[f"{worker.module}{page}"] = await response.text()
    for arguments in (["--help"], ["worker", "--help"], ["agents"]):
        ended = await site.system.run("-A", ORDERS, *arguments, **site.login("orders"))
        shown[" ".join(arguments)] = ended.stdout + ended.stderr
    assert [] == [where for where, text in shown.items() for secret in secrets if secret in text]
