"""No order of an operator without its trace: all routes that need an operator, all commands that give orders."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

from streams.access.tokens import new_token
from streams.audit.reading import AuditEntry, AuditLog, Wanted
from tests.e2e.client import eventually, headers
from tests.e2e.recording import recorded_in
from tests.e2e.system import System
from tests.e2e.worker import ORDERS, PROJECTIONS, TIMERS, Worker
from tests.rights import operations

pytestmark = pytest.mark.asyncio(loop_scope="module")
JOURNAL = "sqlite"

NO_ORDERS = {
    "acls", "asyncapi", "grants", "audit", "lag", "owners", "show", "history", "send", "replay", "generate-sales",
    "worker", "journal verify", "backup",
    "dead-letters list", "dead-letters show", "quarantine list", "quarantine show", "logs list", "timers list",
    "schemas check", "schemas sample", "schemas lock", "schemas write", "projections status",
    "projections dead-letters", "subjects show",
}  # fmt: skip
"""Commands that change nothing, or send what stands in the journal, or change files of a repository alone."""
BY_A_WORKER = {f"projections {order}" for order in ("rebuild", "pause", "resume", "skip", "drop")}
"""Orders that go to a worker, which writes them down."""
WHY = ["--reason", "because"]
NOW = ["--wait", "1"]
OF_ORDERS = {
    "setup": ["setup", *WHY],
    "restore": ["restore", "nowhere", *WHY],
    "token": ["token", "new", "--file", "new.tokens", *WHY],
    "schemas register": ["schemas", "register", *WHY],
    "dead-letters retry": ["dead-letters", "retry", "order", "0:0", *WHY],
    "dead-letters drop": ["dead-letters", "drop", "order", "0:0", *WHY],
    "quarantine release": ["quarantine", "release", "order", "536365", *NOW, *WHY],
    "journal verify --repair": ["journal", "verify", "order", "--repair", *WHY],
    "logs split": ["logs", "split", "order", "0", "--yes", *NOW, *WHY],
    "logs cancel": ["logs", "cancel", "order", "--yes", *WHY],
    "logs merge": ["logs", "merge", "order", "0", "1", "--yes", *NOW, *WHY],
    "logs spread": ["logs", "spread", "order", "4", "--yes", *NOW, *WHY],
}
"""By action the command that orders it, in an order in which they can be given while no worker of the app is up."""
OF_TIMERS = {
    "timers schedule": ["timers", "schedule", "t", "+1h", "order", "o", "ShipOrder", *NOW, *WHY],
    "timers cancel": ["timers", "cancel", "t", *NOW, *WHY],
}
OF_PERSONS = {f"subjects {order}" for order in ("forget", "allow", "renew")}
"""Of apps with personal fields, of which these have none."""
ABOUT = {
    "dead-letters drop": ("order", "536365"),
    "quarantine release": ("order", "536365"),
    "timers cancel": ("timer", "t"),
}
"""By action the aggregate that it is about."""
DONE = "setup", "token", "dead-letters retry", "dead-letters drop", "journal verify --repair", "logs cancel"
NOT_DONE = "schemas register", "quarantine release", "timers cancel", "logs split", "restore"
"""There is no worker, no registry, and no backup."""


class Audited(NamedTuple):
    """A worker that knows who asks; tokens of two who may give orders, and may not."""

    door: Worker
    operator: dict[str, str]
    reader: dict[str, str]
    token: str
    settings: dict[str, str]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def audited(system: System, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Audited]:
    folder: Path = tmp_path_factory.mktemp("audit")
    (operator, line_1), (reader, line_2) = new_token("operator"), new_token("reader")
    (folder / "tokens").write_text(f"{line_1}\n{line_2}\n")
    grant = '[[grants]]\nto = ["token:{0}"]\nrole = "{0}"\ncontexts = ["*"]\n'
    (folder / "grants").write_text(grant.format("operator") + grant.format("reader"))
    (folder / "token").write_text(operator)
    settings = {"HTTP_TOKENS_FILE": str(folder / "tokens"), "HTTP_GRANTS_FILE": str(folder / "grants")}
    door = system.start(PROJECTIONS, **settings)
    await system.all_served(door)
    yield Audited(
        door, bearer(operator), bearer(reader), operator, settings | {"HTTP_TOKEN_FILE": str(folder / "token")}
    )


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def in_turn(
    system: System,
    app: str,
    commands: Sequence[Sequence[str]],
    settings: Mapping[str, str] = MappingProxyType({}),
    record: Path | None = None,
) -> list[tuple[int, str]]:
    """Give these commands one after another; of each the exit code, and what it has printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.e2e.in_turn", app, *([] if record is None else [str(record)])),
        cwd=system.data,
        env=system.environment(**settings),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(json.dumps([list(command) for command in commands]).encode())
    assert 0 == process.returncode, err.decode()
    return [(code, text) for code, text in json.loads(out.splitlines()[-1])]


