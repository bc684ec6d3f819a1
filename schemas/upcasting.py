"""Upcasters: they turn a version of a record into a newer one where Avro's resolution does not suffice.

An upcaster is a pure function from the fields of one version to events, each in a version that it names. So it stays
right when newer versions follow: its results go on by Avro's rules or by other upcasters. It sees one event at a time
and has no state, since an event may be read alone from the middle of a stream: after a snapshot, at the beginning of a
batch, or by a projection that is built anew.

Upcasters are in `<schema root>/upcasters.py`, beside the folders of the schemas, as `UPCASTERS`, by aggregate type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

Fields = dict[str, Any]
"""The fields of a record by name: `Decimal`, aware `datetime` and `bytes` as they are, records as such a dict."""


class Upcasted(NamedTuple):
    """Fields of version `version` of the record `name`, in the namespace of the upcasted record."""

    name: str
    version: int
    fields: Fields


@dataclass(frozen=True, slots=True)
class Upcaster:
    """Turns version `version` of the record `name` into one event, several in their order, or none."""

    name: str
    version: int
    upcast: Callable[[Fields], Iterable[Upcasted]]


Upcasters = Mapping[str, Iterable[Upcaster]]
"""By aggregate type."""


def dropped(fields: Fields) -> Iterable[Upcasted]:
    """No events: the upcaster of an event that no code needs any more."""
    return ()
