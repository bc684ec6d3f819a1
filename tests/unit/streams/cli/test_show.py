"""`faust show` and `faust history`: an aggregate and its events, as the journal has them."""

from __future__ import annotations

import json

import pytest

from schemas.codec import Codec
from schemas.registry import Schemas
from streams.cli import journal
from streams.cli.run import CliError, type_named
from streams.journal import event_view
from streams.journal.memory import MemoryStore
from streams.journal.port import Identity
from tests.unit.streams.cli.orders_context import PARTITIONS, STREAM, FakeContext


async def test_show(context: FakeContext) -> None:
    """The state comes from all events, with decimals as strings; commands without event leave it as it is."""
    shown = await journal.state_at(context, "536365", None)  # type: ignore[arg-type]
    assert ("order", "536365", 2, "open") == (shown["type"], shown["id"], shown["sequence"], shown["state"]["status"])
    [line] = shown["state"]["lines"].values()
    assert {"sku": "85123A", "description": "HÖLDER", "quantity": 6, "unit_price": "2.5500"} == line
    json.dumps(shown)


@pytest.mark.parametrize(("at", "sequence", "lines"), [(1, 1, 0), (2, 2, 1), (99, 2, 1)])
async def test_show_at(context: FakeContext, at: int, sequence: int, lines: int) -> None:
    """`--at N` is the state after event N, or after the last one when there are fewer."""
    shown = await journal.state_at(context, "536365", at)  # type: ignore[arg-type]
    assert (sequence, lines) == (shown["sequence"], len(shown["state"]["lines"]))


@pytest.mark.parametrize("id", ["nope", "536367"])
async def test_show_nothing(context: FakeContext, id: str) -> None:
    """There is no aggregate without an event."""
    with pytest.raises(CliError, match=f"no order {id}") as stopped:
        await journal.state_at(context, id, None)  # type: ignore[arg-type]
    assert 1 == stopped.value.code


async def test_history(context: FakeContext) -> None:
    """The history has each event with its place in the journal, the command that caused it, and its data."""
    first, second = await journal.history_of(context, "536365")  # type: ignore[arg-type]
    assert {
        "sequence": 2, "time": "2026-11-23T09:30:00.123Z", "type": "LineAdded", "position": f"{STREAM}:2:0",
        "command_id": "c2", "correlation_id": "k2",
        "schema": "shop.order.LineAdded:1",
        "data": {"sku": "85123A", "description": "HÖLDER", "quantity": 6, "unit_price": "2.5500"},
    } == second  # fmt: skip
    assert (1, f"{STREAM}:1:0") == (first["sequence"], first["position"])


async def test_a_journal_of_another_namespace(context: FakeContext) -> None:
    """The command line refuses a journal that is another system's in one line, as workers do."""
    await context.journal().claim(Identity(context="orders", namespace="demo-", partitions=PARTITIONS, cluster="c"))
    with pytest.raises(CliError, match="belongs to NAMESPACE='demo-', and here is NAMESPACE=''") as stopped:
        await journal.history_of(context, "536365")  # type: ignore[arg-type]
    assert 2 == stopped.value.code


async def test_unreadable_event(context: FakeContext) -> None:
    """An event that cannot be read says so in its place; the others are shown."""
    stored = list(await context.journal().events("order", "536365"))[:2]
    codec = Codec([schema for schema in Schemas.load("shop", "order") if schema.name == "LineAdded"], {})
    first, second = event_view.entries(codec, STREAM, stored)
    assert {"unreadable"} == first["data"].keys()
    assert 6 == second["data"]["quantity"]


async def test_missing_journal() -> None:
    """Tables that do not exist are for the user to make, and the message says how."""
    with pytest.raises(CliError, match="run `faust -A <app> setup`") as stopped:
        await journal.state_at(FakeContext(MemoryStore()), "1", None)  # type: ignore[arg-type]
    assert 2 == stopped.value.code


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("streams.shop.orders", "this app has order; `faust -A projections.shop.app` has all types"),
        ("projections.shop.app", "this app has order$"),
        ("myapp", "this app has order$"),
    ],
)
def test_type_of_another_app(module: str, words: str) -> None:
    """A type that this app has not is wrong use, and the app that has it is named."""
    with pytest.raises(CliError, match=words) as stopped:
        type_named({"order": None}, "product", module)  # type: ignore[dict-item]
    assert 2 == stopped.value.code