async def entries(system: System, **wanted: Any) -> list[AuditEntry]:
    """What stands in the audit, the newest first."""
    log = AuditLog(system.clients, system.topic("operations-audit"))
    return (await log.newest(Wanted(**wanted), 10_000))[0]


async def test_every_command_is_known(system: System) -> None:
    """A command that is added either gives no orders, or is among those that are tried below."""
    listed = await asyncio.gather(*(_listed(system, app) for app in (PROJECTIONS, ORDERS, TIMERS)))
    actions = {
        f"{name} {action}".strip()
        for commands in listed
        for name, choices in commands.items()
        for action in choices or [""]
    }
    known = NO_ORDERS | BY_A_WORKER | OF_PERSONS | {*OF_ORDERS} | {*OF_TIMERS}
    assert known - {"journal verify --repair"} == actions


async def _listed(system: System, app: str) -> dict[str, list[str]]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.e2e.in_turn", app, "--list"),
        env=system.environment(),
        stdout=asyncio.subprocess.PIPE,
    )
    found: dict[str, list[str]] = json.loads((await process.communicate())[0])
    return found


async def test_every_order_by_command_line(system: System, audited: Audited) -> None:
    """Each is in the audit: by whom, why, about what, and what came of it; so is one that was not done."""
    await system.make_topic("order-dead-letters")
    await system.producer.send_and_wait(
        system.topic("order-dead-letters"), b"{}", key=b"536365", partition=0, headers=headers("c-1", "ShipOrder")
    )
    settings = {**audited.settings, "SCHEMA_REGISTRY_URL": "http://127.0.0.1:1", "SETUP": "always"}
    plain = {name: value for name, value in settings.items() if name != "SCHEMA_REGISTRY_URL"}
    orders = {**OF_ORDERS}
    cancel = orders.pop("logs cancel")
    given: list[Sequence[str]] = []
    for action, command in orders.items():
        given += [command, cancel] if action.startswith("logs ") else [command]
    set_up, *others = [command for command in given if command[0] != "schemas"]
    used = system.data / "operator.used"
    done = await in_turn(system, ORDERS, [set_up], plain)
    # Whoever looks for the last event of a topic reads where there is something.
    await system.producer.send_and_wait(system.topic("order-events"), b"{}", key=b"536365", partition=0)
    done += await in_turn(system, ORDERS, others, plain, used)
    done += await in_turn(system, ORDERS, [orders["schemas register"]], settings)
    done += await in_turn(system, PROJECTIONS, list(OF_TIMERS.values()), plain)
    assert all(code in (0, 1, 5) for code, _ in done), done
    found = {entry.action: entry for entry in await entries(system)}
    for action in (*OF_ORDERS, *OF_TIMERS):
        entry = found[action]
        assert re.fullmatch(r"os:.+@.+", entry.who), entry
        assert ("because", True) == (entry.reason, entry.outcome is not None), entry
        assert entry.app == (PROJECTIONS if action in OF_TIMERS else ORDERS)
        if action in ABOUT:
            assert ABOUT[action] == (entry.parameters["type"], entry.parameters["id"])
    outcomes = {action: entry.outcome for action, entry in found.items()}
    for action in DONE:
        assert "accepted" == outcomes[action], found[action]
    for action in NOT_DONE:
        assert "failed" == outcomes[action], found[action]
    [made] = [said.strip() for _, said in done if said.startswith("sst_")]
    assert made not in str(found), "a secret"
    shown = await entries(system, type="order", id="536365")
    assert {"dead-letters retry", "dead-letters drop", "quarantine release"} == {entry.action for entry in shown}


