"""Encodes objects of the domain as bytes, and decodes bytes of every version as objects of the newest classes.

An object is written with the newest version of its record, in the format of its aggregate type. Bytes are read with the
version that wrote them, and brought to the newest version by Avro's resolution, and by upcasters where resolution does
not suffice. So one stored record may be several objects today, or none. All other code sees the newest versions only.

Written bytes can always be read: `write` returns the value as a reader will have it, and refuses a value that no reader
could have. Decimals come back with exactly the scale of their schema, `Decimal("2.55")` as the equal
`Decimal("2.5500")`: zeros beyond the scale are dropped, other digits refused instead of being rounded. Times must be
aware; they come back in UTC, cut to the millisecond. Whole numbers are within the range of their schema, and floats
are finite.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from schemas.fit import fitted
from schemas.formats import AVRO, FORMATS, Format
from schemas.registry import BACKWARD, Schema, SchemaError
from schemas.sealing import KeysNeeded, PersonalFields, Place, Sealer, marks_of, shown
from schemas.upcasting import Fields, Upcasted, Upcaster
from schemas.writer import Writer

MOST_STEPS = 100
"""The most upcasters that an event may pass through."""


class Undecodable(ValueError):
    """The bytes are not an encoded object, or not one of a known class."""


class UnknownSchema(Undecodable):
    """Written with a schema that this codec has not learned."""

    def __init__(self, fingerprint: str) -> None:
        super().__init__(f"unknown schema {fingerprint}")
        self.fingerprint = fingerprint


@dataclass(frozen=True, slots=True)
class _Reader:
    """How the bytes of the schema `written` are read: as `target`, the next version with an upcaster, or the newest.

    onwards    turns fields of the written version into those of the target; None where they are the same
    too_new    written by a newer version that this code must not read
    by_format  the functions that read the bytes, made at their first use
    personal   the personal fields of the target, None where it has none
    """

    written: Schema
    target: Schema
    upcast: Callable[[Fields], Iterable[Upcasted]] | None
    class_: type | None
    too_new: bool = False
    onwards: Callable[[Fields], Fields] | None = None
    by_format: dict[Format, Callable[[bytes], Fields]] = field(default_factory=dict)
    personal: PersonalFields | None = None


class Codec:
    """Encodes and decodes the objects of `classes`, named like their records, with `schemas`, in `format`.

    Learns more schemas by `add`. Raises `SchemaError` when a class has no schema. Safe to share
    between threads, but for `add`.

    Personal fields are sealed and opened with the keys of `sealer`; without one they are read as they are, and cannot
    be written. What is sealed is bound to its place: who writes or reads records with such fields has to say it.
    """

    def __init__(
        self,
        schemas: Iterable[Schema],
        classes: Mapping[str, type],
        upcasters: Iterable[Upcaster] = (),
        format: Format = AVRO,
        sealer: Sealer | None = None,
    ) -> None:
        self.format = format
        self.sealer = sealer
        self._classes = dict(classes)
        self._upcasters = {(upcaster.name, upcaster.version): upcaster.upcast for upcaster in upcasters}
        self._own = sorted(schemas, key=lambda schema: schema.version)
        self._learned: list[Schema] = []
        newest = {schema.name: schema for schema in self._own}
        for name in self._classes.keys() - newest.keys():
            raise SchemaError(f"no schema of {name}: add {name}.v1.avsc")
        self._writers = {name: Writer(schema, format, self._classes.get(name)) for name, schema in newest.items()}
        self._build()

    @property
    def schemas(self) -> dict[str, str]:
        """Every schema known, as JSON by fingerprint."""
        return {schema.fingerprint: schema.json for schema in self._own + self._learned}

    def add(self, fingerprint: str, json: str) -> None:
        """Learn the schema of older or newer bytes, as a journal keeps it. Raises `SchemaError`, also when
        the fingerprint is another's."""
        schema = Schema.parse(json)
        if schema.fingerprint != fingerprint:
            raise SchemaError(f"{schema.full_name} has the fingerprint {schema.fingerprint}, not {fingerprint}")
        if bytes.fromhex(fingerprint) not in self._readers:
            self._learned.append(schema)
            self._build()

    @property
    def personal_subjects(self) -> frozenset[str]:
        """The subjects of the personal fields of all records that it knows."""
        return frozenset(subject for schema in self._own + self._learned for subject in marks_of(schema).values())

    def encode(self, value: object, place: Place | None = None) -> bytes:
        """The bytes of `value`, as `write` makes them."""
        return self.write(value, place)[0]

    def write(self, value: object, place: Place | None = None) -> tuple[bytes, Any]:
        """The bytes of `value`, and the value as it is read from them: equal to what `decode` gives, and of its form.

        Raises `SchemaError` for a class that has no schema, and `Unfit`, a `ValueError`, for a value that does not fit
        its own, or that its own class could not hold. Of one with personal fields also `KeysNeeded` and
        `SubjectIsErased`.
        """
        name = type(value).__name__
        writer = self._writers.get(name)
        if writer is None:
            raise SchemaError(f"no schema of {name}")
        data, as_read = writer.write(value, place, self.sealer)
        return data, as_read if writer.exact else self.decode_one(data, place)

    def decode(self, data: bytes, place: Place | None = None, closed: bool = False) -> tuple[Any, ...]:
        """The objects that `data` stands for today, in the newest version of their classes, mostly one. What is sealed
        stays so where they are to be `closed`.

        Raises `Undecodable`, and `KeysNeeded` where it has personal fields.
        """
        reader, sealer = self._reader(data), None if closed else self.sealer
        fields = self._fields(reader, data)
        if reader.upcast is None:
            return (self._object(reader, fields, place, sealer),)
        return tuple(self._object(last, newest, place, sealer) for last, newest in self._newest(reader, fields))

    def decode_one(self, data: bytes, place: Place | None = None) -> Any:
        """The one object that `data` stands for. Raises `Undecodable`, also when there are several or none."""
        objects = self.decode(data, place)
        if len(objects) != 1:
            raise Undecodable(f"{self.schema_of(data).full_name} stands for {len(objects)} objects now")
        return objects[0]

    def decode_as_written(self, data: bytes, place: Place | None = None) -> tuple[Schema, Fields]:
        """The schema that `data` was written with, and its fields of that version, ready for JSON: decimals as strings,
        times as ISO 8601 with `Z`; what is sealed stays so: see `sealing.plain`. Raises `Undecodable`."""
        schema = self._reader(data).written
        as_written = _Reader(schema, schema, None, None, personal=_personal(schema))
        return schema, _ready(as_written, self._fields(as_written, data), place)

    def decode_to_builtins(self, data: bytes, place: Place | None = None) -> list[tuple[Schema, Fields]]:
        """The newest fields that `data` stands for, each with its schema and ready for JSON, without any class; what is
        sealed stays so.

        Raises `Undecodable`.
        """
        reader = self._reader(data)
        newest = self._newest(reader, self._fields(reader, data))
        return [(last.target, _ready(last, fields, place)) for last, fields in newest]

    def schema_of(self, data: bytes) -> Schema:
        """The schema that `data` was written with. Raises `UnknownSchema`, or `Undecodable` without a header."""
        return self._reader(data).written

    def target_of(self, schema: Schema) -> Schema:
        """The version as which bytes of `schema` are read, before any upcaster."""
        return self._readers[bytes.fromhex(schema.fingerprint)].target

    def has_upcaster(self, schema: Schema) -> bool:
        """Whether an upcaster turns this version into newer events."""
        return (schema.name, schema.version) in self._upcasters

    @property
    def own(self) -> Sequence[Schema]:
        """The schemas that it was made with, without those that it has learned."""
        return self._own

    # -- reading -----------------------------------------------------------------------------------

    def _object(self, reader: _Reader, fields: Fields, place: Place | None, sealer: Sealer | None) -> Any:
        if reader.class_ is None:
            raise Undecodable(f"no class for {reader.target.full_name}")
        try:
            if reader.personal is not None:
                reader.personal.open(fields, place, sealer)
            return msgspec.convert(fields, type=reader.class_)
        except KeysNeeded:
            raise
        except Exception as error:
            raise Undecodable(f"not a {reader.target.full_name}: {error!r}") from error

    def _reader(self, data: bytes) -> _Reader:
        fingerprint = fingerprint_of(data)
        reader = self._readers.get(fingerprint)
        if reader is None:
            raise UnknownSchema(fingerprint.hex())
        return reader

    def _fields(self, reader: _Reader, data: bytes) -> Fields:
        if reader.too_new:
            raise Undecodable(
                f"{reader.written.full_name} has version {reader.written.version}, which code that knows only "
                f"version {reader.target.version} must not read"
            )
        format = FORMATS[data[0]]
        try:
            read = reader.by_format.get(format)
            if read is None:
                read = reader.by_format[format] = format.reader(reader.written, reader.target)
            return read(data)
        except Exception as error:
            raise Undecodable(f"not a {reader.written.full_name}: {error!r}") from error

    def _newest(self, reader: _Reader, fields: Fields, steps: int = 0) -> Iterator[tuple[_Reader, Fields]]:
        """The newest fields that those of `reader.target` become, version by version."""
        if reader.upcast is None:
            yield reader, fields
            return
        target = reader.target
        if steps == MOST_STEPS:
            raise Undecodable(f"the upcaster of {target.name}.v{target.version} leads in a circle")
        try:
            parts = list(reader.upcast(fields))
        except Exception as error:
            raise Undecodable(f"the upcaster of {target.name}.v{target.version} raised {error!r}") from error
        for part in parts:
            following = self._following(target, part)
            newer = part.fields
            if following.onwards is not None:
                try:
                    newer = following.onwards(newer)
                except Exception as error:
                    made = f"the upcaster of {target.name}.v{target.version} makes a {part.name}.v{part.version}"
                    raise Undecodable(f"{made} that does not fit its schema: {error!r}") from error
            yield from self._newest(following, newer, steps + 1)

    def _following(self, target: Schema, part: Upcasted) -> _Reader:
        full_name = f"{target.namespace}.{part.name}" if target.namespace else part.name
        following = self._by_version.get((full_name, part.version))
        if following is None or following.written is target:
            raise Undecodable(
                f"the upcaster of {target.name}.v{target.version} makes a {part.name}.v{part.version}, "
                + ("which is where it began" if following else "which has no schema")
            )
        return following

    # -- what is known ------------------------------------------------------------------------------

    def _build(self) -> None:
        """Decide how each schema is read.

        A learned schema may change that of others: a newer version that older code must not read bars all later ones.
        """
        own: dict[str, list[Schema]] = defaultdict(list)
        for schema in self._own:
            own[schema.full_name].append(schema)
        renamed = {alias: schema.full_name for schema in self._own for alias in schema.aliases}
        barred: dict[str, int] = {}
        for schema in self._learned:
            known = own.get(schema.full_name)
            if known and schema.compatibility == BACKWARD and schema.version > known[-1].version:
                barred[schema.full_name] = min(schema.version, barred.get(schema.full_name, schema.version))
        self._readers: dict[bytes, _Reader] = {}
        self._by_version: dict[tuple[str, int], _Reader] = {}
        for schema in self._learned + self._own:
            target, upcast = self._target(schema, own, renamed)
            too_new = schema.version >= barred.get(schema.full_name, schema.version + 1)
            class_ = self._classes.get(target.name)
            reader = _Reader(
                schema, target, upcast, class_, too_new, _onwards(schema, target), personal=_personal(target)
            )
            self._readers[bytes.fromhex(schema.fingerprint)] = reader
            self._by_version[schema.full_name, schema.version] = reader

    def _target(
        self, schema: Schema, own: Mapping[str, list[Schema]], renamed: Mapping[str, str]
    ) -> tuple[Schema, Callable[[Fields], Iterable[Upcasted]] | None]:
        """The version that Avro's rules lead to, by whatever name: the next one with an upcaster, or the newest."""
        name, at, target = schema.full_name, schema.version, schema
        while True:
            for version in own.get(name, ()):
                upcast = self._upcasters.get((version.name, version.version))
                if upcast is not None and version.version >= at:
                    return version, upcast
                target = version
            if name not in renamed:
                return target, None
            name, at = renamed[name], 0


