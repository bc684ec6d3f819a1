"""What a test puts together: aggregate types with the engine's own handlers, and projections. It keeps no state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aggregates.decider import Decider
from aggregates.process_manager import ProcessManager
from aggregates.timer import timer
from projections.projection import Projection
from projections.stores.declaration import Table
from schemas.codec import Codec
from schemas.registry import Schemas
from schemas.upcasting import Fields
from sourced.testing.class_codec import ClassCodec
from streams.aggregate_type import AggregateType
from streams.deciding.command_handler import CommandHandler
from streams.limits import Limits

Kind = Decider[Any, Any, Any] | ProcessManager[Any, Any, Any]
ENGINE = "engine"
"""The schemas of timers."""
WINDOW = 1_000
"""The command ids that an aggregate remembers, as workers are set without more."""


class Served:
    """One aggregate type: its domain code, its codec, and the handler that decides its commands."""

    def __init__(self, kind: Kind, codec: Codec, commands: Codec) -> None:
        self.process = kind if isinstance(kind, ProcessManager) else None
        self.decider: Decider[Any, Any, Any] = kind.decider if isinstance(kind, ProcessManager) else kind
        self.type = self.decider.type
        self.codec = codec
        self.handler = CommandHandler(
            decider=self.decider, events=codec, commands=commands, window=WINDOW, limits=Limits()
        )

    def fields(self, data: bytes) -> list[tuple[str, Fields]]:
        """What a recorded event stands for today: names and fields, as other types hear them."""
        if isinstance(self.codec, ClassCodec):
            return [self.codec.plain(data)]
        return [(schema.name, fields) for schema, fields in self.codec.decode_to_builtins(data)]


class Wiring:
    """The types of a system by name, who hears whom, and its projections by the type that they follow.

    `schemas` is the folder of the schemas, as for `command_app`; None: events go through JSON by their classes alone.
    An `AggregateType` brings its own. Timers are always there. Raises `SchemaError`, and `ValueError` for two kinds of
    one type.
    """

    def __init__(
        self,
        kinds: Iterable[Kind | AggregateType],
        projections: Iterable[Projection | Table] = (),
        schemas: str | Path | None = None,
    ) -> None:
        self.types: dict[str, Served] = {}
        for kind in kinds:
            self._add(_served(kind, schemas))
        if timer.type not in self.types:
            self._add(_served(timer, ENGINE))
        self.projections: Mapping[str, Projection] = {
            one.name: one.projection if isinstance(one, Table) else one for one in projections
        }
        self.hearers: dict[str, list[str]] = {type: [] for type in self.types}
        for served in self.types.values():
            for source in served.process.hears if served.process is not None else ():
                self.hearers.setdefault(source, []).append(served.type)

    def _add(self, served: Served) -> None:
        if served.type in self.types:
            raise ValueError(f"two kinds are called {served.type}")
        self.types[served.type] = served

    def of(self, kind: Kind | str) -> Served:
        """One of its types. Raises `KeyError` in words for a type that it does not have."""
        type = kind if isinstance(kind, str) else kind.type
        if type not in self.types:
            raise KeyError(f"there is no {type} here: there are {', '.join(self.types)}")
        return self.types[type]


def _served(kind: Kind | AggregateType, schemas: str | Path | None) -> Served:
    if isinstance(kind, AggregateType):
        return Served(kind.process or kind.decider, kind.events, kind.commands)
    decider = kind.decider if isinstance(kind, ProcessManager) else kind
    if schemas is None:
        commands = ClassCodec(decider.commands)
        return Served(kind, ClassCodec(decider.events), commands)
    found = Schemas.load(schemas, decider.type)
    found.require([*decider.commands, *decider.events])
    events, commands_of = _split(found, decider.commands)
    return Served(
        kind,
        Codec(events, decider.events, found.upcasters),
        Codec(commands_of, decider.commands, found.upcasters),
    )


def _split(schemas: Schemas, commands: Mapping[str, type]) -> tuple[Sequence[Any], Sequence[Any]]:
    events = [schema for schema in schemas if schema.name not in commands]
    return events, [schema for schema in schemas if schema.name in commands]
