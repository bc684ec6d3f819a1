"""Avro schemas from files: `<folder>/<Name>.v<version>.avsc`, each one record and complete in itself.

A schema is known by its fingerprint: CRC-64-AVRO (the Rabin fingerprint of the Avro specification) of
its parsing canonical form, written as 16 hex digits in the order of the bytes of the single-object
header, which is little-endian: a header is `c301` followed by these digits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import fastavro
import msgspec
from fastavro.schema import fingerprint, to_parsing_canonical_form

FILE_NAME = re.compile(r"(?P<name>[A-Za-z_]\w*)\.v(?P<version>[1-9]\d*)\.avsc")


class SchemaError(ValueError):
    """A schema, its file or its folder is not as it must be; the message says which and why."""


@dataclass(frozen=True)
class Schema:
    """One version of one record. `version` is 0 for a schema learned from a journal, older than any file."""

    name: str
    namespace: str
    version: int
    fingerprint: str
    json: str
    parsed: dict[str, Any] = field(repr=False, compare=False)

    @property
    def full_name(self) -> str:
        return f"{self.namespace}.{self.name}" if self.namespace else self.name

    @classmethod
    def parse(cls, json: str, version: int = 0) -> Schema:
        """The schema of a record from its JSON text, which is kept in compact form. Raises `SchemaError`."""
        try:
            raw = msgspec.json.decode(json)
            parsed = fastavro.parse_schema(raw)
            canonical = to_parsing_canonical_form(raw)
        except Exception as error:
            raise SchemaError(f"not an Avro schema: {error!r}") from error
        if not isinstance(parsed, dict) or parsed["type"] != "record":
            raise SchemaError("not the schema of a record")
        namespace, _, name = parsed["name"].rpartition(".")
        return cls(
            name=name,
            namespace=namespace,
            version=version,
            fingerprint=fingerprint(canonical, "CRC-64-AVRO"),
            json=msgspec.json.encode(raw).decode(),
            parsed=parsed,
        )


class Schemas:
    """All versions of all records of one folder, ordered by name and version."""

    def __init__(self, schemas: Iterable[Schema]) -> None:
        self._all = sorted(schemas, key=lambda schema: (schema.full_name, schema.version))
        self._newest = {schema.name: schema for schema in self._all}
        seen: dict[str, Schema] = {}
        for schema in self._all:
            twin = seen.setdefault(schema.fingerprint, schema)
            if twin is not schema:
                raise SchemaError(
                    f"{schema.name}.v{schema.version} and v{twin.version} have one fingerprint: docs, defaults "
                    "and logical types are not part of it, so change a name or a type, or no version is needed"
                )

    @classmethod
    def load(cls, *folder: str, package: str = "schemas") -> Schemas:
        """The schemas of a folder of `package`, as in `Schemas.load("shop", "order")`. Raises `SchemaError`."""
        root = files(package).joinpath(*folder)
        if not root.is_dir():
            raise SchemaError(f"no folder {'/'.join((package, *folder))}")
        return cls(_read(path.name, path.read_text("utf-8")) for path in root.iterdir() if path.name.endswith(".avsc"))

    def __iter__(self) -> Iterator[Schema]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def newest(self, name: str) -> Schema:
        """The newest version of a record by its simple name. Raises `SchemaError` when there is none."""
        if name not in self._newest:
            raise SchemaError(f"no schema of {name}: add {name}.v1.avsc")
        return self._newest[name]


def _read(file_name: str, text: str) -> Schema:
    match = FILE_NAME.fullmatch(file_name)
    if match is None:
        raise SchemaError(f"{file_name}: a schema file is named <Name>.v<version>.avsc")
    try:
        schema = Schema.parse(text, int(match["version"]))
    except SchemaError as error:
        raise SchemaError(f"{file_name}: {error}") from error
    if schema.name != match["name"]:
        raise SchemaError(f"{file_name}: the record is named {schema.name}")
    return schema