async def test_rights_of_people(system: System, audited: Audited) -> None:
    """Who gives orders on the command line, or prints the audit, makes use of all that `acls` prints, and no more."""
    used = system.data / "auditor.used"
    [(code, said)] = await in_turn(system, ORDERS, [["audit"]], record=used)
    assert 0 == code, said
    printed = await in_turn(system, ORDERS, [["acls", "--json", "--of", whose] for whose in ("operators", "auditors")])
    for (_, lines), file in zip(printed, (system.data / "operator.used", used), strict=True):
        acls = [json.loads(line) for line in lines.splitlines()]
        allowed = {(acl["resource"], acl["name"], right) for acl in acls for right in acl["operations"]}
        made = recorded_in(file)
        implied = {(kind, name, "Describe") for kind, name, right in allowed if right in ("Read", "Write")}
        assert set() == made - allowed - implied
        assert set() == {acl for acl in allowed - made if acl[2] != "DescribeConfigs"}


async def test_every_order_by_http(system: System, audited: Audited) -> None:
    """Each route of the document that needs an operator writes down who may and who may not, and from where."""
    async with system.http.get(audited.door.url + "/openapi.json") as response:
        document = await response.json()
    paths = [asked.path for asked in operations(document) if _orders(asked)]
    assert len(paths) >= 6, paths
    body: Any = {"reason": "by http", "table": "nothing-1"}
    for path in paths:
        for who, expected in ((audited.operator, {404, 422}), (audited.reader, {403})):
            async with system.http.post(audited.door.url + path, json=body, headers=who) as response:
                assert response.status in expected, (path, await response.text())

    async def written() -> bool:
        found = [(entry.who, entry.action) for entry in await entries(system, who="token:")]
        return all((f"token:{who}", action_of(path)) in found for path in paths for who in ("operator", "reader"))

    await eventually(written, 10, "not all are in the audit")
    for entry in await entries(system, who="token:"):
        assert ("refused", "127.0.0.1", PROJECTIONS) == (entry.outcome, entry.address, entry.app)
        assert entry.detail.startswith("token:reader would need to be" if entry.who.endswith("reader") else "4")
        assert entry.who == "token:reader" or entry.reason == "by http"


def _orders(asked: Any) -> bool:
    return asked.method not in ("GET", "HEAD") and any(need.startswith("operator@") for need in asked.needs)


def action_of(path: str) -> str:
    """What the audit calls a path in which variables are `nothing`."""
    return " ".join(part for part in path.split("/") if part not in ("", "nothing"))


async def test_orders_to_a_worker(system: System, audited: Audited) -> None:
    """What the command line orders of a worker is written down by that, with the token that was used."""
    url = ["--url", audited.door.url]
    done = await in_turn(
        system,
        PROJECTIONS,
        [["projections", order, "orders", *url, *WHY] for order in ("pause", "resume")],
        audited.settings,
    )
    assert [0, 0] == [code for code, _ in done], done
    paused, resumed = reversed((await entries(system, what="orders", who="token:operator"))[:2])
    assert ("projections pause", {"name": "orders"}, "accepted") == (paused.action, paused.parameters, paused.outcome)
    assert ("projections resume", "because") == (resumed.action, resumed.reason)
    assert re.fullmatch(r"command line \(.+@.+\)", paused.client)
    assert {"projection": "orders", "paused": "because"} == json.loads(paused.detail)


