"""`faust -A <app> schemas`: the schemas of an app as a contract with the readers of its events."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import click
import msgspec
from faust.cli import argument, option

from schemas.codec import Undecodable
from schemas.drafting.drafts import RENAMED, drafting
from schemas.registry import UPCASTERS, Schema, from_here, root_folder
from schemas.release import check, lock, samples
from schemas.release.contract import Contract, SchemaProblem
from streams.aggregate_type import AggregateType
from streams.cli.audit.orders import REASON, ordered
from streams.cli.run import DONE, ERROR, USAGE, CliError, TypesCommand, command
from streams.registry.client import RegistryDown, RegistryError
from streams.text import one_line

SAMPLES = Path("tests/compatibility")
FOLDER = click.Path(file_okay=False, path_type=Path)


@command(
    argument("action", type=click.Choice(["write", "check", "sample", "lock", "register"])),
    option("--folder", type=FOLDER, default=SAMPLES, metavar="FOLDER", help="sample: where the samples are kept."),
    option("--update", is_flag=True, help="sample: also what older ones read as now.", show_default=False),
    option("--check", "dry", is_flag=True, help="write: say what would be written, and write nothing."),
    option(RENAMED, multiple=True, metavar="OLD=NEW", help="write: a record, or Record.old=new a field, was renamed."),
    REASON,
)
async def schemas(
    self: TypesCommand, action: str, folder: Path, update: bool, dry: bool, renamed: Sequence[str], reason: str
) -> int:
    """Change schemas without breaking anybody: write, check, sample, lock, register.

    \b
    faust -A projections.shop.app schemas write --check
    faust -A projections.shop.app schemas check
    faust -A projections.shop.app schemas sample --update
    faust -A projections.shop.app schemas lock
    SCHEMA_REGISTRY_URL=http://registry:8081 faust -A projections.shop.app schemas register

    Write makes the schema of each command and event from its class, and the next version where the class has changed
    and the version before is released. It says what a change means and what it needs; --check writes nothing. What is
    released stays as it is. The text behind a field, and the docstring of a class, become their docs.

    Check needs no server. It says what would break whom, and what to do: each version against those before and
    behind it, the classes, the upcasters, and what is released (schemas.lock), which must not change.

    Sample stores what a new version writes, by this code, for the tests of all later code. The bytes of a sample
    that is there never change; --update changes what it reads as today, which is what a new version does to
    history: look at the difference.

    Lock releases what is new, when nothing else is wrong.

    Register brings the schemas of this app's events to the schema registry: all versions, each under the subject
    <topic>-<full name>, where they are missing. Where SETUP is never, or the registry is not on this machine, run
    it before workers that write a new version are started; `setup` does it too. When the registry refuses a version
    as incompatible that is a declared exception, the compatibility of its subject is set to NONE.

    Exit code: 1 when something is wrong or missing, --check: when there is something to write, the registry does not
    answer or refuses, 2 wrong use.
    """
    if action == "write":
        return run_write(dry)
    if action == "check":
        return run_check(self.types)
    if action == "sample":
        return run_sample(self.types, folder, update)
    if action == "lock":
        return run_lock(self.types)
    if all(type.registry is None for type in self.types.values()):
        raise CliError(USAGE, "SCHEMA_REGISTRY_URL is not set: say which registry")
    async with ordered(self, "schemas register", reason) as order:
        async for line in register_schemas(self.types):
            order.did(line)
    return DONE


async def register_schemas(types: Mapping[str, AggregateType]) -> AsyncIterator[str]:
    """Register the schemas of all events of these types where they are missing, and yield a line for each; nothing
    where there is no registry. Raises `CliError`."""
    for type in types.values():
        ids = type.schema_ids(may_register=True)
        if ids is None:
            return
        try:
            async for line in ids.learn_all():
                yield line
        except RegistryDown as error:
            raise CliError(ERROR, f"{one_line(error)}; is it up, is SCHEMA_REGISTRY_URL right?") from None
        except RegistryError as error:
            raise CliError(ERROR, one_line(error)) from None
        finally:
            await ids.registry.close()


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
        return path, lock.read_lock(path)
    except msgspec.DecodeError as error:
        raise CliError(USAGE, f"{path} is damaged ({error}): take it from the history of your repository") from None


def run_write(dry: bool, unreleased: bool = False) -> int:
    """Write what the classes of the types of this process say, unless `dry`, and print what it means; the exit code.

    With `unreleased`, where nothing is stored yet, the files of classes that are gone are removed."""
    drafts = drafting()
    assert drafts is not None
    code = DONE
    plans = [plan.cleared() if unreleased else plan for plan in drafts.plans.values()]
    for plan in plans:
        for draft in plan.drafts:
            head, *changes = draft.meaning
            click.echo("\n    ".join([head, *changes]))
            if draft.upcaster:
                click.echo(f"    an upcaster may be begun so, in {from_here(plan.root / UPCASTERS)}:")
                click.echo("".join(f"        {line}\n" for line in draft.upcaster.splitlines()), nl=False)
        removed = plan.unused if plan.is_cleared else ()
        for file in removed:
            click.echo(f"{file}: removed, it has no class and nobody has released it")
        if unsaid := [name for draft in plan.drafts for name in draft.unsaid]:
            click.echo(f"only their names say what these are, a text behind them would: {', '.join(unsaid)}")
        if not dry:
            plan.write()
        if plan.problems:
            code = _print_problems(plan.problems)
    count = sum(len(plan.drafts) + len(plan.unused) * plan.is_cleared for plan in plans)
    if dry:
        click.echo(f"{count} to write" if count else "nothing to write")
        return ERROR if count else code
    click.echo(f"{count} written" if count else "nothing to write")
    return code


def run_check(types: Mapping[str, AggregateType], unreleased: bool = False) -> int:
    """Print each problem, or that there is none; the exit code. With `unreleased` a schema root without a lock is no
    problem: nobody has stored an event of it."""
    contracts, problems = contracts_by_root(types), []
    for root, ours in contracts.items():
        path, released = lock_of(root)
        if unreleased and path.is_file():
            raise CliError(USAGE, f"{from_here(path)} releases schemas: take `released = false` out of pyproject.toml")
        problems += (check.may_be_locked if unreleased else check.check)(ours, released)
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
            lock.write_lock(path, locked)
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
            path = samples.sample_path(folder, type.schema_root, type.decider.type, schema)
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
    samples.write_sample(path, samples.make_sample(schema, event, type.events))
    click.echo(f"written: {path}")
    return "written"


def _update(path: Path, type: AggregateType) -> bool:
    """Update how a sample reads today, never its bytes; whether that changed."""
    sample = samples.read_sample(path)
    today = samples.reads_as(type.events, bytes.fromhex(sample.avro))
    if today == sample.reads_as:
        return False
    sample.reads_as = today
    samples.write_sample(path, sample)
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
