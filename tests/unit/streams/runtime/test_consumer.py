"""Where aiokafka runs in a thread of its own, and what it keeps to itself until it is asked."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import GroupAuthorizationFailedError, KafkaError

from streams.concurrency.supervisor import Supervisor
from streams.runtime.consumer import Consumer, _is_member

CONF = SimpleNamespace(id="shop_orders")


async def test_the_group_confirms_a_member() -> None:
    """By a heartbeat that is sent from then on, and answered well; those that fail say nothing."""
    answers = [True, False, True]

    async def beat() -> bool:
        return answers.pop(0)

    supervisor = Supervisor()
    supervisor.trouble("the consumer group shop_orders", "it may not be a member")
    consumer: Any = SimpleNamespace(_heartbeat=0.0, app=SimpleNamespace(supervisor=supervisor, conf=CONF))
    coordinator = SimpleNamespace(_do_heartbeat=beat)
    for _ in range(2):  # as at every rebalance
        Consumer._note_heartbeats(consumer, coordinator)
    assert await coordinator._do_heartbeat()
    assert {} == supervisor.troubles
    confirmed = asyncio.create_task(Consumer.confirmed(consumer))
    await asyncio.sleep(0.01)
    assert not await coordinator._do_heartbeat()
    done, _ = await asyncio.wait({confirmed}, timeout=0.25)
    assert not done
    assert await coordinator._do_heartbeat()
    async with asyncio.timeout(20):
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


def looked_after(error: KafkaError, times: int) -> tuple[dict[str, str], int, int]:
    """What health shows after as many looks at a coordinator that has this to say; how often records were asked for,
    and how often the group is to be joined again."""
    polled: list[AbstractContextManager[None]] = []
    rejoins: list[None] = []

    def fetch_context() -> AbstractContextManager[None]:
        polled.append(nullcontext())
        return polled[-1]

    def check_errors() -> None:
        raise error

    driver = SimpleNamespace(
        _subscription=SimpleNamespace(fetch_context=fetch_context),
        _coordinator=SimpleNamespace(check_errors=check_errors, request_rejoin=lambda: rejoins.append(None)),
    )
    app = SimpleNamespace(conf=CONF, supervisor=Supervisor())
    consumer: Any = SimpleNamespace(_group_error="", app=app)
    consumer._say = partial(Consumer._say, consumer)
    for _ in range(times):
        Consumer._look_after(consumer, driver)
    return dict(app.supervisor.troubles), len(polled), len(rejoins)


def test_what_the_group_has_to_say_is_heard(caplog: pytest.LogCaptureFixture) -> None:
    """aiokafka does nothing more in its group until somebody has heard why it could not: it is heard, and said once."""
    assert ({}, 3, 0) == looked_after(KafkaError("broken"), 3)
    [line] = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert "the consumer group shop_orders" in line


def test_a_group_that_is_forbidden(caplog: pytest.LogCaptureFixture) -> None:
    """It is said once, health shows it, and the group is joined again when that is allowed: after such an answer
    aiokafka would send no heartbeat any more."""
    troubles, _, rejoins = looked_after(GroupAuthorizationFailedError("orders"), 3)
    assert (["the consumer group shop_orders"], 3) == (list(troubles), rejoins)
    [line] = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert "the consumer group shop_orders: this process may not be a member of it: grant Read" in line
