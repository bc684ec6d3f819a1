"""Who may ask workers, with tokens, an issuer and TLS between all: what the document says, seen at running workers.

Three workers: one decides, two answer, so that most questions go from one to the other.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import ssl
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest
import pytest_asyncio
import trustme

from streams.access.tokens import new_token
from tests.e2e.client import eventually
from tests.e2e.system import System
from tests.e2e.worker import ORDERS, PROJECTIONS, Worker, free_port
from tests.issuer import AUDIENCE, Issuer
from tests.rights import ROLES, Asked, everybody, may, operations, status, subject

pytestmark = pytest.mark.asyncio(loop_scope="module")
JOURNAL = "sqlite"

HOOKS = Path(__file__).with_name("openapi_hooks.py")
CONFIG = HOOKS.with_suffix(".toml")
REFUSED = (401, 403)
AT_ONCE = 16
ATTEMPTS = 10
"""Of who is told 503: orders of that many at once may have to wait on a busy machine."""
ORDERS_OF_ALICE = [f"alice-{number}" for number in range(8)]
LIMITED = (
    "".join(f'[[grants]]\nto = ["token:all"]\nrole = "{role}"\ncontexts = ["*"]\n' for role in ROLES)
    + """
[[grants]]
to = ["oidc:alice"]
role = "commander"
contexts = ["orders"]
commands = ["OpenOrder"]
keys = ["{sub}-*"]

[[grants]]
to = ["oidc:alice", "cert:gateway"]
role = "reader"
contexts = ["orders"]

[[grants]]
to = ["oidc:bob"]
role = "commander"
contexts = ["orders"]
keys = ["bob-*"]

