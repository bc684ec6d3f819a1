"""The checks between the versions of a record: new code reads all of them, old code the versions that it may read."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise

from schemas.codec import Codec, Undecodable
from schemas.formats import AVRO
from schemas.registry import BACKWARD, Schema
from schemas.release.compatibility import unreadable
from schemas.release.contract import Contract, SchemaProblem, fields_of
from schemas.release.samples import example
from schemas.sealing import CLEAR_TYPES, PERSONAL, SEALED_TYPES


def between_versions(contract: Contract) -> Iterator[SchemaProblem]:
    """All problems between versions."""
    problems = [*_upcasters(contract), *_new_code_reads(contract), *_old_code_reads(contract)]
    yield from problems or _unread(contract)


def _upcasters(contract: Contract) -> Iterator[SchemaProblem]:
    known = {(schema.name, schema.version): schema for schema in contract.schemas}
    newest = {versions[-1].name: versions[-1].version for versions in contract.versions()}
    seen: set[tuple[str, int]] = set()
    for upcaster in contract.schemas.upcasters:
        key = upcaster.name, upcaster.version
        where = f"upcaster of {upcaster.name}.v{upcaster.version}"
        if key in seen:
            yield SchemaProblem(where, "there are two", "keep one: which would be asked?")
        seen.add(key)
        if key not in known:
            yield SchemaProblem(
                where, f"there is no {upcaster.name}.v{upcaster.version}.avsc", "correct its name or version"
            )
            continue
        if newest[upcaster.name] == upcaster.version and upcaster.name in contract.classes:
            do = f"add {upcaster.name}.v{upcaster.version + 1}.avsc, which it leads to"
            yield SchemaProblem(where, "this is the newest version, which is still written", do)
            continue
        try:
            parts = list(upcaster.upcast(example(known[key])))
        except Exception as error:
            yield SchemaProblem(where, f"raises {error!r}", "an upcaster takes whatever its version could hold")
            continue
        for part in parts:
            made = f"{part.name}.v{part.version}"
            if (part.name, part.version) not in known:
                yield SchemaProblem(where, f"makes a {made}, of which there is no schema", "name a version that exists")
            elif part.name == upcaster.name and part.version <= upcaster.version:
                yield SchemaProblem(where, f"makes a {made}, which leads back", "name a later version")
            else:
                try:
                    AVRO.writer(known[part.name, part.version])(part.fields)
                except Exception as error:
                    do = "give it all fields of that version, in their types"
                    yield SchemaProblem(where, f"makes a {made} that does not fit its schema: {error}", do)


def _new_code_reads(contract: Contract) -> Iterator[SchemaProblem]:
    """New code must read all older versions, directly as the version that they are resolved to."""
    codec = Codec(contract.schemas, {}, contract.schemas.upcasters)
    for schema in contract.schemas:
        target = codec.target_of(schema)
        if target is schema:
            continue
        do = f"give it a default, or add an upcaster for {schema.name}.v{schema.version} to upcasters.py"
        for why in unreadable(target, schema):
            what = f"{target.name}.v{target.version} cannot read {schema.name}.v{schema.version}: {why}"
            yield SchemaProblem(contract.file(target), what, do)
        yield from _went_and_came(contract, schema, target)
    for versions in contract.versions():
        for older, newer in pairwise(versions):
            for alias in set(older.aliases) - set(newer.aliases):
                do = "keep it: events of that name are read by it"
                yield SchemaProblem(contract.file(newer), f"the alias {alias} of version {older.version} is gone", do)


def _unread(contract: Contract) -> Iterator[SchemaProblem]:
    """Versions that cannot be read although each single step is right."""
    codec = Codec(contract.schemas, {}, contract.schemas.upcasters)
    for schema in contract.schemas:
        try:
            codec.decode_to_builtins(AVRO.writer(schema)(example(schema)))
        except Undecodable as error:
            yield SchemaProblem(contract.file(schema), f"cannot be read: {error}", "follow it through upcasters.py")


def _went_and_came(contract: Contract, schema: Schema, target: Schema) -> Iterator[SchemaProblem]:
    """Fields whose old values would be read with another meaning."""
    if schema.full_name != target.full_name:
        return
    versions = [version for version in contract.schemas if version.name == schema.name]
    between = [version for version in versions if schema.version < version.version < target.version]
    old, new = fields_of(schema), fields_of(target)
    for name in old.keys() & new.keys():
        if gone := [version for version in between if name not in fields_of(version)]:
            yield SchemaProblem(
                contract.file(target),
                f"the field {name} comes back, which version {gone[0].version} had removed: "
                f"what version {schema.version} wrote there would be read as the new one",
                "give the new field another name",
            )
    for earlier in (schema, *between):
        for name, field in fields_of(earlier).items():
            if "default" in field and "default" in new.get(name, ()) and field["default"] != new[name]["default"]:
                yield SchemaProblem(
                    contract.file(target),
                    f"the default of {name} is not that of version {earlier.version}: "
                    "older events would say something else than before",
                    "keep the default; what new commands leave out is for the class to say",
                )


def _sealed_since(older: Schema, newer: Schema) -> list[str]:
    """What Avro's rules leave out: bytes are read as text, and what is sealed is none."""
    sealed = {name for name, it in fields_of(newer).items() if PERSONAL in it and it["type"] in SEALED_TYPES}
    clear = {name for name, it in fields_of(older).items() if it["type"] in CLEAR_TYPES}
    return [f"{name} is sealed in it" for name in sorted(sealed & clear)]


def _old_code_reads(contract: Contract) -> Iterator[SchemaProblem]:
    """Old code must read all newer versions, unless they declare that it must not."""
    upcasted = {(upcaster.name, upcaster.version) for upcaster in contract.schemas.upcasters}
    for versions in contract.versions():
        if versions[0].compatibility == BACKWARD:
            do = f'remove "compatibility": "{BACKWARD}"'
            yield SchemaProblem(contract.file(versions[0]), "no code is older than the first version", do)
        for (i, older), (j, newer) in combinations(enumerate(versions), 2):
            reasons = [*unreadable(older, newer), *_sealed_since(older, newer)]
            declared = any(version.compatibility == BACKWARD for version in versions[i + 1 : j + 1])
            if reasons and not declared:
                yield SchemaProblem(
                    contract.file(newer),
                    f"code that knows only version {older.version} cannot read it: {'; '.join(reasons)}",
                    "keep the field, with a default in both; or, if older workers are to stop at it and wait for newer "
                    f'ones, declare "compatibility": "{BACKWARD}"',
                )
            needless = newer.compatibility == BACKWARD and not reasons and (older.name, older.version) not in upcasted
            if needless and j == i + 1:
                do = f'remove "compatibility": "{BACKWARD}"; if it means something else, it needs an upcaster too'
                what = f"older workers would stop at it for nothing: they can read it as version {older.version}"
                yield SchemaProblem(contract.file(newer), what, do)
