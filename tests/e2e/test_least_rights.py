"""The rights that an app prints are those that its workers make use of: none is missing, and none is too many."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.e2e.client import Inbox, eventually
from tests.e2e.orders import LINE, OPEN
from tests.e2e.recording import Used, recorded_in
from tests.e2e.system import System
from tests.e2e.worker import CHECKOUT, ORDERS, PRODUCTS, PROJECTIONS, TIMERS, USERS, Worker, free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")

JOURNAL = "sqlite"
APPS = {ORDERS: [], PRODUCTS: [], USERS: [], CHECKOUT: [], TIMERS: ["--sends-to", "order"], PROJECTIONS: []}
"""And what else the printing of their rights is told."""
AT_TIMES = {
    ("", "DescribeConfigs"),  # of topics that get large records
    ("-logs", "Write"),  # a log that is split or merged
    ("projections-dead-letters", "Write"),  # a projection that raises
    ("subject-commands", "Write"),  # a person is forgotten
}
"""What a worker makes use of only then: by the end of the topic's name, and the operation."""


class Recorded(System):
    """A system whose workers write down what they ask of Kafka."""

    def __init__(self, data: Path, journal_url: str) -> None:
        super().__init__(data, journal_url)
        self.printed: dict[str, str] = {}
        """By app the rights that it prints, asked for once."""

    def environment(self, **settings: str) -> dict[str, str]:
        return super().environment(REPLY_TOPICS=self.topic("answers"), **settings)

    def record_of(self, module: str) -> Path:
        return self.data / f"{module}.used"

    def used(self, module: str) -> set[Used]:
        """What the workers of an app have made use of until now."""
        return recorded_in(self.record_of(module))

    def program(self, module: str) -> list[str]:
        return ["-m", "tests.e2e.recording", str(self.record_of(module))]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory, sqlite_url: str) -> AsyncIterator[Recorded]:
    """A namespace without workers yet, which will write down what they do."""
    system = Recorded(tmp_path_factory.mktemp("system"), sqlite_url)
    await system.open()
    yield system
    await system.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def recorded(system: Recorded) -> Recorded:
    """Its workers were set up by an administrator, make nothing, and have done all that a system does, failures among
    it. They go on working, and so do their records."""
    refused = await system.run("-A", ORDERS, "worker", "--web-port", str(free_port()), SETUP="never")
    assert (2, True) == (refused.returncode, "run `faust -A <app> setup`" in refused.stderr), refused.stderr
    for module in APPS:
        done = await system.run("-A", module, "setup")
        assert 0 == done.returncode, done.stderr
    workers = {module: system.start(module, SETUP="never") for module in APPS}
    for worker in workers.values():
        await system.all_served(worker)
    await do_everything(system, workers[PROJECTIONS])
    # Who begins reads the last events that were published: an owner, to see whether its journal is behind, and a tail.
    for worker in workers.values():
        worker.signal(signal.SIGTERM)
    for worker in workers.values():
        worker.end()
    for worker in [system.start(module, SETUP="never") for module in APPS]:
        await system.all_served(worker)
    return system


async def do_everything(system: System, door: Worker, who: str = "nobody") -> None:
    """Commands over Kafka and HTTP, a checkout, a timer, an order, and a command to each type that cannot be read.
    `who`: the name that the worker knows us by."""
    line = {**LINE, "sku": "tea"}
    due = {"due": "2020-01-01T00:00:00Z", "to": "order", "id": "o", "command": "ShipOrder"}
    for type, id, command, data in (
        ("user", "17850", "RegisterUser", {"country": "France", "email": "me@example.org"}),
        ("product", "tea", "DefineProduct", {"name": "Tea", "price": "1.00"}),
        ("product", "tea", "Restock", {"quantity": 9}),
        ("order", "o", "OpenOrder", OPEN),
        ("order", "o", "AddLine", line),
        ("order", "o", "PlaceOrder", {}),
    ):
        url = f"{door.url}/{type}s/{id}/commands"
        async with system.http.post(url, json={"type": command, "data": data}) as response:
            assert 200 == response.status, await response.text()
    await becomes(system, door, "confirmed")
    async with system.http.post(
        f"{door.url}/timers/t/commands", json={"type": "ScheduleTimer", "data": due}
    ) as response:
        assert 200 == response.status, await response.text()
    await becomes(system, door, "shipped")
    assert "accepted" == (await system.ask("subject", "17850", "AllowSubject", {"erasure": 1}))["status"]
    async with system.http.post(f"{door.url}/projections/orders/resume", json={}) as response:
        assert 200 == response.status, await response.text()
    status, page, _ = await system.get(door, "/audit")
    assert (200, ["projections resume"]) == (
        status,
        [entry["action"] for entry in page["actions"] if entry["who"] == who],
    )
    inbox = await system.inbox("replies")
    for type in ("user", "email", "product", "order", "checkout", "timer", "subject"):
        assert "failed" == (await system.ask(type, "x", "NoSuchCommand", {}))["status"]
        id = await system.command(type, "x", "NoSuchCommand", {}, reply_to=system.topic("replies"))
        await eventually(lambda id=id: _has(inbox, id), 15, f"no reply of {type} on the usual topic")
    await eventually(lambda: _all_looked_at(system, door), 30, "the console cannot look at all")


