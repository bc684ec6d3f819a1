"""The whole shop with the rights that its apps print: with all of them it works, without any one of them it says which
one is missing, and goes on when that is given back."""

from __future__ import annotations

import asyncio
import json
import re
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import aiohttp
import pytest
import pytest_asyncio

from servers.secured.grants import grant, revoke
from streams.kafka.client import KafkaClient
from streams.kafka.client_factory import ClientFactory
from streams.settings import Settings
from tests.e2e.client import PARTITIONS, eventually
from tests.e2e.orders import OPEN
from tests.e2e.test_least_rights import do_everything
from tests.e2e.worker import CHECKOUT, ORDERS, PRODUCTS, PROJECTIONS, TIMERS, USERS, Worker
from tests.secured.let_in import SENDS_TO, password_of
from tests.secured.servers import USER, secured_servers
from tests.secured.system import SecuredSystem

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.full]

APPS = (ORDERS, PRODUCTS, USERS, CHECKOUT, TIMERS, PROJECTIONS)
TYPES = ("order", "product", "user", "email", "checkout", "timer", "subject")
NOTICED, WELL = 60.0, 90.0
STOPS = 10.0
LARGE = 3_000_000
CONFIGS = "DescribeConfigs"
NAMED = ("topic Write", "topic Read", "group Read")
"""The kinds of rights that a worker says it lacks before it has made use of them."""
DUE = {"due": "2020-01-01T00:00:00Z", "to": SENDS_TO[TIMERS][0], "id": "each", "command": "ShipOrder"}


class Right(NamedTuple):
    """A right that an app prints for its user."""

    app: str
    user: str
    resource: str
    """`topic` or `group`."""
    name: str
    prefixed: bool
    operation: str

    @property
    def kind(self) -> str:
        return f"{self.resource} {self.operation}"

    @property
    def place(self) -> str:
        return f"{self.resource}:{self.name}{'*' * self.prefixed}"

    def is_said_in(self, text: str) -> bool:
        """Whether somebody is told that it is missing."""
        if self.resource == "group":
            return f"the consumer group {self.name}: this process may not be a member of it: grant Read" in text
        granted = re.findall(rf"\b{re.escape(self.name)}: this process may not [a-z ]+: grant ([A-Za-z ]+) on it", text)
        return any(self.operation in each.split(" and ") for each in granted)


def is_not_wired(right: Right) -> bool:
    """Whether the wiring of the app does not say that it needs this."""
    return any(right.name.endswith(f"{type}-commands") for type in SENDS_TO.get(right.app, ()))


@dataclass
class Shop:
    """A worker of each app, and what their users may do."""

    system: SecuredSystem
    workers: dict[str, Worker]
    number: int = 0

    @property
    def door(self) -> Worker:
        return self.workers[PROJECTIONS]

    async def change(self, rights: list[Right], back: bool) -> None:
        """Take rights away, or give them back."""
        places: dict[tuple[str, str], list[str]] = defaultdict(list)
        for right in rights:
            places[right.user, right.operation].append(right.place)
        for (user, operation), those in places.items():
            await (grant if back else revoke)(self.system.clients, user, operation, *those)

    async def health(self, worker: Worker) -> tuple[int, str]:
        """Status and text."""
        async with self.system.http.get(f"{worker.url}/health/ready") as response:
            return response.status, await response.text()

    async def all_well(self) -> bool:
        return all([(await self.health(worker))[0] == 200 for worker in self.workers.values()])

    async def order(self) -> bool:
        """Whether an order is opened over HTTP and seen in the table, within some seconds."""
        self.number += 1
        url, body = f"{self.door.url}/orders/each-{self.number}", {"type": "OpenOrder", "data": OPEN}
        timeout = aiohttp.ClientTimeout(total=STOPS)
        try:
            async with self.system.http.post(f"{url}/commands", json=body, timeout=timeout) as response:
                reply = await response.json()
            named = {"At-Least": reply["position"], "Prefer": f"wait={STOPS:g}"}
            async with self.system.http.get(url, headers=named, timeout=timeout) as response:
                return response.status == 200
        except (KeyError, TimeoutError, aiohttp.ClientError):
            return False

    async def faults(self) -> dict[str, str]:
        """By group why the console cannot tell who is in it."""
        _, page, _ = await self.system.get(self.door, "/contexts")
        return {self.system.namespace + context["name"]: context["fault"] for context in page["contexts"]}

    async def ask_all(self) -> list[str]:
        """A command to each type, whose reply goes to a topic of ours: the ids."""
        topic = self.system.topic("answers")
        return [await self.system.command(type, "x", "NoSuchCommand", {}, reply_to=topic) for type in TYPES]

    async def all_reply(self) -> None:
        """Return when each type has replied there."""
        inbox = await self.system.answers()
        for id in await self.ask_all():
            assert "failed" == (await inbox.answer(id, seconds=WELL))["status"]


