"""What is answered about a command."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from projections.gateway.command_answers import answer_of, is_another, used_before
from projections.gateway.command_records import CommandAggregate, KafkaPosition, SentCommand
from projections.gateway.command_request import CheckedCommand
from projections.http.problems import HttpProblem
from streams.deciding.messages import AggregateRef, Error, Reply

COMMAND = CheckedCommand("c-1", "order", "7", "PlaceOrder", [], "same")
PLACE = KafkaPosition("order-commands", 0, 1)


class View:
    """What a view answers."""

    def bytes(self, body: bytes, **options: Any) -> Any:
        return SimpleNamespace(body=body, **options)


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        ("accepted", None, 200),
        ("rejected", "NoLines", 409),
        ("rejected", "UnexpectedSequence", 412),
        ("failed", "IdUsedBefore", 422),
        ("failed", "UnexpectedSequence", 422),
    ],
)
def test_status(status: Any, error: str | None, code: int) -> None:
    """That the owner has found another sequence is 412, with the one that it has found."""
    reply = Reply("c-1", status, AggregateRef("order", "7", 5), error=Error(error, "..") if error else None)
    answer = answer_of(View(), reply)
    body = json.loads(answer.body)
    assert (code, 5) == (answer.status, body["aggregate"]["sequence"])
    if error:
        assert (code, status, error) == (body["status"], body["outcome"], body["title"])


@pytest.mark.parametrize(
    ("sent", "reply", "another"),
    [
        (SentCommand("c-1", CommandAggregate("order", "7"), "PlaceOrder", PLACE, "same"), None, False),
        (SentCommand("c-1", CommandAggregate("order", "7"), "PlaceOrder", PLACE, "other"), None, True),
        (None, Reply("c-1", "accepted", AggregateRef("order", "7", 1)), False),
        (None, Reply("c-1", "accepted", AggregateRef("order", "7", 1), command="PlaceOrder"), False),
        (None, Reply("c-1", "accepted", AggregateRef("order", "8", 1)), True),
        (None, Reply("c-1", "accepted", AggregateRef("order", "8", 1), command="PlaceOrder"), True),
        (None, Reply("c-1", "accepted", AggregateRef("order", "7", 1), command="CancelOrder"), True),
        (None, None, False),
    ],
)
def test_an_id_is_of_one_command(sent: SentCommand | None, reply: Reply | None, another: bool) -> None:
    """It is told by what was sent, and where only a reply is known, by its aggregate; the refusal names what it was."""
    assert another == is_another(COMMAND, sent, reply)
    if another:
        error = used_before("c-1", sent, reply)
        assert isinstance(error, HttpProblem)
        assert (422, "IdUsedBefore") == (error.status, error.title)
        used_for = "PlaceOrder of order 7" if reply is None else what_it_is(reply)
        assert used_for in str(error)


def what_it_is(reply: Reply) -> str:
    """How the refusal names what the reply is to."""
    return f"{reply.command or 'a command'} of order {reply.aggregate.id}"