async def _all_looked_at(system: System, door: Worker) -> bool:
    """Whether the console sees the dead letters of all types, and all else."""
    _, told, _ = await system.get(door, "/findings")
    letters = {finding["concerns"][0]["name"] for finding in told["findings"] if "dead-letters:" in finding["id"]}
    return len(letters) == 7 and not any(check["fault"] for check in told["checks"])


async def _has(inbox: Inbox, id: str) -> bool:
    return bool(inbox.by_key[id])


async def becomes(system: System, door: Worker, wanted: str) -> None:
    """Return when the order has this status."""

    async def has() -> bool:
        status, row, _ = await system.get(door, "/orders/o")
        return bool(status == 200 and row["status"] == wanted)

    await eventually(has, 60, f"the order is not {wanted}")


async def printed(system: Recorded, module: str) -> dict[tuple[str, str], set[str]]:
    """By resource and name the operations that the app prints."""
    if module not in system.printed:
        shown = await system.run("-A", module, "acls", "--json", *APPS[module])
        assert 0 == shown.returncode, shown.stderr
        system.printed[module] = shown.stdout
    acls = [json.loads(line) for line in system.printed[module].splitlines()]
    prefixed = [acl for acl in acls if acl["pattern"] == "prefixed"]
    assert all(acl["name"] == system.topic("answers") for acl in prefixed), "all other names are whole"
    return {(acl["resource"], acl["name"]): set(acl["operations"]) for acl in acls}


@pytest.mark.parametrize("module", APPS)
async def test_none_is_too_many(recorded: Recorded, module: str) -> None:
    """A worker makes use of each right that its app prints, some of them a while after all else is done: how far it is
    it says every 5 s."""
    allowed = await printed(recorded, module)

    def unused() -> dict[str, set[str]]:
        used = recorded.used(module)
        return {
            f"{resource} {name}": left
            for (resource, name), operations in allowed.items()
            if (left := {op for op in operations if (resource, name, op) not in used and not at_times(name, op)})
        }

    await eventually(lambda: not unused(), 30, lambda: f"not all rights were used: {unused()}")


@pytest.mark.parametrize("module", APPS)
async def test_none_is_missing(recorded: Recorded, module: str) -> None:
    """Each thing that a worker has asked of Kafka is allowed by what its app prints; topics it never makes."""
    allowed = await printed(recorded, module)
    asked: dict[str, set[str]] = {}
    for resource, name, operation in recorded.used(module):
        operations = allowed.get((resource, name), set())
        implied = operation == "Describe" and operations & {"Read", "Write"}
        if operation not in operations and not implied:
            asked.setdefault(f"{resource} {name}", set()).add(operation)
    assert {} == asked


def at_times(name: str, operation: str) -> bool:
    return any(name.endswith(end) and operation == of for end, of in AT_TIMES)


async def test_a_context_alone_writes_its_events(system: Recorded) -> None:
    """Only who publishes a type may write to its events, and only its owner to its dead letters and hints."""
    may: dict[str, set[str]] = {}
    for module in APPS:
        for (resource, name), operations in (await printed(system, module)).items():
            if resource == "topic" and "Write" in operations:
                may.setdefault(name.removeprefix(system.namespace), set()).add(module)
    for type, owner in {
        "user": USERS,
        "order": ORDERS,
        "product": PRODUCTS,
        "checkout": CHECKOUT,
        "timer": TIMERS,
        "subject": TIMERS,
    }.items():
        assert {PROJECTIONS} == may[f"{type}-events"]
        for kind in ("dead-letters", "commits", "logs"):
            assert {owner} == may[f"{type}-{kind}"]