async def printed(system: SecuredSystem, app: str) -> list[Right]:
    """All of an app."""
    more = [word for type in SENDS_TO.get(app, ()) for word in ("--sends-to", type)]
    shown = await system.run("-A", app, "acls", "--json", *more)
    assert 0 == shown.returncode, shown.stderr
    return [
        Right(app, acl["principal"].removeprefix("User:"), acl["resource"], acl["name"], prefixed, operation)
        for acl in map(json.loads, shown.stdout.splitlines())
        for prefixed in [acl["pattern"] == "prefixed"]
        for operation in acl["operations"]
    ]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rights(shop: Shop) -> list[Right]:
    """All of all apps, whose users have no others."""
    found = await asyncio.gather(*(printed(shop.system, app) for app in APPS))
    return [right for those in found for right in those]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    """All workers are ready."""
    folder: Path = tmp_path_factory.mktemp("each-right")
    with secured_servers(folder, "kafka") as servers:
        system = SecuredSystem(folder, f"sqlite:///{folder}/journal", servers)
        await system.open()
        await system.answers()
        workers = {app: system.start(app) for app in APPS}
        for worker in workers.values():
            await system.all_served(worker, seconds=180)
        yield Shop(system, workers)
        await system.close()


async def test_with_all_of_them(shop: Shop) -> None:
    """All that a system does is done: over Kafka and HTTP, with TLS and logins, a token and certificates."""
    await do_everything(shop.system, shop.door, USER)
    assert await shop.all_well()


async def test_each_is_taken_away(rights: list[Right]) -> None:
    """By the tests below, in these kinds."""
    assert {*NAMED, "topic DescribeConfigs", "group Describe"} == {right.kind for right in rights}


@pytest.mark.parametrize("kind", NAMED)
async def test_without_one_of_them(shop: Shop, rights: list[Right], kind: str) -> None:
    """Each right that is taken away is named by the worker that had it, and orders are opened no more; given back, all
    goes on by itself. The rights of one kind are taken from all apps at a time."""
    await eventually(shop.all_well, WELL, "not all are well")
    taken = [right for right in rights if right.kind == kind and not right.prefixed and not is_not_wired(right)]
    missed = list(taken)

    async def all_said() -> bool:
        nonlocal missed
        for app, worker in shop.workers.items():
            _, text = await shop.health(worker)
            missed = [right for right in missed if right.app != app or not right.is_said_in(text)]
        return not missed

    try:
        await shop.change(taken, back=False)
        await eventually(all_said, NOTICED, lambda: "nobody has said\n" + "\n".join(map(str, missed)))
        assert not await shop.order()
    finally:
        await shop.change(taken, back=True)
    await eventually(shop.all_well, WELL, lambda: "\n".join(worker.tail() for worker in shop.workers.values()))
    await eventually(shop.order, WELL, shop.door.tail)
    assert all(worker.running for worker in shop.workers.values())


