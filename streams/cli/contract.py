"""`schemas check | lock | sample`: the schemas of an app as a contract with all readers of its events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import click
import msgspec

from schemas.codec import Undecodable
from schemas.registry import Schema, from_here, root_folder
from schemas.release import check, lock, samples
from schemas.release.contract import Contract, SchemaProblem
from streams.aggregate_type import AggregateType
from streams.cli.run import DONE, ERROR, USAGE, CliError
from streams.text import one_line

SAMPLES = Path("tests/compatibility")


def contracts_by_root(types: Mapping[str, AggregateType]) -> dict[str | Path, list[Contract]]:
    """The contracts of an app's types by schema root: the types of one root share a lock."""
    contracts: dict[str | Path, list[Contract]] = {}
    for type in types.values():
        contracts.setdefault(type.schema_root, []).append(Contract(type.decider, type.schemas))
    return contracts


def lock_of(schema_root: str | Path) -> tuple[Path, lock.Lock]:
    """The lock of a schema root. Raises `CliError`."""
    path = Path(str(root_folder(schema_root).joinpath(lock.FILE)))
    try:
        return path, lock.load(path)
    except msgspec.DecodeError as error:
        raise CliError(USAGE, f"{path} is damaged ({error}): take it from the history of your repository") from None


def run_check(types: Mapping[str, AggregateType]) -> int:
    """Print each problem, or that there is none; the exit code."""
    contracts = contracts_by_root(types)
    problems = [problem for root, ours in contracts.items() for problem in check.check(ours, lock_of(root)[1])]
    if problems:
        return _print_problems(problems)
    click.echo(f"{_counted(contracts)}: nothing would break anybody")
    return DONE


def run_lock(types: Mapping[str, AggregateType]) -> int:
    """Release all new versions, if there is no problem; the exit code."""
    contracts = contracts_by_root(types)
    locks = {root: lock_of(root) for root in contracts}
    problems = [problem for root, ours in contracts.items() for problem in check.may_be_locked(ours, locks[root][1])]
    if problems:
        return _print_problems(problems)
    nothing_new = True
    for root, (path, released) in locks.items():
        locked, new = check.release(contracts[root], released)
        if new:
            nothing_new = False
            lock.save(path, locked)
            for name in new:
                click.echo(f"released: {name}")
            click.echo(f"{from_here(path)}: {len(new)} new; commit it")
    if nothing_new:
        click.echo(f"{_counted(contracts)}: all released before")
    return DONE


def run_sample(types: Mapping[str, AggregateType], folder: Path, update: bool) -> int:
    """Write the samples that are missing, and with `update` how the existing ones read today; the exit code."""
    outcomes: Counter[str] = Counter()
    for type in types.values():
        for schema in type.event_schemas:
            path = samples.path_of(folder, type.schema_root, type.decider.type, schema)
            try:
                outcomes[_sample(path, type, schema, update)] += 1
            except (Undecodable, msgspec.ValidationError, msgspec.DecodeError, OSError) as error:
                raise CliError(ERROR, f"{path}: {one_line(error)}") from None
    click.echo(f"{outcomes['written']} written, {outcomes['updated']} updated, {outcomes['missing']} missing")
    return ERROR if outcomes["missing"] else DONE


def _sample(
    path: Path, type: AggregateType, schema: Schema, update: bool
) -> Literal["written", "updated", "missing", ""]:
    """Write or update the sample of one version of an event; the outcome, empty when there was nothing to do."""
    if path.is_file():
        return "updated" if update and _update(path, type) else ""
    event = type.decider.events.get(schema.name)
    if event is None or type.schemas.newest(schema.name) is not schema:
        why = "this code no longer writes that version: check out the commit that did, and take it from there"
        click.echo(f"missing: {path}: {why}", err=True)
        return "missing"
    samples.save(path, samples.make(schema, event, type.events))
    click.echo(f"written: {path}")
    return "written"


def _update(path: Path, type: AggregateType) -> bool:
    """Update how a sample reads today, never its bytes; whether that changed."""
    sample = samples.load(path)
    today = samples.reads_as(type.events, bytes.fromhex(sample.avro))
    if today == sample.reads_as:
        return False
    sample.reads_as = today
    samples.save(path, sample)
    click.echo(f"updated: {path} reads as {', '.join(part.type for part in today) or 'nothing'}")
    return True


def _print_problems(problems: list[SchemaProblem]) -> int:
    for problem in problems:
        click.echo(str(problem), err=True)
    click.echo(f"{len(problems)} problem{'s'[: len(problems) != 1]}", err=True)
    return ERROR


def _counted(contracts_by_root: Mapping[str | Path, list[Contract]]) -> str:
    contracts = [contract for contracts in contracts_by_root.values() for contract in contracts]
    events = sum(len(contract.decider.events) for contract in contracts)
    commands = sum(len(contract.decider.commands) for contract in contracts)
    versions = sum(len(contract.schemas) for contract in contracts)
    return f"{versions} versions of {events} events, {commands} commands and what they were before"
