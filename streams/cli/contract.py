"""`schemas check | lock | sample`: the schemas of an app as a contract with everybody who reads its events."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click
import msgspec

from schemas.codec import Undecodable
from schemas.registry import from_here, place_of
from schemas.release import check, lock, samples
from schemas.release.contract import Contract, SchemaProblem
from streams.aggregate_type import AggregateType
from streams.cli.run import DONE, ERROR, USAGE, CliError
from streams.text import one_line

SAMPLES = Path("tests/compatibility")


def by_shop(contexts: Mapping[str, AggregateType]) -> dict[str | Path, list[Contract]]:
    """What the types of an app have promised, by the folder that they share a lock in."""
    found: dict[str | Path, list[Contract]] = {}
    for context in contexts.values():
        found.setdefault(context.shop, []).append(Contract(context.decider, context.schemas))
    return found


def lock_of(shop: str | Path) -> tuple[Path, lock.Lock]:
    """The lock of a shop. Raises `CliError`."""
    path = Path(str(place_of(shop).joinpath(lock.FILE)))
    try:
        return path, lock.load(path)
    except msgspec.DecodeError as error:
        raise CliError(USAGE, f"{path} is damaged ({error}): take it from the history of your repository") from None


def run_check(contexts: Mapping[str, AggregateType]) -> int:
    """Print what is wrong, or that nothing is; the exit code."""
    shops = by_shop(contexts)
    problems = [it for shop, contracts in shops.items() for it in check.check(contracts, lock_of(shop)[1])]
    if problems:
        return _told(problems)
    click.echo(f"{_counted(shops)}: nothing would break anybody")
    return DONE


def run_lock(contexts: Mapping[str, AggregateType]) -> int:
    """Release what is new, if nothing is wrong; the exit code."""
    shops = by_shop(contexts)
    locks = {shop: lock_of(shop) for shop in shops}
    if problems := [it for shop, its in shops.items() for it in check.may_be_locked(its, locks[shop][1])]:
        return _told(problems)
    nothing_new = True
    for shop, (path, released) in locks.items():
        locked, new = check.release(shops[shop], released)
        if new:
            nothing_new = False
            lock.save(path, locked)
            for name in new:
                click.echo(f"released: {name}")
            click.echo(f"{from_here(path)}: {len(new)} new; commit it")
    if nothing_new:
        click.echo(f"{_counted(shops)}: all released before")
    return DONE


def run_sample(contexts: Mapping[str, AggregateType], folder: Path, update: bool) -> int:
    """Write the samples that are missing, and with `update` what those that are there read as now; the exit code."""
    missing = written = changed = 0
    for context in contexts.values():
        newest = {schema.name: schema for schema in context.schemas}
        for schema in context.schemas:
            if schema.name in context.decider.commands:
                continue
            path = samples.path_of(folder, context.shop, context.decider.type, schema)
            try:
                if path.is_file():
                    changed += update and _update(path, context)
                elif newest[schema.name] is schema and schema.name in context.decider.events:
                    samples.save(path, samples.make(schema, context.decider.events[schema.name], context.events))
                    click.echo(f"written: {path}")
                    written += 1
                else:
                    missing += 1
                    why = (
                        "this code no longer writes that version: check out the commit that did, and take it from there"
                    )
                    click.echo(f"missing: {path}: {why}", err=True)
            except (Undecodable, msgspec.ValidationError, msgspec.DecodeError, OSError) as error:
                raise CliError(ERROR, f"{path}: {one_line(error)}") from None
    click.echo(f"{written} written, {changed} updated, {missing} missing")
    return ERROR if missing else DONE


def _update(path: Path, context: AggregateType) -> bool:
    """Bring up to date what a sample reads as, never its bytes; whether that changed."""
    sample = samples.load(path)
    today = samples.reads_as(context.events, bytes.fromhex(sample.avro))
    if today == sample.reads_as:
        return False
    sample.reads_as = today
    samples.save(path, sample)
    click.echo(f"updated: {path} reads as {', '.join(part.type for part in today) or 'nothing'}")
    return True


def _told(problems: list[SchemaProblem]) -> int:
    for problem in problems:
        click.echo(str(problem), err=True)
    click.echo(f"{len(problems)} problem{'s'[: len(problems) != 1]}", err=True)
    return ERROR


def _counted(shops: Mapping[str | Path, list[Contract]]) -> str:
    contracts = [contract for its in shops.values() for contract in its]
    events = sum(len(contract.decider.events) for contract in contracts)
    commands = sum(len(contract.decider.commands) for contract in contracts)
    versions = sum(len(contract.schemas) for contract in contracts)
    return f"{versions} versions of {events} events, {commands} commands and what they were before"
