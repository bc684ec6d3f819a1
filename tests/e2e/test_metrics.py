"""`/metrics` of real workers of every kind: all that is declared, and what people did while they ran."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parsed_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parsed

from streams.observability.catalog import METRICS
from tests.e2e.client import eventually
from tests.e2e.system import System
from tests.e2e.worker import CHECKOUT, ORDERS, PRODUCTS, PROJECTIONS, TIMERS, USERS, Worker

pytestmark = pytest.mark.asyncio(loop_scope="module")

JOURNAL = "sqlite"
FIGURES = {"requests", "events", "visible_p99", "lag_seconds"}
"""Of which there are points, beside those of commands, though not of the same moment."""
TAIL = "projections.shop.tail"
SECONDS = 60
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
WRITE_SIDE = (ORDERS, PRODUCTS, CHECKOUT, TIMERS, USERS)
OF_EVERY_WORKER = {name for name in METRICS if name.startswith(("sourced_worker_", "sourced_http_"))}


async def families(system: System, worker: Worker, accept: str = "") -> list[Any]:
    """What a worker exposes, as Prometheus reads it."""
    async with system.http.get(worker.url + "/metrics", headers={"Accept": accept}) as response:
        assert response.status == 200
        text = await response.text()
    return list((parsed_openmetrics if accept else parsed)(text))


async def value(system: System, worker: Worker, name: str, **labels: str) -> float:
    """The sum of the samples of a name with these labels."""
    samples = [sample for family in await families(system, worker) for sample in family.samples]
    return sum(sample.value for sample in samples if sample.name == name and labels.items() <= sample.labels.items())


async def test_every_worker_says_what_it_does(system: System) -> None:
    """A checkout over four contexts, a command that fails and a page that is not there are in the figures of the
    workers that did it; each metric is exposed by a worker with the labels that are declared, and no others are; a
    sampled trace is an exemplar; `/figures` shows the last hour of all."""
    workers = [system.start(module) for module in WRITE_SIDE]
    tail, door = system.start(TAIL), system.start(PROJECTIONS, PUBLISH="off")
    await asyncio.gather(*(system.all_served(worker) for worker in (*workers, tail, door)))
    orders, products, checkout, timers, _ = workers

    await command(system, door, "products", "A", "DefineProduct", {"name": "A", "price": "1.00"})
    await command(system, door, "products", "A", "Restock", {"quantity": 100})
    opened = {"user_id": "17850", "kind": "sale", "country": "France"}
    await command(system, door, "orders", "O-1", "OpenOrder", opened, traceparent=f"00-{TRACE}-00f067aa0ba902b7-01")
    line = {"sku": "A", "description": "HOLDER", "quantity": 6, "unit_price": "2.55"}
    await command(system, door, "orders", "O-1", "AddLine", line)
    await command(system, door, "orders", "O-1", "PlaceOrder", {})
    assert "failed" == (await system.ask("order", "O-1", "MadeUp", {}))["status"]
    assert 404 == (await system.get(door, "/nothing/of/the/kind"))[0]

    async def confirmed() -> bool:
        return bool(await value(system, orders, "sourced_commands_total", command="ConfirmOrder", outcome="accepted"))

    await eventually(confirmed, SECONDS, checkout.tail)
    await eventually(lambda: caught_up(system, door), SECONDS, door.tail)

    assert 1 == await value(system, orders, "sourced_commands_total", type="order", command="OpenOrder")
    assert 1 == await value(system, orders, "sourced_dead_letters_total", type="order", reason="UnknownCommand")
    assert 1 == await value(system, orders, "sourced_commands_total", command="other", outcome="failed")
    assert 4 <= await value(system, orders, "sourced_command_seconds_count", type="order", outcome="accepted")
    assert 1 <= await value(system, orders, "sourced_takeover_seconds_count", type="order")
    assert 1 <= await value(system, products, "sourced_commands_total", command="ReserveStock", outcome="accepted")
    assert 1 <= await value(system, checkout, "sourced_commands_sent_total", type="checkout", to="product")
    assert 1 <= await value(system, tail, "sourced_published_events_total", type="order")
    assert 1 <= await value(system, door, "sourced_table_events_total")
    assert 1 <= await value(system, door, "sourced_visible_seconds_count")
    commands = {"method": "POST", "route": "/orders/{id}/commands"}
    assert 3 <= await value(system, door, "sourced_http_requests_total", status="200", **commands)
    assert 1 <= await value(system, door, "sourced_http_requests_total", route="other", status="404")
    await exposes_what_is_declared(system, [*workers, tail, door])

    [exemplar] = [
        sample.exemplar
        for family in await families(system, orders, OPENMETRICS)
        for sample in family.samples
        if sample.exemplar is not None
    ]
    assert {"trace_id": TRACE} == exemplar.labels
    assert {worker.module: 1.0 for worker in (timers, tail)} == {
        worker.module: await value(system, worker, "sourced_worker_info", app=worker.module)
        for worker in (timers, tail)
    }

    async def figures() -> Any:
        await command(system, door, "products", "A", "Restock", {"quantity": 1})
        status, body, _ = await system.get(door, "/figures")
        points = body["figures"] if status == 200 else {}
        known = {name for name, its in points.items() if any(point is not None for point in its)}
        return any(points.get("commands", ())) and known >= FIGURES and body

    body = await eventually(figures, SECONDS, door.tail)
    assert {360} == {len(points) for points in body["figures"].values()}


async def command(
    system: System, door: Worker, path: str, id: str, type: str, data: Mapping[str, Any], **headers: str
) -> None:
    """A command over HTTP that is accepted."""
    url = f"{door.url}/{path}/{id}/commands"
    async with system.http.post(url, json={"type": type, "data": data}, headers=headers) as response:
        assert 200 == response.status, await response.text()


async def caught_up(system: System, door: Worker) -> bool:
    """Whether the tables have all events."""
    lag = await system.lag(door)
    return bool(lag and lag["total"] == 0 and any(row["head"] for row in lag["streams"]))


async def exposes_what_is_declared(system: System, workers: list[Worker]) -> None:
    """Each metric, by one of the workers at least, with its kind and its labels; and nothing else of this prefix."""
    found: dict[str, str] = {}
    for worker in workers:
        here = [family for family in await families(system, worker) if family.name.startswith("sourced_")]
        assert set() == OF_EVERY_WORKER - {named(family) for family in here}, worker.module
        for family in here:
            found[named(family)] = family.type
            labels = {name for sample in family.samples for name in sample.labels} - {"le"}
            assert labels <= set(METRICS[named(family)].labels), family.name
    assert {name: metric.kind for name, metric in METRICS.items()} == found


def named(family: Any) -> str:
    """The name of a metric as it is declared."""
    return f"{family.name}_total" if family.type == "counter" else str(family.name)
