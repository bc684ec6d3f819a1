"""What is to be written so that the schemas of an aggregate type are those of its classes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from aggregates.decider import Decider
from schemas.drafting import words
from schemas.drafting.changes import changes, upcaster
from schemas.drafting.merging import Merger, Renamed, bare
from schemas.drafting.text import text_of
from schemas.drafting.types import record_of
from schemas.registry import BACKWARD, Schema, SchemaError, Schemas, root_folder
from schemas.release import lock
from schemas.release.check_form import form
from schemas.release.check_versions import between_versions
from schemas.release.compatibility import unreadable
from schemas.release.contract import Contract, SchemaProblem


@dataclass(frozen=True)
class Draft:
    """A file to be written.

    file      its name below the schema root
    text      all that is to be in it
    meaning   what it is, and what it changes, one line each; the first one names it
    unsaid    what has only its name as its doc, `Record.field`
    upcaster  the draft of an upcaster, where one would help; else empty
    """

    file: str
    text: str
    schema: Schema
    meaning: tuple[str, ...]
    unsaid: tuple[str, ...] = ()
    upcaster: str = ""


@dataclass(frozen=True)
class Plan:
    """The drafts of one aggregate type, all of its schemas with them, and what `schemas check` would say of those.

    `unused` are the files of records without a class of which nothing is released, by their names below the root."""

    decider: Decider[Any, Any, Any]
    root: Path
    drafts: tuple[Draft, ...]
    schemas: Schemas
    superfluous: tuple[SchemaProblem, ...] = ()
    unused: tuple[str, ...] = ()
    is_cleared: bool = False

    @cached_property
    def problems(self) -> list[SchemaProblem]:
        """What is wrong with the schemas, drafts included, and what to do."""
        contract = Contract(self.decider, self.schemas)
        found = [*self.superfluous, *form([contract])]
        return found or list(between_versions(contract))

    def cleared(self) -> Plan:
        """The plan without the schemas that are unused, whose files `write` removes then."""
        kept = [it for it in self.schemas if lock.lock_key(self.decider.type, it) not in self.unused]
        return replace(self, schemas=Schemas(kept, self.schemas.upcasters, self.schemas.folder), is_cleared=True)

    def write(self) -> None:
        """Write the files. Raises `OSError`."""
        for file in self.unused if self.is_cleared else ():
            (self.root / file).unlink(missing_ok=True)
        for draft in self.drafts:
            path = self.root / draft.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(draft.text, "utf-8")


def plan(decider: Decider[Any, Any, Any], schema_root: str | Path, renamed: Renamed | None = None) -> Plan:
    """What is to be written for an aggregate type below a schema root, whose folder need not be there.

    A version that is locked stays as it is: what its class says now is the next one. One that is not locked is written
    anew. Raises `SchemaError`.
    """
    root = Path(str(root_folder(schema_root)))
    there = (root / decider.type).is_dir()
    existing = Schemas.load(schema_root, decider.type) if there else Schemas([], folder=f"{root / decider.type}")
    try:
        released = lock.read_lock(root / lock.FILE)
    except msgspec.DecodeError as error:
        raise SchemaError(
            f"{root / lock.FILE} is damaged ({error}): take it from the history of your repository"
        ) from None
    planner = _Planner(
        decider, existing, released, renamed or {}, _namespace(decider.type, existing, root, schema_root)
    )
    drafts = tuple(planner.drafts())
    replaced = {draft.file for draft in drafts}
    kept = [schema for schema in existing if lock.lock_key(decider.type, schema) not in replaced]
    schemas = Schemas([*kept, *(draft.schema for draft in drafts)], existing.upcasters, existing.folder)
    return Plan(decider, root, drafts, schemas, tuple(planner.superfluous), tuple(planner.unused()))


class _Planner:
    def __init__(
        self,
        decider: Decider[Any, Any, Any],
        existing: Schemas,
        released: lock.Lock,
        renamed: Renamed,
        namespace: str,
    ) -> None:
        self._decider = decider
        self._released = released
        self._renamed = renamed
        self._namespace = namespace
        self._upcasted = {(it.name, it.version) for it in existing.upcasters}
        self._versions: dict[str, list[Schema]] = {}
        for schema in existing:
            self._versions.setdefault(schema.name, []).append(schema)
        self._named = {named["name"]: named for named in self._nested()}
        self.superfluous: list[SchemaProblem] = []

    def drafts(self) -> Iterator[Draft]:
        for name, class_ in (self._decider.commands | self._decider.events).items():
            if (draft := self._draft(name, class_)) is not None:
                yield draft

    def unused(self) -> Iterator[str]:
        """The files of records that have no class, have become no other, and of which no version is released."""
        classes = self._decider.commands | self._decider.events
        versions = [schema for versions in self._versions.values() for schema in versions]
        former = {alias.rpartition(".")[2] for schema in versions for alias in schema.aliases}
        former |= {*self._renamed.get("", {}).values(), *(name for name, _ in self._upcasted)}
        for name, versions in self._versions.items():
            if name not in classes and name not in former and not any(map(self._is_locked, versions)):
                yield from (self._key(name, schema.version) for schema in versions)

    def _draft(self, name: str, class_: type) -> Draft | None:
        versions = self._versions.get(name, [])
        newest = versions[-1] if versions else None
        base = newest or self._former(name)
        merger = Merger(self._named, self._renamed)
        made = record_of(class_, self._namespace)
        if not made["doc"] and base is None and name in self._decider.commands:
            said = words.from_words(name)
            made["doc"] = f"Command: {said[:1].lower()}{said[1:]}"
            merger.unsaid.append(name)
        merged = merger.record(made, None if base is None else _raw(base))
        if newest is None and base is not None:
            merged = _with_alias(merged, base)
        if newest is None:
            return self._file(merged, 1, [], merger.unsaid, "new")
        if self._is_locked(newest):
            if bare(merged) == bare(_raw(newest)):
                return None
            return self._file(merged, newest.version + 1, versions, merger.unsaid, "next version")
        if len(versions) > 1 and bare(merged) == bare(_raw(versions[-2])):
            what = f"the class is as version {versions[-2].version} says it, and nobody has released this one"
            self.superfluous.append(SchemaProblem(self._key(name, newest.version), what, "delete this file"))
            return None
        again = self._file(merged, newest.version, versions[:-1], merger.unsaid, "written anew, it is not released")
        return None if _raw(again.schema) == _raw(newest) else again

    def _file(self, merged: dict[str, Any], version: int, older: list[Schema], unsaid: list[str], what: str) -> Draft:
        name = merged["name"]
        merged = _compatible(merged, version, older)
        schema = Schema.parse(msgspec.json.encode(merged).decode(), version)
        meaning, draft = [f"{self._key(name, version)}: {what}"], ""
        if older:
            meaning += changes(_raw(older[-1]), merged, f"v{older[-1].version}")
            if unreadable(schema, older[-1]) and (name, older[-1].version) not in self._upcasted:
                draft = upcaster(self._decider.type, older[-1], merged, version)
        elif merged.get("aliases"):
            meaning.append(f"{name} was {merged['aliases'][-1]}: read by its alias, and older workers stop at it")
        elif twins := self._twins(schema):
            meaning.append(
                f"it has the fields of {twins[0]}, which has no class: --renamed {twins[0]}={name} if it is that"
            )
        return Draft(self._key(name, version), text_of(merged), schema, tuple(meaning), tuple(unsaid), draft)

    def _former(self, name: str) -> Schema | None:
        """The newest version of the record that is said to have been renamed to this."""
        former = self._renamed.get("", {}).get(name)
        if former is None:
            return None
        if former not in self._versions:
            raise SchemaError(f"--renamed {former}={name}: there is no schema of {former}")
        return self._versions[former][-1]

    def _twins(self, schema: Schema) -> list[str]:
        """Records with the same fields whose class is gone."""
        classes = self._decider.commands | self._decider.events
        gone = [versions[-1] for name, versions in self._versions.items() if name not in classes]
        return [it.name for it in gone if it.same_fields(schema) and schema.parsed["fields"]]

    def _nested(self) -> Iterator[dict[str, Any]]:
        """The named types within the newest versions, as their files define them."""
        for versions in self._versions.values():
            yield from _named_in(_raw(versions[-1])["fields"])

    def _is_locked(self, schema: Schema) -> bool:
        return self._key(schema.name, schema.version) in self._released.versions

    def _key(self, name: str, version: int) -> str:
        return f"{self._decider.type}/{name}.v{version}.avsc"


def _raw(schema: Schema) -> dict[str, Any]:
    """The schema as its file has it."""
    raw: dict[str, Any] = msgspec.json.decode(schema.json)
    return {key: value for key, value in raw.items() if key != "version"}


def _compatible(merged: dict[str, Any], version: int, older: list[Schema]) -> dict[str, Any]:
    """The schema with the declaration that it needs: whether code that knows only older versions is to stop at it."""
    new = Schema.parse(msgspec.json.encode(merged).decode(), version)
    declared = False
    for schema in reversed(older):
        if not declared and unreadable(schema, new):
            keys = [*merged]
            at = keys.index("fields")
            return {
                key: BACKWARD if key == "compatibility" else merged[key]
                for key in [*keys[:at], "compatibility", *keys[at:]]
            }
        declared = declared or schema.compatibility == BACKWARD
    return merged


def _with_alias(merged: dict[str, Any], former: Schema) -> dict[str, Any]:
    aliases = [*merged.get("aliases", ()), former.name]
    rest = {key: value for key, value in merged.items() if key not in ("type", "name", "aliases")}
    return {"type": "record", "name": merged["name"], "aliases": aliases, **rest}


def _named_in(part: Any) -> Iterator[dict[str, Any]]:
    if isinstance(part, list):
        for item in part:
            yield from _named_in(item)
    elif isinstance(part, dict):
        if part.get("type") in ("record", "enum", "fixed") and "name" in part:
            yield part
        for value in part.values():
            if isinstance(value, dict | list):
                yield from _named_in(value)


def _namespace(type: str, existing: Schemas, root: Path, schema_root: str | Path) -> str:
    """That of the schemas that are there; else the project's, as those of its other types have it, and the type."""
    for schema in existing:
        return schema.namespace
    for file in sorted(root.glob("*/*.avsc")):
        other = msgspec.json.decode(file.read_bytes()).get("namespace", "")
        if other.endswith(f".{file.parent.name}"):
            return f"{other.removesuffix(file.parent.name)}{type}"
    project = root.parent.name if isinstance(schema_root, Path) else root.name
    return f"{project.replace('-', '_')}.{type}"


def renamed_of(texts: Iterable[str]) -> dict[str, dict[str, str]]:
    """What `Old=New` and `Record.old=new` mean. Raises `SchemaError`."""
    renamed: dict[str, dict[str, str]] = {}
    for text in texts:
        old, equals, new = text.partition("=")
        record, _, field = old.rpartition(".")
        if not (equals and field.isidentifier() and new.isidentifier() and (not record or record.isidentifier())):
            raise SchemaError(f"--renamed {text}: write Old=New for a record, Record.old=new for a field")
        renamed.setdefault(record, {})[new] = field
    return renamed
