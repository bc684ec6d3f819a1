"""Events with two personal fields to bytes and back, and the same without marks, in turn."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from aggregates.decider import Decider
from aggregates.personal import Known, Personal
from schemas.codec import Codec
from schemas.registry import Schema
from schemas.sealing import Place
from streams.keys.keys import Keys
from streams.keys.management.file import FileKeys
from streams.keys.memory import MemoryKeyRows
from tests.bench.serialization import ROUNDS, rate


@dataclass(frozen=True, slots=True)
class Moved:
    name: Personal[str]
    address: Personal[str]
    country: str


@dataclass(frozen=True, slots=True)
class Travelled:
    name: str
    address: str
    country: str


NAME, ADDRESS, COUNTRY = "Zuleika Dobson", "zuleika.dobson@judas.example.org", "United Kingdom"
PLACE = Place("17850", 3)


def _schema(name: str, sealed: bool) -> Schema:
    field = {"type": "bytes", "personal": {"subject": "#id"}} if sealed else {"type": "string"}
    fields = [{"name": "name", **field}, {"name": "address", **field}, {"name": "country", "type": "string"}]
    record = {"type": "record", "name": name, "namespace": "bench.person", "fields": fields}
    return Schema.parse(json.dumps(record), 1)


def _moved(state: None, event: Moved | Travelled) -> None:
    return None


person = Decider("person", None, lambda command, state: [], _moved)


async def measure_sealing() -> list[tuple[str, float]]:
    """Events a second: the best of the rounds of each."""
    with tempfile.TemporaryDirectory() as folder:
        keys = Keys(MemoryKeyRows(), FileKeys(Path(folder)), lease=3_600)
        await keys.fetch([PLACE.id], create=True)
        codec = Codec([_schema("Moved", True), _schema("Travelled", False)], person.events, sealer=keys)
        sealed, clear = Moved(Known(NAME), Known(ADDRESS), COUNTRY), Travelled(NAME, ADDRESS, COUNTRY)
        data, plain = codec.encode(sealed, PLACE), codec.encode(clear)
        works = {
            "two sealed fields: encode": lambda: codec.write(sealed, PLACE),
            "two sealed fields: decode": lambda: codec.decode(data, PLACE),
            "two sealed fields: encode and decode": lambda: (codec.write(sealed, PLACE), codec.decode(data, PLACE)),
            "without marks: encode and decode": lambda: (codec.write(clear), codec.decode(plain)),
        }
        best = dict.fromkeys(works, 0.0)
        for _ in range(ROUNDS):
            for name, work in works.items():
                best[name] = max(best[name], rate(work))
    return [(f"{name}: events/s", figure) for name, figure in best.items()]