async def test_without_what_timers_send_to(shop: Shop, rights: list[Right]) -> None:
    """Of the types that timers go to a worker knows by the timers alone: what is due to one of them waits, and that is
    said; given back, it is sent."""
    [right] = [right for right in rights if is_not_wired(right) and right.operation == "Write"]
    worker, begin = shop.workers[TIMERS], len(shop.workers[TIMERS].lines)
    topic = right.name.removeprefix(shop.system.namespace)

    async def sent() -> int:
        return sum((await shop.system.ends(topic)).values())

    before = await sent()
    try:
        await shop.change([right], back=False)
        reply = await shop.system.ask("timer", "each", "ScheduleTimer", DUE, seconds=STOPS)
        assert "accepted" == reply["status"]
        named = f"{right.name}: this process may not"
        await eventually(lambda: any(named in line for line in worker.lines[begin:]), NOTICED, worker.tail)
        assert before == await sent()
    finally:
        await shop.change([right], back=True)

    async def is_sent() -> bool:
        return await sent() > before

    await eventually(is_sent, WELL, worker.tail)
    await eventually(shop.all_well, WELL, worker.tail)


async def test_without_a_look_at_groups(shop: Shop, rights: list[Right]) -> None:
    """Whose workers a worker of the read side may not look for, those the console does not show, and says why."""
    taken = [right for right in rights if right.kind == "group Describe"]

    async def are_said(wanted: bool) -> bool:
        faults = await shop.faults()
        return all(wanted == ("grant Describe on it" in faults[right.name]) for right in taken)

    assert await are_said(False)
    try:
        await shop.change(taken, back=False)
        await eventually(lambda: are_said(True), NOTICED, "not each is said")
    finally:
        await shop.change(taken, back=True)
    await eventually(lambda: are_said(False), WELL, "they are still said")


async def test_without_the_topics_of_replies(shop: Shop, rights: list[Right]) -> None:
    """What `REPLY_TOPICS` names is no topic that a worker needs: commands are decided, their replies are lost, and that
    is said."""
    await shop.all_reply()
    taken = [right for right in rights if right.prefixed and right.operation == "Write"]
    begins = {right: len(shop.workers[right.app].lines) for right in taken}
    inbox = await shop.system.answers()

    def unsaid() -> list[Right]:
        new = {right: "\n".join(shop.workers[right.app].lines[begin:]) for right, begin in begins.items()}
        return [
            right for right in taken if not ("messages to it are lost" in new[right] and right.is_said_in(new[right]))
        ]

    try:
        await shop.change(taken, back=False)
        ids = await shop.ask_all()
        await eventually(lambda: not unsaid(), NOTICED, lambda: f"nobody has said {unsaid()}")
        assert [] == [id for id in ids if inbox.by_key[id]]
    finally:
        await shop.change(taken, back=True)
    await shop.all_reply()


@pytest.mark.parametrize("app", APPS)
async def test_without_a_look_at_configs(shop: Shop, rights: list[Right], app: str) -> None:
    """By `DescribeConfigs` a worker knows which records a topic takes; without, it goes by what topics usually take."""
    user, names = next(right.user for right in rights if right.app == app), []
    for right in rights:
        if right.app == app and right.operation == CONFIGS:
            names.append(right)
            await shop.system.configure(
                right.name.removeprefix(shop.system.namespace), {"max.message.bytes": str(LARGE)}
            )
    with_it = await largest(shop, user, names)
    await shop.change(names, back=False)
    try:
        without = await largest(shop, user, names)
    finally:
        await shop.change(names, back=True)
    assert {right.name: LARGE for right in names} == with_it
    assert {} == {name: most for name, most in without.items() if most >= LARGE}


async def largest(shop: Shop, user: str, rights: list[Right]) -> dict[str, int]:
    """By topic the bytes that a user's client would send at once."""
    environment = shop.system.environment(KAFKA_USER=user, KAFKA_PASSWORD=password_of(user), KAFKA_PASSWORD_FILE="")
    client = KafkaClient(ClientFactory.of(Settings.from_environment(environment)), PARTITIONS)
    await client.start()
    try:
        return {right.name: await client.largest(right.name) for right in rights}
    finally:
        await client.stop()