[[grants]]
to = ["token:new"]
role = "auditor"
contexts = ["*"]
"""
)


class Guarded(NamedTuple):
    """The workers, and all that says who somebody is."""

    orders: Worker
    doors: tuple[Worker, Worker]
    tokens: dict[str, str]
    issuer: Issuer
    folder: Path
    settings: dict[str, str]
    clients: trustme.CA


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def guarded(system: System, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Guarded]:
    folder: Path = tmp_path_factory.mktemp("access")
    known, issuer, servers, clients = everybody(), Issuer(), trustme.CA(), trustme.CA()
    await issuer.start()
    issued = servers.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(folder / "server.key")
    issued.cert_chain_pems[0].write_to_path(folder / "server.crt")
    servers.cert_pem.write_to_path(folder / "ca.crt")
    clients.cert_pem.write_to_path(folder / "clients.crt")
    all, line_of_all = new_token("all")
    (folder / "tokens").write_text("\n".join([line_of_all, *(line for _, line, _ in known.values())]) + "\n")
    (folder / "grants").write_text("\n".join(grant for _, _, grant in known.values()) + LIMITED)
    settings = {
        "HTTP_TOKENS_FILE": str(folder / "tokens"),
        "HTTP_GRANTS_FILE": str(folder / "grants"),
        "HTTP_OIDC_ISSUER": issuer.url,
        "HTTP_OIDC_AUDIENCE": AUDIENCE,
        "HTTP_TLS_CERT_FILE": str(folder / "server.crt"),
        "HTTP_TLS_KEY_FILE": str(folder / "server.key"),
        "HTTP_CLIENT_CA_FILE": str(folder / "clients.crt"),
        "HTTP_CA_FILE": str(folder / "ca.crt"),
        "HTTP_ALLOWED_ORIGINS": "https://admin.example",
    }
    await system.trust(folder / "ca.crt")
    orders = system.start(ORDERS, **settings)
    doors = system.start(PROJECTIONS, **settings), system.start(PROJECTIONS, **settings)
    await asyncio.gather(system.all_served(orders), system.all_served(*doors))
    tokens = {who: token for who, (token, _, _) in known.items()}
    yield Guarded(orders, doors, tokens | {"all": all}, issuer, folder, settings, clients)
    await issuer.stop()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def document(system: System, worker: Worker) -> Any:
    async with system.http.get(worker.url + "/openapi.json") as response:
        assert 200 == response.status
        return await response.json()


async def send(system: System, worker: Worker, path: str, body: Any, **headers: str) -> tuple[int, Any]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with system.http.post(worker.url + path, json=body, headers=named) as response:
        return response.status, await response.json()


async def test_a_user_and_his_orders(system: System, guarded: Guarded) -> None:
    """Whoever is asked, a user sends the commands of his grant to his own orders, reads what he has written, and learns
    what became of it; the workers ask each other for him. Others' orders, and others' commands, are not for him."""
    alice, bob = bearer(guarded.issuer.token("alice")), bearer(guarded.issuer.token("bob"))
    opened: Any = {"type": "OpenOrder", "data": {"user_id": "alice", "kind": "sale"}}
    one, other = guarded.doors
    for number, id in enumerate(ORDERS_OF_ALICE):
        worker, reader = (one, other) if number % 2 else (other, one)
        found, reply = await send(system, worker, f"/orders/{id}/commands", opened, Idempotency_Key=f"k-{id}", **alice)
        assert 200 == found, reply
        status, row, _ = await system.get(reader, f"/orders/{id}", At_Least=reply["position"], **alice)
        assert (200, "alice") == (status, row["user_id"]), row
        for at in guarded.doors:
            assert 200 == (await system.get(at, f"/commands/k-{id}", **alice))[0]
            assert 404 == (await system.get(at, f"/commands/k-{id}", **bob))[0]
    for worker in guarded.doors:
        status, page, _ = await system.get(worker, "/orders", **alice)
        assert (200, len(ORDERS_OF_ALICE)) == (status, len(page["orders"]))
        for path, body, user in (
            ("/orders/bob-1/commands", opened, alice),
            ("/orders/alice-1/commands", {"type": "PlaceOrder"}, alice),
            ("/orders/alice-1/commands", opened, bob),
            ("/users/alice-1/commands", {"type": "DeactivateUser"}, alice),
        ):
            assert 403 == (await send(system, worker, path, body, **user))[0], path
        assert 403 == (await system.get(worker, "/orders/alice-1", **bob))[0]
        assert 403 == (await system.get(worker, "/users/alice", **alice))[0]


@pytest.mark.parametrize("at", [0, 1])
async def test_every_operation_as_everybody(system: System, guarded: Guarded, at: int) -> None:
    """Who has one of the roles that an operation names gets past the door, and nobody else does."""
    worker, wrong = guarded.doors[at], []
    for asked in operations(await document(system, worker)):
        for who, token in guarded.tokens.items():
            if who == "all":
                continue
            found = await status(system.http, worker.url, asked, token, ATTEMPTS)
            if (found not in REFUSED) != may(who, asked) or found >= 500:
                wrong.append((asked, who, found))
    assert [] == wrong


async def test_every_operation_as_nobody(system: System, guarded: Guarded) -> None:
    """Without a token, and with one that does not hold, the answer is 401, but for what is for whoever comes."""
    bad, worker, wrong = guarded.issuer.sendable_bad_tokens(), guarded.doors[0], []
    tokens = {"no token": None, "unknown": "sst_unknown", **bad}
    for asked in operations(await document(system, worker)):
        for what, token in tokens.items():
            found = await status(system.http, worker.url, asked, token, ATTEMPTS)
            if (found == 401) != bool(asked.needs):
                wrong.append((asked, what, found))
    assert [] == wrong


async def test_every_operation_by_every_proof(system: System, guarded: Guarded, pytestconfig: pytest.Config) -> None:
    """Of each role in each context: with a proof that holds, who has the right gets past the door, and who has it in
    another context gets 403; without one, or with one that does not hold, it is 401 for both. Those that do not hold
    in turn, so that each is shown by everybody, and at each operation; with `--full` all by everybody at each."""
    worker, issuer, at_once = guarded.doors[0], guarded.issuer, asyncio.Semaphore(AT_ONCE)
    asked_for = list(operations(await document(system, worker)))
    wrong = []

    async def look(asked: Asked, who: str, proof: str, token: str | None) -> None:
        async with at_once:
            found = await status(system.http, worker.url, asked, token, ATTEMPTS)
        allowed = not asked.needs or (proof == "holds" and may(who, asked))
        expected = {403 if proof == "holds" else 401}
        if found >= 500 or (found in REFUSED if allowed else found not in expected):
            wrong.append((asked, who, proof, found))

    async with asyncio.TaskGroup() as all:
        for number, who in enumerate(everybody()):
            sub = subject(who)
            proofs = {
                "holds": issuer.token(sub, exp=int(time.time()) + 600),
                "no token": None,
                **issuer.spoilt_tokens(sub),
            }
            others = [proof for proof in proofs if proof != "holds"]
            for at, asked in enumerate(asked_for):
                for proof in (
                    proofs if pytestconfig.getoption("full") else ("holds", others[(number + at) % len(others)])
                ):
                    all.create_task(look(asked, who, proof, proofs[proof]))
    assert [] == wrong


@pytest.mark.parametrize("is_known", [False, True], ids=["anonymous", "known"])
async def test_whatever_is_sent(system: System, guarded: Guarded, is_known: bool, pytestconfig: pytest.Config) -> None:
    """Whatever a client sends, and whether it is known or not: an answer that is described, and never a server error.
    Where one must be known, nobody is who is not. Some requests to each operation; with `--full` all that follow from
    the document, which `test_openapi.py` sends where nobody has to be known."""
    values = {"projections.name": ["orders"], "only": ["users"], "At-Least": ["order-0:1"]}
    checks = "not_a_server_error,status_code_conformance,content_type_conformance"
    if is_known:
        checks += ",ignored_auth"
    options = ["--header", f"Authorization: Bearer {guarded.tokens['all']}"] if is_known else []
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run"),
        *("--tls-verify", guarded.settings["HTTP_CA_FILE"], "--checks", checks, "--phases"),
        *(["examples,coverage"] if pytestconfig.getoption("full") else ["examples,fuzzing", "--max-examples", "3"]),
        *(*options, guarded.doors[0].url + "/openapi.json"),
        env={**os.environ, "SCHEMATHESIS_HOOKS": str(HOOKS), "OPENAPI_KNOWN": json.dumps(values)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert 0 == process.returncode, output.decode()
    resumed, answer = await send(
        system, guarded.doors[0], "/projections/users/resume", {}, **bearer(guarded.tokens["all"])
    )
    assert resumed in (200, 202), answer  # one of the orders may have paused it


async def test_workers_that_decide(system: System, guarded: Guarded) -> None:
    """They have roles, too: their context is their own, and health is for whoever comes."""
    url = guarded.orders.url
    for path, who, expected in (
        ("/owners", None, 401),
        ("/owners", "auditor@projections", 403),
        ("/owners", "reader@orders", 403),
        ("/owners", "auditor@orders", 200),
        ("/owners", "operator@orders", 200),
        ("/health/live", None, 200),
        ("/nowhere", None, 404),
    ):
        headers = {} if who is None else bearer(guarded.tokens[who])
        async with system.http.get(url + path, headers=headers) as response:
            assert expected == response.status, (path, who)


async def test_client_certificates(system: System, guarded: Guarded) -> None:
    """A client's certificate says who it is; one of another authority is refused, and in the clear there is nothing."""
    url = guarded.doors[0].url
    for ca, expected in ((guarded.clients, 200), (trustme.CA(), None)):
        context = ssl.create_default_context(cafile=guarded.settings["HTTP_CA_FILE"])
        ca.issue_cert("gateway@example.org", common_name="gateway").configure_cert(context)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as http:
            if expected is None:
                with pytest.raises(aiohttp.ClientError):
                    await http.get(url + "/orders")
                continue
            async with http.get(url + "/orders") as response:
                assert expected == response.status
            async with http.get(url + "/lag") as response:
                assert 403 == response.status
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.ClientError):
            await http.get(url.replace("https", "http") + "/orders")


