"""`/openapi.json` against the running system: what it says is so, and whatever a client sends, nothing breaks."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import pytest_asyncio

from tests.e2e.client import eventually
from tests.e2e.system import System
from tests.e2e.worker import ORDERS, PRODUCTS, PROJECTIONS, USERS, Worker

pytestmark = pytest.mark.asyncio(loop_scope="module")
JOURNAL = "sqlite"

HOOKS = Path(__file__).with_name("openapi_hooks.py")
CONFIG = HOOKS.with_suffix(".toml")
OPEN = {"user_id": "u1", "kind": "sale", "country": "France", "opened_at": "2010-12-01T08:26:00Z"}
LINE = {"sku": "p1", "description": "T-LIGHT HOLDER", "quantity": 6, "unit_price": "2.55"}
COMMANDS: list[tuple[str, str, str, Any]] = [
    ("user", "u1", "RegisterUser", {"country": "France", "name": "Anna", "email": "anna@example.org"}),
    ("product", "p1", "DefineProduct", {"name": "T-LIGHT HOLDER", "price": "2.55", "categories": ["light"]}),
    ("product", "p1", "Restock", {"quantity": 100}),
    ("product", "p2", "DefineProduct", {"name": "", "price": "0.005"}),
    ("product", "p2", "Restock", {"quantity": 10}),
    ("order", "o1", "OpenOrder", OPEN),
    ("order", "o1", "AddLine", LINE),
    ("order", "o1", "AddLine", {**LINE, "sku": "p2"}),
    ("order", "o1", "PlaceOrder", {}),
    ("order", "o1", "ConfirmOrder", {}),
    ("order", "o2", "OpenOrder", {"user_id": "u1", "kind": "credit"}),
    ("order", "o2", "AddLine", LINE),
    ("order", "o2", "CancelOrder", {"reason": "by mistake"}),
]
PATHS = (
    "/orders/o1",
    "/orders/o2",
    "/orders",
    "/products/p1",
    "/products",
    "/users/u1",
    "/users/u1/orders",
    "/users/u1/archive?from=2010&to=2010-12",
    "/users/u1/archive?from=2010-12&to=2010-12",
    "/timers",
    "/orders/o1/history",
    "/orders/o1/state",
    "/products/p1/history",
    "/products/p1/state",
    "/users/u1/history",
    "/users/u1/state",
    "/recommendations/p1",
    "/analytics/revenue",
    "/analytics/revenue?by=country",
    "/analytics/top-products",
    "/analytics/baskets",
    "/analytics/orders-by-status",
    "/projections",
    "/projections/orders",
    "/lag",
    "/schemas",
    "/health/live",
    "/health/ready",
)


@dataclass(frozen=True)
class Shop:
    """A worker of projections, the document it serves, and a position that its tables have."""

    worker: Worker
    told: Any
    position: str


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(system: System) -> Shop:
    """All contexts with a worker each, and a few rows of every table."""
    workers = [system.start(module) for module in (USERS, PRODUCTS, ORDERS, PROJECTIONS)]
    await asyncio.gather(*(system.all_served(worker) for worker in workers))
    worker = workers[-1]
    for command in COMMANDS:
        position = str((await system.ask(*command))["position"])

        async def has_it(position: str = position) -> bool:
            """All tables, as that is what `/lag` waits for."""
            return (await system.get(worker, "/lag", At_Least=position, Prefer="wait=30"))[0] == 200

        await eventually(has_it, 60, worker.tail)
    _, told, _ = await system.get(worker, "/openapi.json")
    return Shop(worker, told, position)


def strict(schema: Any) -> Any:
    """A schema that takes no fields but those that it names."""
    if isinstance(schema, list):
        return [strict(it) for it in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: strict(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and "additionalProperties" not in schema:
        closed["additionalProperties"] = False
    return closed


def faults(told: Any, path: str, status: int, body: Any) -> Iterator[str]:
    """What is in an answer that the document does not say, or the other way round."""
    wanted, found = path.partition("?")[0].split("/"), None
    for template, methods in told["paths"].items():
        parts = template.split("/")
        if len(parts) == len(wanted) and all(a == b or a[:1] == "{" for a, b in zip(parts, wanted, strict=True)):
            found = methods["get"]["responses"] if found is None or "{" not in template else found
    assert found is not None, path
    answer = found[str(status)]
    if "$ref" in answer:
        answer = told["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    schema = next(iter(answer["content"].values()))["schema"]
    validator = jsonschema.Draft202012Validator({**strict(schema), "components": strict(told["components"])})
    yield from (f"{path}: {error.json_path}: {error.message}" for error in validator.iter_errors(body))


async def test_answers_are_as_described(system: System, shop: Shop) -> None:
    """Of rows, lists, histories, analytics and figures each field is described, and all that is described is so."""
    for path in PATHS:
        status, body, _ = await system.get(shop.worker, path)
        assert (200 if "from=2010&" not in path else 400) == status, (path, body)
        assert [] == list(faults(shop.told, path, status, body))


async def test_nothing_is_behind(system: System, shop: Shop) -> None:
    """The lag comes to 0, also of a type that has events and no table."""

    async def nothing() -> bool:
        lag = await system.lag(shop.worker)
        return lag is not None and lag["total"] == 0 and any(it["eventful"] for it in lag["streams"])

    await eventually(nothing, 30, shop.worker.tail)


async def test_document_is_built_once(system: System, shop: Shop) -> None:
    """It has an ETag, and who has it already is told so."""
    _, _, headers = await system.get(shop.worker, "/openapi.json")
    status, body, again = await system.get(shop.worker, "/openapi.json", If_None_Match=headers["ETag"])
    assert (304, None, headers["ETag"]) == (status, body, again["ETag"])


async def test_page_and_its_files(system: System, shop: Shop) -> None:
    """The worker serves the page and each file that it names, and lets it load nothing from elsewhere."""
    async with system.http.get(shop.worker.url + "/docs") as response:
        page, policy = await response.text(), response.headers["Content-Security-Policy"]
    assert "default-src 'none'; script-src 'self'" in policy
    files = [part.partition('"')[0] for part in page.replace('href="', 'src="').split('src="')[1:]]
    assert {"docs/swagger-ui.css", "docs/swagger-ui-bundle.js", "docs/start.js", "openapi.json"} < set(files)
    for file in files:
        async with system.http.get(f"{shop.worker.url}/{file}") as response:
            assert 200 == response.status, file
            assert await response.read()
    assert 404 == (await system.get(shop.worker, "/docs/index.html"))[0]


async def test_requests_that_break_aiohttp(system: System, shop: Shop) -> None:
    """What aiohttp itself stumbles over is a problem of the client's: an expectation that cannot be written, a body
    that is not encoded as it says, a number that is none."""
    url, broken = shop.worker.url, {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    for path in ("/orders/o1", "/nowhere"):
        assert (417, "application/problem+json") == await raw(system, shop.worker, path, b"Expect: \xff")
    async with system.http.post(url + "/projections/orders/pause", data=b"no gzip", headers=broken) as response:
        assert (400, "application/problem+json") == (response.status, response.content_type)


async def raw(system: System, worker: Worker, path: str, header: bytes) -> tuple[int, str]:
    """Status and content type of the answer to a header that no client library would send."""
    reader, writer = await asyncio.open_connection("127.0.0.1", worker.port, ssl=system.tls)
    writer.write(b"GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s\r\n\r\n" % (path.encode(), header))
    head = (await reader.read()).partition(b"\r\n\r\n")[0].decode()
    writer.close()
    kind = next(line for line in head.split("\r\n") if line.lower().startswith("content-type"))
    return int(head.split()[1]), kind.partition(":")[2].partition(";")[0].strip()


async def fuzz(shop: Shop, *options: str) -> None:
    """Let schemathesis try the operations; what it finds wrong is the message."""
    known = {
        "orders.id": ["o1", "o2"],
        "products.id": ["p1", "p2"],
        "users.id": ["u1"],
        "recommendations.sku": ["p1"],
        "projections.name": ["orders", "users", "order-archive", "catalogue"],
        "projections.key": ["o1", "u1"],
        "schemas.fingerprint": ["0123456789abcdef"],
        "At-Least": [shop.position],
        "only": ["users"],
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "schemathesis.cli", "--config-file", str(CONFIG), "run", shop.worker.url + "/openapi.json", *options),
        env={**os.environ, "SCHEMATHESIS_HOOKS": str(HOOKS), "OPENAPI_KNOWN": json.dumps(known)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert 0 == process.returncode, output.decode()


async def test_no_request_breaks_a_view(shop: Shop, pytestconfig: pytest.Config) -> None:
    """Whatever is asked of any view: an answer that is described, as it is described, and never a server error."""
    count = "20" if pytestconfig.getoption("full") else "6"  # beside those that follow from the document
    await fuzz(shop, "--exclude-method", "POST", "--phases", "examples,coverage,fuzzing", "--max-examples", count)


async def test_no_order_breaks_the_projections(system: System, shop: Shop) -> None:
    """Orders of every form: the same, and one of them that was paused and rebuilt goes on when it is told to."""
    await fuzz(shop, "--include-method", "POST", "--phases", "examples,coverage,fuzzing", "--max-examples", "4")
    async with system.http.post(shop.worker.url + "/projections/users/resume", json={}) as response:
        assert response.status in (200, 202)

    async def goes_on() -> bool:
        status, _, _ = await system.get(shop.worker, "/users/u1", At_Least=shop.position)
        return status == 200

    await eventually(goes_on, 30, shop.worker.tail)
    assert [] == [line for line in shop.worker.lines if " raised" in line]
