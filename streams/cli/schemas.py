"""The schemas of an app: whether a change of them would break somebody, and what a schema registry has of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import click
from faust.cli import argument, option

from streams.aggregate_type import AggregateType
from streams.cli.contract import SAMPLES, run_check, run_lock, run_sample
from streams.cli.run import DONE, ERROR, USAGE, CliCommand, CliError
from streams.registry.client import RegistryDown, RegistryError
from streams.text import one_line

FOLDER = click.Path(file_okay=False, path_type=Path)


async def register_schemas(contexts: Mapping[str, AggregateType]) -> AsyncIterator[str]:
    """Register the schemas of all events of these contexts where they are missing, and say so line by line; nothing
    where there is no registry. Raises `CliError`."""
    for context in contexts.values():
        ids = context.schema_ids(may_register=True)
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


def register(command: Callable[..., Any], contexts: Mapping[str, AggregateType]) -> None:
    """Add `schemas` to the commands of an app."""

    @command(
        argument("action", type=click.Choice(["check", "sample", "lock", "register"])),
        option("--folder", type=FOLDER, default=SAMPLES, metavar="FOLDER", help="sample: where the samples are kept."),
        option("--update", is_flag=True, help="sample: also what older ones read as now.", show_default=False),
    )
    async def schemas(self: CliCommand, action: str, folder: Path, update: bool) -> int:
        """Change schemas without breaking anybody: check, sample, lock, register.

        \b
        faust -A projections.shop.app schemas check
        faust -A projections.shop.app schemas sample --update
        faust -A projections.shop.app schemas lock
        SCHEMA_REGISTRY_URL=http://registry:8081 faust -A projections.shop.app schemas register

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

        Exit code: 1 when something is wrong or missing, the registry does not answer or refuses, 2 wrong use.
        """
        if action == "check":
            return run_check(contexts)
        if action == "sample":
            return run_sample(contexts, folder, update)
        if action == "lock":
            return run_lock(contexts)
        if all(context.registry is None for context in contexts.values()):
            raise CliError(USAGE, "SCHEMA_REGISTRY_URL is not set: say which registry")
        async for line in register_schemas(contexts):
            click.echo(line)
        return DONE
