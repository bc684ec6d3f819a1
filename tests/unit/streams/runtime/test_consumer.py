"""Where aiokafka runs in a thread of its own, and what it keeps to itself until it is asked."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AbstractContextManager, nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import GroupAuthorizationFailedError
from faust.types import TP

from streams.runtime.consumer import Consumer, _is_member

TP0 = TP("orders", 0)


def looking(state: object, read: int) -> Any:
    """A consumer that has read up to an offset, and what it knows of where its partition is."""
    assignment = SimpleNamespace(state_value=lambda tp: state)
    subscription = SimpleNamespace(subscription=SimpleNamespace(assignment=assignment))
    went_back: list[TP] = []
    return SimpleNamespace(
        _looked_back=-10.0,
        _thread=SimpleNamespace(_consumer=SimpleNamespace(_subscription=subscription)),
        _read_offset={TP0: read},
        app=SimpleNamespace(went_back=went_back.append, found=went_back),
    )


class Reset:
    """A place that aiokafka's thread takes away between two looks, as it does when Kafka has its offset no more."""

    _position: int | None = None
    has_valid_position = True

    @property
    def position(self) -> int:
        raise AssertionError


def test_a_place_that_is_being_reset() -> None:
    """It is no error, and nothing that went back."""
    consumer = looking(Reset(), 5)
    Consumer._find_what_went_back(consumer)
    assert [] == consumer.app.found


def test_a_place_that_went_back() -> None:
    """It is told."""
    consumer = looking(SimpleNamespace(_position=3), 5)
    Consumer._find_what_went_back(consumer)
    assert [TP0] == consumer.app.found


async def test_a_place_that_was_sought() -> None:
    """A batch that was on its way before does not make it look as if Kafka had lost what is read again."""
    consumer = looking(SimpleNamespace(_position=3), 3)

    async def seek_wait(places: dict[TP, int]) -> None:
        consumer._read_offset.update(places)
        consumer._read_offset[TP0] = 90  # the batch

    consumer.seek_wait, consumer._handover = seek_wait, SimpleNamespace(forget=lambda tp: None)
    await Consumer.go_on_from(consumer, TP0, 3)
    Consumer._find_what_went_back(consumer)
    await Consumer.go_on_from(consumer, TP0, 0)
    Consumer._find_what_went_back(consumer)
    assert [] == consumer.app.found


async def test_the_group_confirms_a_member() -> None:
    """By a heartbeat that is sent from then on, and answered well; those that fail say nothing."""
    answers = [True, False, True]

    async def beat() -> bool:
        return answers.pop(0)

    consumer: Any = SimpleNamespace(_heartbeat=0.0)
    coordinator = SimpleNamespace(_do_heartbeat=beat)
    for _ in range(2):  # as at every rebalance
        Consumer._note_heartbeats(consumer, coordinator)
    assert await coordinator._do_heartbeat()
    confirmed = asyncio.create_task(Consumer.confirmed(consumer))
    await asyncio.sleep(0.01)
    assert not await coordinator._do_heartbeat()
    done, _ = await asyncio.wait({confirmed}, timeout=0.25)
    assert not done
    assert await coordinator._do_heartbeat()
    async with asyncio.timeout(1):
        await confirmed


async def test_who_is_a_member() -> None:
    """One that its broker has given a generation, or whose broker does not answer; none whose task has ended."""
    running: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    ended.set_result(None)

    def member(task: Any = running, broker: int | None = 1, generation: int = 3) -> bool:
        return _is_member(SimpleNamespace(_coordination_task=task, coordinator_id=broker, generation=generation))

    assert member()
    assert member(broker=None, generation=-1)
    assert not member(generation=-1)
    assert not member(task=ended)


def test_what_the_group_has_to_say_is_heard(caplog: pytest.LogCaptureFixture) -> None:
    """aiokafka does nothing more in its group until somebody has heard why it could not: it is heard, and said once."""
    polled: list[AbstractContextManager[None]] = []

    def fetch_context() -> AbstractContextManager[None]:
        polled.append(nullcontext())
        return polled[-1]

    def check_errors() -> None:
        raise GroupAuthorizationFailedError("orders")

    driver = SimpleNamespace(
        _subscription=SimpleNamespace(fetch_context=fetch_context),
        _coordinator=SimpleNamespace(check_errors=check_errors),
    )
    consumer: Any = SimpleNamespace(_group_error="", app=SimpleNamespace(conf=SimpleNamespace(id="shop_orders")))
    for _ in range(3):
        Consumer._look_after(consumer, driver)
    assert 3 == len(polled)
    [line] = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert "the consumer group shop_orders" in line
