"""Commands over HTTP as the document has them: for a view that takes those of one type, and for what became of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from operator import or_
from typing import Any

import msgspec

from aggregates.decider import Decider
from aggregates.process_manager import ProcessManager
from streams.described import Answer, V, describe
from streams.messages import Reply

IDEMPOTENCY = ("Idempotency-Key", "Prefer", "X-Correlation-ID")


class Pending(msgspec.Struct):
    """A command that has no reply yet."""

    command_id: str
    status: str


def accepted(kind: Decider[Any, Any, Any] | ProcessManager[Any, Any, Any]) -> dict[str, type]:
    """The commands that clients may send, by name: of a process manager those alone that it accepts."""
    if isinstance(kind, ProcessManager):
        return {name: kind.commands[name] for name in kind.accepts}
    return dict(kind.commands)


def takes_commands(type: str, commands: Mapping[str, type], pending: Any = Pending) -> Callable[[V], V]:
    """Say of a view that it is `POST /<type>s/{id}/commands`. There is at least one command."""
    replied = {
        200: Answer("Accepted: what it has caused is durable", Reply),
        202: Answer("No reply within the time: ask at `Location`, or send it again", pending, headers=("Location",)),
    }
    return describe(
        f"{type}s",
        f"Send a command to one {type}",
        body=_body(commands),
        headers=IDEMPOTENCY,
        others=replied,
        path={"id": f"The id of the {type}, in percent-encoded UTF-8"},
        problems=(400, 408, 409, 413, 415, 422, 429, 503),
    )


def tells_of_commands(pending: Any = Pending) -> Callable[[V], V]:
    """Say of a view that it is `GET /commands/{id}`."""
    return describe(
        "commands",
        "What became of a command",
        Answer("Its reply, accepted, rejected or failed", Reply),
        others={202: Answer("It has no reply yet", pending)},
        headers=("Prefer",),
        path={"id": "The command id: the `Idempotency-Key` that it was sent with"},
        problems=(400, 404, 503),
    )


def _body(commands: Mapping[str, type]) -> Any:
    """One of the commands, told by `type`."""
    return reduce(or_, (_command(name, class_) for name, class_ in sorted(commands.items())))


def _command(name: str, class_: type) -> Any:
    # What has a default need not be said, and `data` need not where all has.
    needed = msgspec.json.schema_components([class_])[1][class_.__name__]["required"]
    data = ("data", class_) if needed else ("data", class_, msgspec.field(default_factory=class_))
    return msgspec.defstruct(
        f"{name}Command",
        [data],
        tag_field="type",
        tag=name,
        forbid_unknown_fields=True,
        namespace={"__doc__": f"The command {name}, and its data."},
    )