def fingerprint_of(data: bytes) -> bytes:
    """The 8 bytes that name the schema of encoded data of any format. Raises `Undecodable` when it is in none."""
    format = FORMATS.get(data[0]) if data else None
    if format is None:
        raise Undecodable(f"not in {' or '.join(known.form for known in FORMATS.values())}")
    try:
        return format.fingerprint(data)
    except ValueError as error:
        raise Undecodable(str(error)) from None


def content_type_of(data: bytes) -> str:
    """The content type of encoded data, for a message that carries it."""
    format = FORMATS.get(data[0]) if data else None
    return format.content_type if format is not None else "application/octet-stream"


def _onwards(written: Schema, target: Schema) -> Callable[[Fields], Fields] | None:
    """Avro's resolution of fields from one version to another. It works on bytes: fields are written and read."""
    if written.same_fields(target):
        return None
    fit, write, read = fitted(written).fit, AVRO.writer(written), AVRO.reader(written, target)
    return lambda fields: read(write(fit(fields)))


def _personal(schema: Schema) -> PersonalFields | None:
    return PersonalFields(schema) or None


def _ready(reader: _Reader, fields: Fields, place: Place | None) -> Fields:
    try:
        if reader.personal is not None:
            reader.personal.open(fields, place, None)
        ready: Fields = msgspec.to_builtins(fields, enc_hook=shown)
    except Exception as error:
        raise Undecodable(f"not a {reader.target.full_name}: {error!r}") from error
    return ready