async def test_what_strangers_try(system: System, guarded: Guarded) -> None:
    """A page of another site, a name that resolves to the worker, the name of a worker: each is refused, whoever's the
    token is; the page of an allowed site may ask."""
    worker = guarded.doors[0]
    operator = bearer(guarded.tokens["operator@projections"])
    order: Any = {"reason": "x"}
    for headers, expected in (
        ({"Origin": "https://evil.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Host": "evil.example"}, 421),
        ({"X-Hop": "orders=orders-1"}, 403),
        ({"X-Hop": "1", "X-Hop-Signature": f"{int(time.time())}:{'0' * 64}"}, 403),
        ({"X-Hop-User": "eyJhIjoxfQ=="}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Origin": "https://admin.example"}, 404),
        ({}, 404),
    ):
        async with system.http.post(
            worker.url + "/projections/nothing/pause",
            data=json.dumps(order),
            headers={"Content-Type": "application/json", **operator, **headers},
        ) as response:
            assert expected == response.status, (headers, await response.text())
    reader = bearer(guarded.tokens["reader@orders"])
    for path in ("/applied/order-0/1", "/switching?of=orders"):
        assert 403 == (await system.get(worker, path, **operator))[0]
    async with system.http.get(worker.url + "/orders", headers={**reader, "Host": "evil.example"}) as response:
        assert 421 == response.status


async def test_who_is_slow(system: System, guarded: Guarded) -> None:
    """Nobody holds a connection by sending slowly: neither a handshake, nor the head of a request, nor its body."""
    worker = guarded.doors[0]
    trusted = ssl.create_default_context(cafile=guarded.settings["HTTP_CA_FILE"])
    head = (
        "POST /orders/alice-1/commands HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {guarded.issuer.token('alice')}\r\nContent-Length: 100\r\n\r\n{{"
    ).encode()

    async def closed(first: bytes, context: ssl.SSLContext | None) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", worker.port, ssl=context)
        writer.write(first)
        try:
            async with asyncio.timeout(45):  # the answer, the rest of the body, the farewell: each has its time
                return await reader.read()
        finally:
            writer.close()

    handshake, start, body = await asyncio.gather(
        closed(b"", None), closed(b"GET /orders HTTP/1.1\r\nHo", trusted), closed(head, trusted)
    )
    assert (b"", b"") == (handshake, start)
    assert body.startswith(b"HTTP/1.1 408 ")


async def test_the_log_says_who(system: System, guarded: Guarded) -> None:
    """Each change of state has a line: who, what, and what came of it; none has a token in it."""
    alice = guarded.issuer.token("alice")
    opened: Any = {"type": "OpenOrder", "data": {"user_id": "alice", "kind": "sale"}}
    worker = guarded.doors[0]
    await send(system, worker, "/orders/alice-log/commands", opened, Idempotency_Key="k-log", **bearer(alice))
    await send(system, worker, "/orders/bob-log/commands", opened, Idempotency_Key="k-log2", **bearer(alice))
    await send(system, worker, "/projections/orders/pause", {"reason": "x"}, **bearer(alice))

    def said() -> list[str]:
        return [line for line in worker.lines if line.startswith("access: ")]

    def is_said(who: str, what: str, outcome: str) -> bool:
        form = re.compile(f"'{who}' at 127.0.0.1: .*{re.escape(what)}.*: {outcome}$")
        return any(form.search(line) for line in said())

    await eventually(
        lambda: (
            is_said("oidc:alice", "POST /orders/alice-log/commands OpenOrder k-log'", "200")
            and is_said("oidc:alice", "POST /orders/bob-log/commands OpenOrder k-log2'", "403")
            and is_said("nobody", "POST /projections/orders/pause'", "403")
        ),
        10,
        lambda: "\n".join(said()),
    )
    for each in (guarded.orders, *guarded.doors):
        text = each.log.read_text(errors="replace")
        assert [] == [token for token in (*guarded.tokens.values(), alice, "PRIVATE KEY") if token in text]


async def test_the_command_line(system: System, guarded: Guarded) -> None:
    """It has a token from a file; a token that is made counts at once, and ends when its line is gone."""
    url = guarded.doors[0].url
    made = await system.run("-A", PROJECTIONS, "token", "new", "--days", "1", **guarded.settings)
    assert (0, "") == (made.returncode, made.stderr), made
    tokens, mine = guarded.folder / "tokens", guarded.folder / "new.token"
    assert made.stdout.strip() not in tokens.read_text()
    mine.write_text(made.stdout)
    lag = "-A", PROJECTIONS, "lag", "--url", url
    without = await system.run(*lag, **guarded.settings)
    assert (2, True) == (without.returncode, "401" in without.stderr), without
    time_to_look = asyncio.sleep(1.1)
    await time_to_look
    asked = await system.run(*lag, **guarded.settings, HTTP_TOKEN_FILE=str(mine))
    assert asked.returncode in (0, 1), asked
    owners = await system.run(
        "-A", ORDERS, "owners", **guarded.settings, HTTP_TOKEN_FILE=str(mine)
    )  # which finds the workers by their own names
    assert 0 == owners.returncode, owners
    tokens.write_text("\n".join(line for line in tokens.read_text().splitlines() if not line.startswith("new ")))

    async def ended() -> bool:
        return 401 == (await system.get(guarded.doors[0], "/lag", **bearer(made.stdout.strip())))[0]

    await eventually(ended, 5, "the token holds still")


async def test_where_workers_do_not_start(system: System, guarded: Guarded) -> None:
    """Open to a network with nobody known, or with settings that do not fit: one line, and status 2."""
    tokens = {"HTTP_TOKENS_FILE": guarded.settings["HTTP_TOKENS_FILE"]}
    for options, settings, named in (
        (["--web-bind", "0.0.0.0"], {}, "HTTP_INSECURE=yes"),
        (["--web-host", "0.0.0.0"], {}, "HTTP_INSECURE=yes"),
        ([], tokens, "HTTP_GRANTS_FILE"),
        ([], {"HTTP_TLS_CERT_FILE": guarded.settings["HTTP_TLS_CERT_FILE"]}, "HTTP_TLS_KEY_FILE"),
    ):
        folder = str(system.data / "refused")
        started = ["worker", "--web-port", str(free_port()), "--datadir", folder, "-l", "warn", *options]
        ended = await system.run("-A", ORDERS, *started, timeout=30, **settings)
        assert 2 == ended.returncode, ended
        [line] = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
        assert named in line
        assert "Traceback" not in ended.stdout + ended.stderr


async def test_a_worker_that_is_killed(system: System, guarded: Guarded) -> None:
    """The others watch its port with TLS as without: it is missed at once, and no living one is taken for dead."""
    one, other = guarded.doors
    assert not [line for line in one.lines if "has gone" in line]
    other.process.kill()
    began = time.monotonic()
    await system.all_served(one)
    assert [line for line in one.lines if "has gone" in line], one.tail()
    assert time.monotonic() - began < 30
