"""The facts on the control topic: orders of several workers, read by those that start, whatever else stands there."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from projections.applying import control as control_module
from projections.applying.control import Control
from tests.unit.control_topic import ControlTopic
from tests.unit.control_topic import following as worker


async def test_orders_outlive_the_worker_that_took_them() -> None:
    """Who starts later, or again, knows all that was ordered, and only what counts of it."""
    topic = ControlTopic()
    async with worker(topic) as first:
        await first.serve("orders", "orders-1")
        await first.build_again("orders", 1)
        await first.build_again("orders", 1)
        await first.pause("orders", "why")
        await first.pause("products", "why")
        await first.resume("products")
        await first.skip("orders", "order-3:125:0", "broken")
        await first.drop("users-1")
    async with worker(topic) as second:
        assert ("orders-1", None) == (second.serving("orders"), second.serving("products"))
        assert ("orders-1.2", "orders-2", "users-1") == (
            second.wanted("orders", 1),
            second.wanted("orders", 2),
            second.wanted("users", 1),
        )
        assert ("why", None) == (second.paused("orders"), second.paused("products"))
        assert ({"order-3:125:0": "broken"}, {}) == (second.skips("orders"), second.skips("products"))
        assert {"users-1"} == second.dropped()


async def test_a_table_that_is_withdrawn() -> None:
    """Nobody takes it for the one that answers, who starts later too, until it is said again."""
    topic = ControlTopic()
    async with worker(topic) as first:
        await first.serve("orders", "orders-1")
        await first.withdraw("orders", "orders-1")
        assert first.serving("orders") is None
        async with worker(topic) as second:
            assert second.serving("orders") is None
        await first.serve("orders", "orders-1")
        assert "orders-1" == first.serving("orders")


async def test_orders_of_two_workers_do_not_undo_each_other() -> None:
    """Each order is a fact of its own: what two workers take at the same moment is all so, for both of them."""
    topic = ControlTopic()
    async with worker(topic) as one, worker(topic) as two:
        await asyncio.gather(
            one.skip("orders", "order-0:1:0", "one"),
            two.skip("orders", "order-0:2:0", "two"),
            one.pause("orders", "why"),
            two.pause("products", "why"),
            one.build_again("orders", 1),
            two.build_again("orders", 1),
        )
        for control in (one, two):
            await control.wait_for(len(topic.records) - 1)
            assert {"order-0:1:0": "one", "order-0:2:0": "two"} == control.skips("orders")
            assert ("why", "why") == (control.paused("orders"), control.paused("products"))
            assert "orders-1.1" == control.wanted("orders", 1), "both wanted the same: a new one"


async def test_an_order_is_read_where_it_was_not_given() -> None:
    """`wait_for` its offset returns when the other worker has read it, not before, and gives up after a while."""
    topic = ControlTopic()
    async with worker(topic) as one, worker(topic) as two:
        await one.pause("orders", "first")
        await topic.let_read(1)
        waiting = asyncio.create_task(two.wait_for(1))
        ordering = asyncio.create_task(one.resume("orders"))
        await asyncio.sleep(0.02)
        assert not waiting.done()
        await topic.let_read()
        await waiting
        assert (1, 1, None) == (await ordering, two.offset, two.paused("orders"))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (None, b"{}"),
        (b"\xff", b"{}"),
        (b"", b"{}"),
        (b"paused", b'{"reason": "x"}'),
        (b"paused/", b'{"reason": "x"}'),
        (b"paused/orders", b"x"),
        (b"paused/orders", b'{"reason": 7}'),
        (b"paused/orders", b"[]"),
        (b"unheard/orders", b'{"reason": "x"}'),
        (b"serving/orders", b'{"table": "products-1"}'),
        (b"serving/orders", b'{"table": "orders-x"}'),
        (b"serving/orders", b"{}"),
        (b"generation/orders-1", b'{"generation": "2"}'),
        (b"generation/orders-x", b'{"generation": 2}'),
        (b"skipped/orders", b'{"reason": "x"}'),
        (b"skipped/orders/order-0:1:0", b"{}"),
        (b"dropped/orders", b"{}"),
        (b"paused/none", None),
    ],
)
async def test_what_is_no_order_is_left_out(key: Any, value: Any) -> None:
    """A record that nobody can read changes nothing, and what stands around it counts."""
    topic = ControlTopic()
    async with worker(topic) as control:
        await control.serve("orders", "orders-1")
        await topic.publish("", 0, [(key, value, [])])
        await control.skip("orders", "order-0:9:0", "broken")
    async with worker(topic) as control:
        assert ("orders-1", "orders-1") == (control.serving("orders"), control.wanted("orders", 1))
        assert (None, {"order-0:9:0": "broken"}, set()) == (
            control.paused("orders"),
            control.skips("orders"),
            control.dropped(),
        )


async def test_no_record_is_without_a_value() -> None:
    """What is over is told by a record that compaction keeps: the end of the topic can always be reached."""
    topic = ControlTopic()
    async with worker(topic) as control:
        await control.pause("orders", "why")
        await control.resume("orders")
        await control.drop("orders-1")
        await control.serve("orders", "orders-1")
    assert all(record.value is not None for record in topic.records)


async def test_a_table_that_serves_again_is_not_dropped_any_more() -> None:
    """An old version that comes back serves; when it goes the next time its table stays until that is ordered."""
    topic = ControlTopic()
    async with worker(topic) as control:
        await control.drop("orders-1")
        await control.serve("orders", "orders-1")
        await control.serve("orders", "orders-2")
        assert set() == control.dropped()


async def test_orders_that_kafka_does_not_take(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who gives an order while Kafka does not answer is told so after a while."""

    class Silent(ControlTopic):
        async def publish(self, *_: Any) -> int:
            await asyncio.Event().wait()
            raise AssertionError

    monkeypatch.setattr(control_module, "_PUBLISH_SECONDS", 0.01)
    async with worker(Silent()) as control:
        with pytest.raises(TimeoutError):
            await control.pause("orders", "why")


