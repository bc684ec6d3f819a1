"""Commands over HTTP as the document has them: for a view that takes those of one type, and for what became of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Any

import msgspec

from projections.gateway.command_answers import CommandStatus
from projections.http.paths import collection
from streams.access.principal import Role
from streams.deciding.messages import Reply
from streams.web.operation import Response, V, describe


def takes_commands(type: str, commands: Mapping[str, type]) -> Callable[[V], V]:
    """Say of a view that it is `POST /<type>s/{id}/commands`, and takes these, by name. There is at least one."""
    pending = Response(
        "No reply in time: ask at `Location`, or send it again", CommandStatus, headers=("Location", "Retry-After")
    )
    return describe(
        collection(type),
        f"Send a command to one {type}",
        Response("Accepted: what it has caused is durable", Reply),
        body=_body(commands),
        headers=("Idempotency-Key", "If-Match", "If-None-Match", "Prefer", "X-Correlation-ID"),
        others={202: pending},
        path={"id": f"The id of the {type}, in percent-encoded UTF-8"},
        problems=(403, 409, 412, 429, 503),
        role=Role.COMMANDER,
        of=(type,),
    )


def tells_of_commands(types: Sequence[str]) -> Callable[[V], V]:
    """Say of a view that it is `GET /commands/{id}`, and tells of commands of these types."""
    return describe(
        "commands",
        "What became of a command",
        CommandStatus,
        headers=("Prefer",),
        path={"id": "The command id: the `Idempotency-Key` that it was sent with"},
        problems=(400, 404, 429, 503),
        role=Role.COMMANDER,
        of=types,
    )


def _body(commands: Mapping[str, type]) -> Any:
    """One of the commands, told by `type`."""
    return reduce(or_, (_command(name, class_) for name, class_ in sorted(commands.items())))


def _command(name: str, class_: type) -> Any:
    # What has a default need not be said, and `data` need not where all has.
    needed = msgspec.json.schema_components([class_])[1][class_.__name__]["required"]
    field: Any = ("data", class_) if needed else ("data", class_, msgspec.field(default_factory=class_))
    return msgspec.defstruct(
        f"{name}Command", [field], tag_field="type", tag=name, forbid_unknown_fields=True,
        namespace={"__doc__": f"The command {name}."},
    )  # fmt: skip
