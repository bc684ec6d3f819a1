"""Traces of real workers, as a collector gets them."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import pytest_asyncio

from tests.collector import CollectedSpan, Collector, children, collector
from tests.e2e.client import eventually
from tests.e2e.orders import LINE, OPEN
from tests.e2e.system import System
from tests.e2e.worker import CHECKOUT, ORDERS, PRODUCTS, PROJECTIONS, TIMERS, Worker

pytestmark = pytest.mark.asyncio(loop_scope="module")

JOURNAL = "sqlite"
SECONDS = 60.0
TRACE, ALONE, TIMED = "4bf92f3577b34da6a3ce929d0e0e4736", "1" * 32, "2" * 32
CLIENT = "00f067aa0ba902b7"
STAGES = ["load", "decide", "write", "reply"]


class Shop:
    """A running shop whose workers tell a collector of what they do."""

    def __init__(self, system: System, collected: Collector) -> None:
        self.system, self.collected = system, collected
        self.workers: dict[str, Worker] = {}

    async def start(self) -> None:
        where = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.collected.url,
            "TRACES_URL": "http://jaeger:16686/trace/{trace_id}",
        }
        self.workers = {
            module: self.system.start(module, **where) for module in (ORDERS, PRODUCTS, CHECKOUT, TIMERS, PROJECTIONS)
        }
        await asyncio.gather(*map(self.system.all_served, self.workers.values()))

    async def command(self, path: str, type: str, data: Mapping[str, Any], trace: str = TRACE, flag: int = 0) -> None:
        """Send one over HTTP, as a client whose span this is, in a trace that is kept or not."""
        headers = {"traceparent": f"00-{trace}-{CLIENT}-0{flag}"}
        url = f"{self.workers[PROJECTIONS].url}/{path}/commands"
        async with self.system.http.post(url, json={"type": type, "data": data}, headers=headers) as response:
            assert 200 == response.status, await response.text()

    def tree(self, trace: str = TRACE) -> list[str]:
        """The spans of a trace, indented by how far they are below the client's, without those of commits."""
        names: list[str] = []
        below_each = children(self.collected.of(trace))

        def add(id: str, depth: int) -> None:
            for span in sorted(below_each[id], key=lambda span: self.label(span)):
                if not span.name.startswith("commit "):
                    names.append("  " * depth + self.label(span))
                    add(span.span_id, depth + 1)

        add(CLIENT, 0)
        return names

    def label(self, span: CollectedSpan) -> str:
        what = span.attributes.get("sourced.command") or span.attributes.get("sourced.event") or ""
        return f"{span.name.replace(self.system.namespace, '')} {what}".strip()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(system: System) -> AsyncIterator[Shop]:
    async with collector() as collected:
        shop = Shop(system, collected)
        await shop.start()
        yield shop


CHECKOUT_TREE = """
POST /orders/{id}/commands
  send order-commands PlaceOrder
    process order-commands PlaceOrder
      send order-events OrderPlaced
        process order-events OrderPlaced
        send checkout-commands StartCheckout
          process checkout-commands StartCheckout
            send checkout-events CheckoutStarted
              process checkout-events CheckoutStarted
            send product-commands ReserveStock
              process product-commands ReserveStock
                send product-events StockReserved
                  process product-events StockReserved
                  send checkout-commands NoteReserved
                    process checkout-commands NoteReserved
                      send checkout-events AllReserved
                        process checkout-events AllReserved
                      send checkout-events LineReserved
                        process checkout-events LineReserved
                      send order-commands ConfirmOrder
                        process order-commands ConfirmOrder
                          send order-events OrderConfirmed
                            process order-events OrderConfirmed
                      send timer-commands CancelTimer
                        process timer-commands CancelTimer
                          send timer-events TimerCancelled
                            process timer-events TimerCancelled
            send timer-commands ScheduleTimer
              process timer-commands ScheduleTimer
                send timer-events TimerScheduled
                  process timer-events TimerScheduled
"""


