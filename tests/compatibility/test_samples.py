"""Every version of every event that was ever released is read today: the bytes of then, and what they are now."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from aggregates.decider import Decider
from aggregates.shop.checkout import checkout
from aggregates.shop.email import email
from aggregates.shop.order import order
from aggregates.shop.product import product
from aggregates.shop.user import user
from aggregates.subject import subject
from aggregates.timer import timer
from schemas.codec import Codec
from schemas.formats import FORMATS
from schemas.registry import Schema, Schemas
from schemas.release import samples
from schemas.sealing import shown

FOLDER = Path(__file__).parent
DECIDERS: dict[str, Decider[Any, Any, Any]] = {
    decider.type: decider
    for decider in (order, product, user, checkout.decider, email.decider, timer.decider, subject.decider)
}
FOLDERS = {"timer": "engine", "subject": "engine"}
COMMAND = "faust -A projections.shop.app schemas sample"


def schemas_of(type: str) -> Schemas:
    """All of a type: the shop's, but for those of the engine's own."""
    return Schemas.load(FOLDERS.get(type, "shop"), type)


def events_of(type: str) -> list[Schema]:
    """All versions of the events of a type."""
    return [schema for schema in schemas_of(type) if schema.name not in DECIDERS[type].commands]


CODECS = {type: Codec(events_of(type), it.events, schemas_of(type).upcasters) for type, it in DECIDERS.items()}
RELEASED = [(type, schema) for type in DECIDERS for schema in events_of(type)]


@pytest.mark.parametrize(
    ("of", "schema"), RELEASED, ids=lambda it: f"{it.name}.v{it.version}" if isinstance(it, Schema) else it
)
def test_sample(of: str, schema: Schema) -> None:
    """There is a sample, of this very schema, and its bytes are read as it says, in each format and by the classes."""
    path = samples.sample_path(FOLDER, FOLDERS.get(of, "shop"), of, schema)
    assert path.is_file(), (
        f"no sample of {schema.full_name}.v{schema.version}: run `{COMMAND}` with the code that writes this version"
    )
    sample, codec = samples.read_sample(path), CODECS[of]
    assert (f"{schema.full_name}:{schema.version}", schema.fingerprint) == (sample.schema, sample.fingerprint)
    assert {format.name for format in FORMATS.values()} == sample.encoded.keys()
    for data in sample.encoded.values():
        assert (schema, sample.written) == codec.decode_as_written(data)
        assert sample.reads_as == samples.reads_as(codec, data), f"is that meant? `{COMMAND} --update` says so"
        today = [samples.SamplePart(type(it).__name__, as_json(it)) for it in codec.decode(data)]
        assert sample.reads_as == today


def as_json(value: object) -> Any:
    """An object's fields as a sample has them."""
    return msgspec.json.decode(msgspec.json.encode(value, enc_hook=shown))


def test_nothing_else_is_a_sample() -> None:
    """A sample whose schema is gone would be tested by nobody."""
    known = {samples.sample_path(FOLDER, FOLDERS.get(type, "shop"), type, schema) for type, schema in RELEASED}
    assert set() == set(FOLDER.glob("*/*/*.json")) - known