async def test_reading_fails() -> None:
    """What follows the topic begins again behind what it has read, with a reading of its own, when reading failed."""
    topic = ControlTopic()
    opened = []

    class Failing:
        """A feed whose readings end by an error when that is set."""

        async def open(self, name: str, partition: int) -> Any:
            reading = await topic.open(name, partition)
            broken = asyncio.Event()
            opened.append((reading, broken))
            read, sought = reading.read, reading.seek
            places: list[int] = []

            async def read_or_fail(most: int) -> Any:
                reads, breaks = asyncio.ensure_future(read(most)), asyncio.ensure_future(broken.wait())
                await asyncio.wait({reads, breaks}, return_when=asyncio.FIRST_COMPLETED)
                for task in (reads, breaks):
                    task.cancel()
                if broken.is_set():
                    raise RuntimeError("nobody can read this")
                return reads.result()

            async def seek(offset: int) -> None:
                places.append(offset)
                await sought(offset)

            reading.read, reading.seek, reading.places = read_or_fail, seek, places  # type: ignore[method-assign, attr-defined]
            return reading

    control = Control("projections-control", Failing(), topic)  # type: ignore[arg-type]
    await control.start()
    try:
        await control.pause("orders", "why")
        opened[0][1].set()
        async with asyncio.timeout(5):
            while len(opened) < 2:
                await asyncio.sleep(0.01)
            await control.pause("products", "why")
        assert ("why", "why") == (control.paused("orders"), control.paused("products"))
        assert [1] == opened[1][0].places
    finally:
        await control.close()


async def test_facts_about_other_projections_are_not_kept() -> None:
    """What concerns projections that this code has not costs no memory, and what is over neither."""
    topic = ControlTopic()
    for n in range(100):
        for name in ("serving", "paused", "generation", "dropped", "skipped"):
            of = {"serving": f"x{n}", "paused": f"x{n}", "skipped": f"x{n}/order-0:{n}:0"}.get(name, f"x{n}-1")
            values = {"serving": {"table": f"x{n}-1"}, "generation": {"generation": 1}, "dropped": {}}
            value = msgspec.json.encode(values.get(name, {"reason": "x"}))
            await topic.publish("", 0, [(f"{name}/{of}".encode(), value, [])])
    control = Control("projections-control", topic, topic, of={"orders"})  # type: ignore[arg-type]
    await control.start()
    await control.pause("orders", "why")
    await control.resume("orders")
    await control.drop("orders-1")
    await control.serve("orders", "orders-1")
    assert ("orders-1", 1) == (control.serving("orders"), len(control._facts))
    await control.close()


async def test_a_skipped_position_is_that_of_an_event() -> None:
    """However its numbers were written: events are compared with it as a text."""
    topic = ControlTopic()
    async with worker(topic) as control:
        await control.skip("orders", "order-3:0125:00", "broken")
        assert {"order-3:125:0": "broken"} == control.skips("orders")


async def test_a_table_of_another_format_does_not_answer() -> None:
    """Its rows cannot be read by this code, so one is built anew first; the order that it answers is no obstacle."""
    topic = ControlTopic()
    await topic.publish("", 0, [(b"serving/orders", b'{"table": "orders-1"}', [])])
    async with worker(topic) as control:
        assert (None, "orders-1") == (control.serving("orders"), control.wanted("orders", 1))
        await control.serve("orders", "orders-1")
        assert "orders-1" == control.serving("orders")
