"""Answers about a command: its reply, its status, or that its id is used for another command."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

import msgspec

from aggregates.decider import FORBIDDEN
from projections.gateway.command_records import ID_USED_BEFORE, CommandAggregate, KnownCommand, SentCommand, is_reply_to
from projections.gateway.command_request import CheckedCommand
from projections.http.preconditions import UNEXPECTED_SEQUENCE
from projections.http.problems import HttpProblem
from streams.deciding.messages import Error, Reply
from streams.runtime.web_guard import problem_response
from streams.web.health import json_response

STATUS = {"accepted": 200, "rejected": 409, "failed": 422}
REJECTED = {UNEXPECTED_SEQUENCE: 412, FORBIDDEN: 403}
"""The status of rejections of the engine's own."""


class CommandTarget(TypedDict):
    """The aggregate of a command; `sequence` is that after it, once it has a reply."""

    type: str
    id: str
    sequence: NotRequired[int]


class CommandPlace(TypedDict):
    """Where a command stands on Kafka."""

    topic: str
    partition: int
    offset: int


class CommandStatus(TypedDict):
    """What is known of a command: `pending`, or its reply."""

    command_id: str
    status: Literal["pending", "accepted", "rejected", "failed"]
    aggregate: CommandTarget
    events: NotRequired[list[str]]
    position: NotRequired[str]
    error: NotRequired[Error | None]
    command: NotRequired[str]
    sent: NotRequired[CommandPlace]


def is_another(command: CheckedCommand, sent: SentCommand | None, reply: Reply | None) -> bool:
    """Whether the id of a command is known for another one: of another type, to another aggregate, with other data, or
    with another precondition."""
    if sent is not None:
        return sent.fingerprint != command.fingerprint
    aggregate = CommandAggregate(command.type, command.aggregate_id)
    return reply is not None and not is_reply_to(reply, aggregate, command.name)


def used_before(id: str, sent: SentCommand | None, reply: Reply | None) -> HttpProblem:
    """The refusal of a command, which says what its id was used for; with neither that it was used for another."""
    used_for: dict[str, object] = {}
    if sent is None and reply is None:
        what = "another command"
    elif sent is not None:
        used_for = {"command": sent.command, "aggregate": sent.aggregate}
        what = f"{sent.command} of {sent.aggregate.type} {sent.aggregate.id}"
    else:
        assert reply is not None, "one of both is known"
        target = CommandAggregate(reply.aggregate.type, reply.aggregate.id)
        used_for = {"command": reply.command, "aggregate": target} if reply.command else {"aggregate": target}
        what = f"{reply.command or 'a command'} of {target.type} {target.id}"
    detail = f"{id} was used for {what}: use a new id, and the same one only to send the same again"
    problem = HttpProblem(422, ID_USED_BEFORE, detail, command_id=id)
    if used_for:
        problem.members["used_for"] = used_for
    return problem


def answer_of(view: Any, reply: Reply) -> Any:
    """The answer to the sender of a command: the reply, as a problem unless the command was accepted."""
    status = STATUS[reply.status]
    if reply.error is None:
        return json_response(view, reply, status)
    if reply.status == "rejected":
        status = REJECTED.get(reply.error.type, status)
    # `status` is the problem's own member: what became of the command is its `outcome`.
    members = {name: value for name, value in msgspec.to_builtins(reply).items() if name != "status"}
    return problem_response(status, reply.error.type, reply.error.message, outcome=reply.status, **members)


def status_of(known: KnownCommand) -> CommandStatus:
    """What became of a command, for a client that asks."""
    sent, reply = known
    status: CommandStatus
    if reply is not None:
        status = msgspec.to_builtins(reply)
    else:
        assert sent is not None, "one of both is known"
        aggregate = msgspec.to_builtins(sent.aggregate)
        status = {"command_id": sent.command_id, "status": "pending", "aggregate": aggregate}
    if sent is not None:
        status["command"] = sent.command
        status["sent"] = msgspec.to_builtins(sent.place)
    return status