async def test_a_checkout_over_four_contexts_is_one_tree(shop: Shop) -> None:
    """From a client's span to the confirmed order: requests, commands, events, tables and timers, each below what has
    caused it, and in the worker that did it. The commit of each command tells its stages apart. Of what came before, in
    a trace that nobody keeps, there is nothing; and the story of the order leads to the trace."""
    await shop.command("products/tea", "DefineProduct", {"name": "tea", "price": "1.00"})
    await shop.command("products/tea", "Restock", {"quantity": 10})
    await shop.command("orders/traced", "OpenOrder", OPEN)
    await shop.command("orders/traced", "AddLine", {**LINE, "sku": "tea"})
    await shop.command("orders/traced", "PlaceOrder", {}, flag=1)

    wanted = CHECKOUT_TREE.strip().splitlines()
    await eventually(lambda: len(shop.tree()) >= len(wanted), SECONDS, lambda: "\n".join(shop.tree()))
    assert wanted == shop.tree()
    spans = shop.collected.of(TRACE)
    assert {span.span_id for span in shop.collected.spans} == {span.span_id for span in spans}
    services = {
        "process order-commands": "orders", "process product-commands": "products", "process timer-commands": "timers",
        "process checkout-commands": "checkout", "send product-commands": "checkout",
        "send order-events": "projections",
        "process order-events": "projections", "POST /orders/{id}/commands": "projections",
    }  # fmt: skip
    found = {(span.name.replace(shop.system.namespace, ""), span.service) for span in spans}
    assert {(name, shop.system.namespace + service) for name, service in services.items()} <= found

    below, commands = children(spans), [span for span in spans if span.attributes.get("sourced.outcome")]
    assert sum("-commands" in line and "process" in line for line in wanted) == len(commands)
    commits = {span.span_id: span for span in spans if span.name.startswith("commit ")}
    for command in commands:
        linked = [commit for commit in commits.values() if (TRACE, command.span_id) in commit.links]
        [commit] = linked
        assert commit.parent == command.span_id or (TRACE, commit.span_id) in command.links
        stages = below[commit.span_id]
        assert STAGES == [stage.name.split()[0] for stage in stages]
        assert command.began <= commit.began <= min(stage.began for stage in stages)
        assert max(stage.ended for stage in stages) <= commit.ended == command.ended

    [placed] = [span for span in spans if span.attributes.get("sourced.event") == "OrderPlaced" and span.kind == 4]
    _, story, _ = await shop.system.get(shop.workers[PROJECTIONS], f"/stories/{placed.attributes['sourced.position']}")
    assert f"http://jaeger:16686/trace/{TRACE}" == story["trace_url"]


TIMER_TREE = """
POST /timers/{id}/commands
  send timer-commands ScheduleTimer
    process timer-commands ScheduleTimer
      send timer-commands FireTimer
        process timer-commands FireTimer
          send order-commands OpenOrder
            process order-commands OpenOrder
              send order-events OrderOpened
                process order-events OrderOpened
          send timer-events TimerFired
            process timer-events TimerFired
      send timer-events TimerScheduled
        process timer-events TimerScheduled
"""


async def test_what_a_timer_fires_is_below_what_has_scheduled_it(shop: Shop) -> None:
    """Down to the event of the command that it sends, in one tree."""
    fired = {"to": "order", "id": "fired", "command": "OpenOrder", "data": json.dumps(OPEN)}
    await shop.command("timers/soon", "ScheduleTimer", {"due": "2020-01-01T00:00:00Z", **fired}, TIMED, flag=1)
    wanted = TIMER_TREE.strip().splitlines()
    await eventually(lambda: len(shop.tree(TIMED)) >= len(wanted), SECONDS, lambda: "\n".join(shop.tree(TIMED)))
    assert wanted == shop.tree(TIMED)


async def test_nobody_waits_for_a_collector(shop: Shop) -> None:
    """While it takes nothing commands are answered, and each worker says so once; then what waited comes."""
    shop.collected.status = 503
    for number in range(3):
        await shop.command(f"orders/alone-{number}", "OpenOrder", OPEN, ALONE, flag=1)

    def said(words: str) -> list[int]:
        return [sum(words in line for line in shop.workers[module].lines) for module in (ORDERS, PROJECTIONS)]

    await eventually(lambda: said("takes no spans: it answers 503") == [1, 1], SECONDS, "it is said")
    assert [] == shop.collected.of(ALONE)
    shop.collected.status = 200
    wanted = {"POST /orders/{id}/commands": 3, "send order-commands": 3, "process order-commands": 3}

    def found() -> Counter[str]:
        names = Counter(span.name.replace(shop.system.namespace, "") for span in shop.collected.of(ALONE))
        return Counter({name: names[name] for name in wanted})

    await eventually(lambda: found() == wanted, SECONDS, lambda: f"{found()}")
    await eventually(lambda: said("takes spans again; 0 were lost") == [1, 1], SECONDS, "it is said")
    assert [1, 1] == said("takes no spans")
