"""A codec for domain code that has no schemas yet: its values go through JSON, and have to come back as they were."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from schemas.codec import Codec, Undecodable
from schemas.fit_values import Unfit
from schemas.formats import AVRO
from schemas.registry import SchemaError
from schemas.sealing import Place
from schemas.upcasting import Fields


class ClassCodec(Codec):
    """Encodes the objects of classes by their annotations alone, as `[name, fields]`.

    It refuses what JSON cannot carry. What a schema says besides, as the scale of a decimal, it does not know.
    """

    def __init__(self, classes: Mapping[str, type]) -> None:
        super().__init__((), {})
        self.format = AVRO
        self._known = dict(classes)

    def write(self, value: object, place: Place | None = None) -> tuple[bytes, Any]:
        name = type(value).__name__
        if self._known.get(name) is not type(value):
            raise SchemaError(f"{name} is none of {', '.join(self._known)}")
        try:
            data = msgspec.json.encode((name, value))
            [back] = self.decode(data)
        except Exception as error:  # a value of the wrong type may raise anything
            raise Unfit(f"{name}: {error}") from None
        if back != value:
            raise Unfit(f"{name} would come back as {back!r}: is each field annotated as what it holds?")
        return data, back

    def decode(self, data: bytes, place: Place | None = None, closed: bool = False) -> tuple[Any, ...]:
        name, fields = self.plain(data)
        try:
            # Not strict: in a mapping of whole numbers the keys are texts in JSON.
            return (msgspec.convert(fields, self._known[name], str_keys=True),)
        except (KeyError, msgspec.ValidationError) as error:
            raise Undecodable(f"not a {name}: {error}") from None

    def plain(self, data: bytes) -> tuple[str, Fields]:
        """The name and the fields of an object, ready for JSON."""
        name, fields = msgspec.json.decode(data)
        return name, fields
