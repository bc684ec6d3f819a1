"""Avro schemas from files: `<folder>/<Name>.v<version>.avsc`, each one record and complete in itself.

The folder of an aggregate type has the type's name. It is below a schema root: a folder beside this file, known by
its name, or a folder of any project, known by its path.

The attribute `"compatibility": "BACKWARD"` of a schema says that code which knows only older versions must not read
it; without it such code may. An alias of a record is the name that its events had before.

A schema is known by its fingerprint: CRC-64-AVRO (the Rabin fingerprint of the Avro specification) of
its parsing canonical form, written as 16 hex digits in the order of the bytes of the single-object
header, which is little-endian: a header is `c301` followed by these digits.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import as_file, files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import fastavro
import msgspec
from fastavro.schema import UnknownType, fingerprint, to_parsing_canonical_form

from schemas.upcasting import Upcaster

FULL, BACKWARD = "FULL", "BACKWARD"
UPCASTERS = "upcasters.py"
FILE_NAME = re.compile(r"(?P<name>[A-Za-z_]\w*)\.v(?P<version>[1-9]\d*)\.avsc")


class SchemaError(ValueError):
    """A schema, its file or its folder is not as it must be; the message says which and why."""


@dataclass(frozen=True)
class Schema:
    """One version of one record.

    version        as in its file's name; 0 where nothing says it, which counts as older than any file
    json           its compact text, with the version as an attribute
    compatibility  `FULL`, or `BACKWARD` when code that knows only older versions must not read it
    aliases        the full names that it had before
    """

    name: str
    namespace: str
    version: int
    fingerprint: str
    json: str
    parsed: dict[str, Any] = field(repr=False, compare=False)
    compatibility: str = FULL
    aliases: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        return f"{self.namespace}.{self.name}" if self.namespace else self.name

    def same_fields(self, other: Schema) -> bool:
        """Whether both have fields of the same names and types, whatever the records are called."""
        return self is other or _form(self) == _form(other)

    @classmethod
    def parse(cls, json: str, version: int = 0) -> Schema:
        """The schema of a record from its JSON text; its own attribute says the version unless it is given.

        Raises `SchemaError`.
        """
        try:
            raw = msgspec.json.decode(json)
            if version:
                raw = {**raw, "version": version}
            parsed = fastavro.parse_schema(raw)
            canonical = to_parsing_canonical_form(raw)
        except UnknownType as error:
            raise SchemaError(f"not an Avro schema: there is no type {error.name}") from error
        except Exception as error:
            raise SchemaError(f"not an Avro schema: {error!r}") from error
        if not isinstance(parsed, dict) or parsed["type"] != "record":
            raise SchemaError("not the schema of a record")
        namespace, _, name = parsed["name"].rpartition(".")
        compatibility, said = raw.get("compatibility", FULL), raw.get("version", 0)
        if compatibility not in (FULL, BACKWARD):
            raise SchemaError(f'"compatibility": {compatibility!r}: use {BACKWARD}, or leave it out')
        return cls(
            name=name,
            namespace=namespace,
            version=said if isinstance(said, int) and said > 0 else 0,
            fingerprint=fingerprint(canonical, "CRC-64-AVRO"),
            json=msgspec.json.encode(raw).decode(),
            parsed=parsed,
            compatibility=compatibility,
            aliases=tuple(_full_name(alias, namespace) for alias in raw.get("aliases", ())),
        )


class Schemas:
    """All versions of all records of one folder, ordered by name and version, and their upcasters."""

    def __init__(self, schemas: Iterable[Schema], upcasters: Iterable[Upcaster] = (), folder: str = "") -> None:
        self.upcasters = tuple(upcasters)
        self.folder = folder
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
    def load(cls, schema_root: str | Path, type: str) -> Schemas:
        """The schemas of an aggregate type with their upcasters, as in `Schemas.load("shop", "order")`.

        Raises `SchemaError`.
        """
        if (drafted := DRAFTED.get((schema_root, type))) is not None:
            return drafted
        root = root_folder(schema_root)
        folder = root.joinpath(type)
        if isinstance(schema_root, Path):
            name, elsewhere = str(from_here(schema_root / type)), ""
        else:
            name = f"schemas/{schema_root}/{type}"
            elsewhere = "; for one elsewhere say which, as in schema_root=Path(..)"
        if not folder.is_dir():
            raise SchemaError(
                f"no folder {name}: it is for the schemas of {type}, one file <Name>.v1.avsc for each{elsewhere}"
            )
        schemas = [
            _read(f"{name}/{path.name}", path.read_text("utf-8"))
            for path in folder.iterdir()
            if path.name.endswith(".avsc")
        ]
        upcasters = root.joinpath(UPCASTERS)
        return cls(schemas, _upcasters(upcasters, type) if upcasters.is_file() else (), name)

    def __iter__(self) -> Iterator[Schema]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def newest(self, name: str) -> Schema:
        """The newest version of a record by its simple name. Raises `SchemaError` when there is none."""
        self.require([name])
        return self._newest[name]

    def require(self, names: Iterable[str]) -> None:
        """Raise `SchemaError` when a record has no schema here, and name all files to add."""
        missing = [name for name in names if name not in self._newest]
        if missing:
            folder = f"{self.folder}/" if self.folder else ""
            to_add = ", ".join(f"{folder}{name}.v1.avsc" for name in missing)
            raise SchemaError(f"no schema of {', '.join(missing)}: add {to_add}")


DRAFTED: dict[tuple[str | Path, str], Schemas] = {}
"""By schema root and type what stands in for files, which `schemas.drafting` has yet to write."""


def root_folder(schema_root: str | Path) -> Traversable:
    """The folder of a schema root: one of this package by its name, or any by its path."""
    return schema_root if isinstance(schema_root, Path) else files("schemas").joinpath(schema_root)


def from_here(path: Path) -> Path:
    """A path as people look for it: from where they are, if it is below."""
    path, here = path.absolute(), Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _read(file_name: str, text: str) -> Schema:
    match = FILE_NAME.fullmatch(file_name.rpartition("/")[2])
    if match is None:
        raise SchemaError(f"{file_name}: a schema file is named <Name>.v<version>.avsc")
    try:
        schema = Schema.parse(text, int(match["version"]))
    except SchemaError as error:
        raise SchemaError(f"{file_name}: {error}") from error
    if schema.name != match["name"]:
        raise SchemaError(f"{file_name}: the record is named {schema.name}")
    return schema


def _upcasters(file: Traversable, type: str) -> Iterable[Upcaster]:
    """Of one aggregate type. By path: the folder may be outside of every package."""
    with as_file(file) as path:
        file_state = path.stat()
        by_type = _run(path, (file_state.st_mtime_ns, file_state.st_size))
        if not isinstance(by_type, Mapping):
            raise SchemaError(f"{path}: it has to say `UPCASTERS = {{..}}`, by aggregate type a sequence of upcasters")
        upcasters: Iterable[Upcaster] = by_type.get(type, ())
        return upcasters


@lru_cache(maxsize=64)
def _run(path: Path, state: tuple[int, int]) -> object:
    """The `UPCASTERS` of a file, which is run once for all types, and again when it has changed."""
    spec = importlib.util.spec_from_file_location("upcasters", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise SchemaError(f"{path}: {error!r}") from error
    return getattr(module, "UPCASTERS", None)


@lru_cache(maxsize=4096)
def _form(schema: Schema) -> Any:
    return msgspec.json.decode(to_parsing_canonical_form(msgspec.json.decode(schema.json)))["fields"]


def _full_name(name: str, namespace: str) -> str:
    return name if "." in name or not namespace else f"{namespace}.{name}"
