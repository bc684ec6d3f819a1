"""Commands on their way to Kafka count as pending for as long as Kafka may have them."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaError

from projections.gateway.command_records import NOT_YET, CommandAggregate, KafkaPosition, SentCommand
from projections.gateway.command_request import CheckedCommand
from projections.gateway.delivery import Deliveries
from projections.gateway.pending_commands import PendingCommands
from streams.settings import Settings

COMMAND = CheckedCommand("c1", "order", "7", "PlaceOrder", [], "1")
SENT = SentCommand("c1", CommandAggregate("order", "7"), "PlaceOrder", KafkaPosition("", 0, NOT_YET), "1")


class Kafka:
    """Answers when a test does."""

    def __init__(self) -> None:
        self.answers: list[asyncio.Future[Any]] = []

    async def deliver(self, hand_over: object) -> Any:
        self.answers.append(asyncio.get_running_loop().create_future())
        return await self.answers[-1]


@pytest.mark.parametrize("is_first_taken", [True, False])
@pytest.mark.parametrize("is_second_taken", [True, False])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_two_requests_with_one_id(is_first_taken: bool, is_second_taken: bool, order: tuple[int, int]) -> None:
    """The command counts once, unless Kafka has taken neither."""
    kafka, pending = Kafka(), PendingCommands()
    room: Any = SimpleNamespace(give_back=lambda: None)
    broker: Any = kafka
    deliveries = Deliveries(broker, Settings(), "gateway-replies", pending)
    tasks = [deliveries.start(COMMAND, b"{}", SENT, room) for _ in range(2)]
    await asyncio.sleep(0)
    taken = (is_first_taken, is_second_taken)
    for index in order:
        if taken[index]:
            kafka.answers[index].set_result(SimpleNamespace(partition=0, offset=4 + index))
        else:
            kafka.answers[index].set_exception(KafkaError())
        for _ in range(5):
            await asyncio.sleep(0)
        assert 1 == pending["order"] or not any(taken)
    for note in kafka.answers[2:]:
        note.set_result(None)
    await asyncio.wait(tasks)
    assert int(any(taken)) == pending["order"]
    known = pending.sent("c1")
    places = [4 + index for index in (0, 1) if taken[index]]
    assert (max(places) if places else None) == (known.place.offset if known is not None else None)