async def test_printing(system: System, audited: Audited) -> None:
    """`audit` and `/audit` show the same, the newest first, in pages, and those alone that are asked for."""
    printed = await in_turn(
        system,
        ORDERS,
        [
            ["audit", "--json", "--limit", "1000"],
            ["audit", "--who", "token:operator", "--what", "pause", "--since", "1h"],
            ["audit", "--aggregate", "order", "536365", "--json"],
            ["audit", "--since", "soon"],
        ],
    )
    assert [0, 0, 0, 2] == [code for code, _ in printed], printed
    lines = [json.loads(line) for line in printed[0][1].splitlines()]
    assert "projections pause name=orders" in printed[1][1]
    assert {"536365"} == {json.loads(line)["parameters"]["id"] for line in printed[2][1].splitlines()}
    pages: list[Any] = []
    before = ""
    while True:
        status, page, _ = await system.get(audited.door, f"/audit?limit=7{before}", **audited.operator)
        assert 200 == status, page
        pages += page["actions"]
        if page["next"] is None:
            break
        before = f"&before={page['next']}"
    assert lines == pages
    assert sorted((entry["offset"] for entry in pages), reverse=True) == [entry["offset"] for entry in pages]
    assert 403 == (await system.get(audited.door, "/audit", **audited.reader))[0]
    status, page, _ = await system.get(audited.door, "/audit?type=order&id=536365&what=drop", **audited.operator)
    assert ["dead-letters drop"] == [entry["action"] for entry in page["actions"]]
    text = json.dumps(pages)
    assert audited.token not in text, "a secret"


async def test_following(system: System, audited: Audited) -> None:
    """Who follows sees an order when it is given, and again when it has ended."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "faust", "-A", ORDERS, "audit", "--follow", "--json", "--what", "followed"),
        cwd=system.data,
        env=system.environment(),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    outcomes: dict[int, list[str | None]] = {}

    async def read(shown: asyncio.StreamReader) -> None:
        async for line in shown:
            entry = json.loads(line)
            outcomes.setdefault(entry["offset"], []).append(entry["outcome"])

    reading = asyncio.create_task(read(process.stdout))
    try:

        async def shown_twice() -> bool:
            """Of an order; one that is given before it looks, or in that moment, is not shown, or in part."""
            order: Any = {"reason": "followed", "position": "order-0:1:0"}
            url = audited.door.url + "/projections/followed/skip"
            async with system.http.post(url, json=order, headers=audited.operator) as response:
                assert 404 == response.status
            await asyncio.wait([reading], timeout=0.5)
            assert not reading.done(), "it has ended"
            return any(len(its) > 1 for its in outcomes.values())

        await eventually(shown_twice, 40, lambda: f"not shown twice: {outcomes}")
        assert [None, "refused"] == next(its for its in outcomes.values() if len(its) > 1)
    finally:
        process.terminate()
        await process.wait()
        await reading


async def test_what_cannot_be_written_is_not_done(system: System, audited: Audited) -> None:
    """An order is refused in one line where the audit does not take it, over HTTP and on the command line."""
    name = "operations-audit"
    await system.configure(name, {"max.message.bytes": "100"})
    try:
        url, order = audited.door.url + "/projections/orders/pause", {"reason": "unwritten"}
        async with system.http.post(url, json=order, headers=audited.operator) as response:
            answer = await response.json()
        assert 503 == response.status, answer
        assert "nothing is done, since it cannot be written to the audit" in answer["detail"]
        status, shown, _ = await system.get(audited.door, "/projections/orders", **audited.operator)
        assert (200, None) == (status, shown["paused"])
        [(code, said)] = await in_turn(system, ORDERS, [["token", "unwritten", "--file", "unwritten.tokens"]])
        assert (1, 1) == (code, len(said.splitlines())), said
        assert "nothing is done" in said
        assert not (system.data / "unwritten.tokens").exists()
    finally:
        await system.configure(name, {"max.message.bytes": "1000000"})
    elsewhere = {"NAMESPACE": f"{system.namespace}other_", "SETUP": "never"}
    [(code, said)] = await in_turn(system, ORDERS, [["token", "x", "--file", "x.tokens"]], elsewhere)
    assert (2, True) == (code, "setup" in said), said
    [(code, said)] = await in_turn(
        system, ORDERS, [["token", "x", "--file", "x.tokens"]], {"KAFKA_BROKERS": "kafka://127.0.0.1:1"}
    )
    assert (1, 1) == (code, len(said.splitlines())), said
    assert not (system.data / "x.tokens").exists()
    assert [] == await entries(system, what="unwritten")
    assert 1 == (await system.topics())[system.topic(name)]
