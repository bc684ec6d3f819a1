"""What a version of a record becomes where Avro's own resolution cannot say it: upcasters.

An upcaster is a pure function from the fields of one version to the events that they mean, each in a version that it
names, so that it stays right when newer ones follow: those go on by Avro's rules or by upcasters of their own. It sees
one event at a time and has no state. What it reads may be read alone, from the middle of a stream: after a snapshot, at
the beginning of a batch, by a projection that is made anew.

They stand in `<schema root>/upcasters.py`, beside the folders of the schemas, as `UPCASTERS`, by aggregate type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

Fields = dict[str, Any]
"""The fields of a record by name: `Decimal`, aware `datetime` and `bytes` as they are, records as such a dict."""


class Upcasted(NamedTuple):
    """Fields of version `version` of the record `name`, which is in the namespace of what was upcasted."""

    name: str
    version: int
    fields: Fields


@dataclass(frozen=True, slots=True)
class Upcaster:
    """What version `version` of the record `name` becomes: one event, several in their order, or none."""

    name: str
    version: int
    upcast: Callable[[Fields], Iterable[Upcasted]]


Upcasters = Mapping[str, Iterable[Upcaster]]
"""By aggregate type."""


def dropped(fields: Fields) -> Iterable[Upcasted]:
    """Nothing: for an event that no code needs any more."""
    return ()
