"""Schemas as a contract: whether a change of them would break somebody, and what is released.

New code reads every older version, by resolution or over an upcaster. Older code reads the newer version, unless that
declares that it must not. What is released stays as it is. Each problem says what to do about it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from schemas.registry import Schema
from schemas.release import lock
from schemas.release.check_form import form
from schemas.release.check_marks import marks, marks_unlike
from schemas.release.check_versions import between_versions
from schemas.release.contract import Contract, SchemaProblem
from schemas.release.lock import Lock


def check(contracts: Sequence[Contract], released: Lock) -> list[SchemaProblem]:
    """All problems, also those with the lock."""
    return [*_broken(contracts), *_unlike_the_lock(contracts, released), *_unreleased(contracts, released)]


def may_be_locked(contracts: Sequence[Contract], released: Lock) -> list[SchemaProblem]:
    """The problems that keep versions from being released."""
    return [*_broken(contracts), *_unlike_the_lock(contracts, released)]


def release(contracts: Sequence[Contract], released: Lock) -> tuple[Lock, list[str]]:
    """The lock with the new versions, marks and states, and their names. Locked versions stay as they are."""
    versions, states, new = dict(released.versions), dict(released.states), []
    for contract in contracts:
        for schema in contract.schemas:
            key, version = contract.file(schema), lock.locked_version(schema)
            if versions.get(key) != version:
                versions[key] = version
                new.append(key)
        state = lock.locked_state(contract.decider)
        if states.get(contract.type) != state:
            states[contract.type] = state
            new.append(f"state {state.version} of {contract.type}")
    return Lock(versions, states), new


def _broken(contracts: Sequence[Contract]) -> Iterator[SchemaProblem]:
    """The problems that do not depend on the lock."""
    yield from form(contracts)
    for contract in contracts:
        yield from between_versions(contract)
        yield from marks(contract)


def _unlike_the_lock(contracts: Iterable[Contract], released: Lock) -> Iterator[SchemaProblem]:
    for contract in contracts:
        present = {contract.file(schema): schema for schema in contract.schemas}
        for key, entry in released.versions.items():
            if key.partition("/")[0] != contract.type:
                continue
            if key not in present:
                do = "put it back from the history of this repository: events in journals need it"
                yield SchemaProblem(key, "is released, and is gone", do)
                continue
            version = lock.locked_version(present[key])
            if not version.same_form(entry):
                what = "is released, and is not what it was"
                if version.fingerprint == entry.fingerprint:
                    what += " (a default, an alias, a logical type or its declaration)"
                do = f"put it back, and make the change in {present[key].name}.v{_next(contract, present[key])}.avsc"
                yield SchemaProblem(key, what, do)
            else:
                yield from marks_unlike(contract, present[key], version.marks, entry.marks)
        state, known = lock.locked_state(contract.decider), released.states.get(contract.type)
        if known is not None and state.version == known.version and state.digest != known.digest:
            yield SchemaProblem(
                f"state of {contract.type}",
                f"its shape has changed, and state_version is still {known.version}: older snapshots would be "
                "taken for new ones",
                f"raise state_version of the decider to {known.version + 1}",
            )
        if known is not None and state.version < known.version:
            do = f"state_version only rises: {known.version + 1} or more, unless nothing changed"
            yield SchemaProblem(f"state of {contract.type}", f"state_version {known.version} is released", do)


def _unreleased(contracts: Iterable[Contract], released: Lock) -> Iterator[SchemaProblem]:
    for contract in contracts:
        do = "when it is as it is to be: faust -A <app> schemas sample, then faust -A <app> schemas lock"
        for schema in contract.schemas:
            entry = released.versions.get(contract.file(schema))
            if entry is None or entry.marks != lock.locked_version(schema).marks:
                yield SchemaProblem(contract.file(schema), "is not released", do)
        state = lock.locked_state(contract.decider)
        if contract.type not in released.states or state.version > released.states[contract.type].version:
            yield SchemaProblem(f"state of {contract.type}", f"state_version {state.version} is not released", do)


def _next(contract: Contract, schema: Schema) -> int:
    return max(other.version for other in contract.schemas if other.name == schema.name) + 1
