"""Writes objects of one class as bytes, and returns the values that will be read from them."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from schemas.fit import fitted
from schemas.fit_values import Unfit
from schemas.formats import Format
from schemas.plain import is_plain
from schemas.registry import Schema
from schemas.sealing import KeysNeeded, PersonalFields, Place, Sealer, SubjectIsErased

AVRO_NATIVE = (Decimal, datetime, bytes)


class Writer:
    """Writes objects of `class_` with a schema, in a format.

    exact   whether `write` returns exactly the value that will be read; else the bytes must be decoded for it
    """

    def __init__(self, schema: Schema, format: Format, class_: type | None) -> None:
        self._name = schema.name
        self._class = class_
        self._fit, self.exact = fitted(schema)
        self._write = format.writer(schema)
        self._personal = PersonalFields(schema)
        # An object of a plain class is read as it was written, unless a field changes: by the schema, or because its
        # value is written as another type, as a UUID is in a field of text.
        self._plain = self.exact and class_ is not None and is_plain(schema, class_, self._personal.names)
        self._names = tuple(field["name"] for field in schema.parsed["fields"])
        self._others = tuple(name for name in self._names if name not in self._personal.names)

    def write(self, value: object, place: Place | None = None, sealer: Sealer | None = None) -> tuple[bytes, Any]:
        """The bytes of an object, and the object as it is read from them; its personal fields are sealed for its place.

        Raises `Unfit`, and where it has personal fields `KeysNeeded`, `SubjectIsErased`.
        """
        try:
            if self._personal:
                return self._write_sealed(value, place, sealer)
            fields = self._fit(msgspec.to_builtins(value, builtin_types=AVRO_NATIVE))
            data = self._write(fields)
            if self._plain and type(value) is self._class:
                for name in self._names:
                    if fields[name] is not getattr(value, name):
                        break
                else:
                    return data, value
            return data, msgspec.convert(fields, type=self._class or type(value))
        except Unfit as why:
            raise why.under(self._name) from None
        except (KeysNeeded, SubjectIsErased):
            raise
        except Exception as error:  # a value of the wrong type may raise anything
            raise Unfit(f"{self._name}: {error}") from None

    def _write_sealed(self, value: object, place: Place | None, sealer: Sealer | None) -> tuple[bytes, Any]:
        fields = {name: getattr(value, name) for name in self._names}
        sealed, kept = self._personal.sealed(fields, place, sealer)
        if not (self._plain and type(value) is self._class):
            others = {name: fields[name] for name in self._others}
            fields.update(msgspec.to_builtins(others, builtin_types=AVRO_NATIVE))
        fields.update(sealed)
        fields = self._fit(fields)
        data = self._write(fields)
        fields.update(kept)
        return data, msgspec.convert(fields, type=self._class or type(value))
