"""Batches on their way from the consumer to who receives them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import pytest
from faust.types import TP

from streams.runtime.partition_pump import PartitionPump

P0, P1 = TP("orders", 0), TP("orders", 1)


class Receiver:
    """Notes what it gets; takes a batch of a partition in `busy` only when that is set."""

    def __init__(self) -> None:
        self.busy: dict[TP, asyncio.Event] = {}
        self.received: list[tuple[TP, Sequence[Any]]] = []
        self.failures: list[Exception] = []

    async def receive(self, tp: TP, records: Sequence[Any]) -> None:
        if tp in self.busy:
            await self.busy[tp].wait()
        if records == ["bad"]:
            raise ValueError("bad")
        self.received.append((tp, records))

    async def failed(self, error: Exception) -> None:
        self.failures.append(error)


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def handover(receiver: Receiver) -> PartitionPump:
    return PartitionPump(receiver.receive, receiver.failed)


async def turns() -> None:
    """Let all go as far as it can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_order(receiver: Receiver, handover: PartitionPump) -> None:
    """The batches of a partition arrive one after another, in their order."""
    receiver.busy[P0] = asyncio.Event()
    handover.put(P0, ["a"])
    await turns()
    handover.put(P0, ["b"])
    await turns()
    assert [] == receiver.received
    receiver.busy[P0].set()
    await turns()
    handover.put(P0, ["c"])
    await turns()
    assert [(P0, ["a"]), (P0, ["b"]), (P0, ["c"])] == receiver.received


async def test_full(receiver: Receiver, handover: PartitionPump) -> None:
    """A partition is full while a batch waits behind the one being received; the others go on, and it says when."""
    receiver.busy[P0] = asyncio.Event()
    handover.put(P0, ["a"])
    await turns()
    assert set() == handover.full
    handover.put(P0, ["b"])
    handover.put(P1, ["x"])
    await turns()
    assert ({P0}, [(P1, ["x"])]) == (handover.full, receiver.received)
    handover.freed.clear()
    receiver.busy[P0].set()
    await asyncio.wait_for(handover.freed.wait(), 1)
    assert set() == handover.full


async def test_drop(receiver: Receiver, handover: PartitionPump) -> None:
    """What is dropped never arrives; what comes after it does, and nothing is full."""
    receiver.busy[P0] = asyncio.Event()
    handover.put(P0, ["a"])
    await turns()
    handover.put(P0, ["b"])
    await handover.drop()
    assert set() == handover.full
    receiver.busy[P0].set()
    handover.put(P0, ["c"])
    await turns()
    assert [(P0, ["c"])] == receiver.received


async def test_while_dropping(receiver: Receiver, handover: PartitionPump) -> None:
    """What comes while the former is being dropped arrives too, by itself."""
    receiver.busy[P0] = asyncio.Event()
    handover.put(P0, ["a"])
    await turns()
    dropping = asyncio.create_task(handover.drop())
    await asyncio.sleep(0)
    del receiver.busy[P0]
    handover.put(P0, ["b"])
    await dropping
    await turns()
    assert [(P0, ["b"])] == receiver.received


async def test_failure(receiver: Receiver, handover: PartitionPump) -> None:
    """Who receives and raises is told on: a partition does not stand still unnoticed."""
    handover.put(P0, ["bad"])
    await turns()
    assert ["bad"] == [str(error) for error in receiver.failures]


async def test_new_ones_while_dropping(receiver: Receiver, handover: PartitionPump) -> None:
    """What comes for a partition whose former batch is being dropped is not taken for that one when it ends."""
    go_on, slow = asyncio.Event(), asyncio.Event()

    async def receive(tp: TP, records: Sequence[Any]) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await (slow if tp == P0 else go_on).wait()

    handover._receive = receive
    handover.put(P0, ["a"])
    handover.put(P1, ["x"])
    await turns()
    dropping = asyncio.create_task(handover.drop())
    await turns()
    handover._receive = receiver.receive
    receiver.busy[P1] = asyncio.Event()
    handover.put(P1, ["new"])
    await turns()
    go_on.set()
    await turns()
    assert not dropping.done()
    slow.set()
    await dropping
    handover.put(P1, ["newer"])
    receiver.busy[P1].set()
    await turns()
    assert [(P1, ["new"]), (P1, ["newer"])] == receiver.received


async def test_ended_meanwhile(receiver: Receiver, handover: PartitionPump, caplog: pytest.LogCaptureFixture) -> None:
    """One that has received its last batch while another kept `drop` waiting ends without an error."""
    busy, slow = asyncio.Event(), asyncio.Event()

    async def receive(tp: TP, records: Sequence[Any]) -> None:
        if tp == P0:
            try:
                await asyncio.sleep(60)
            finally:
                await slow.wait()
        await busy.wait()

    handover._receive = receive
    handover.put(P0, ["a"])
    handover.put(P1, ["x"])
    await turns()
    dropping = asyncio.create_task(handover.drop())
    await asyncio.sleep(0)
    busy.set()
    await turns()
    slow.set()
    async with asyncio.timeout(20):
        await dropping
    assert [] == [record for record in caplog.records if record.levelno >= logging.ERROR]
