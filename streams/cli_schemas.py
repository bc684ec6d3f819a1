"""The schemas of an app's events: what a schema registry has of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any

import click
from faust.cli import argument

from streams.cli_run import ERROR, USAGE, Stop, Tool, one_line
from streams.schema_registry import RegistryDown, RegistryError

if TYPE_CHECKING:
    from streams.command_app import Context


async def register_schemas(contexts: Mapping[str, Context]) -> AsyncIterator[str]:
    """Register the schemas of all events of these contexts where they are missing, and say so line by line; nothing
    where there is no registry. Raises `Stop`."""
    for context in contexts.values():
        ids = context.schema_ids(may_register=True)
        if ids is None:
            return
        try:
            async for line in ids.learn_all():
                yield line
        except RegistryDown as error:
            raise Stop(ERROR, f"{one_line(error)}; is it up, is SCHEMA_REGISTRY_URL right?") from None
        except RegistryError as error:
            raise Stop(ERROR, one_line(error)) from None
        finally:
            await ids.registry.close()


def register(command: Callable[..., Any], contexts: Mapping[str, Context]) -> None:
    """Add `schemas` to the commands of an app."""

    @command(argument("action", type=click.Choice(["register"])))
    async def schemas(self: Tool, action: str) -> None:
        """Bring the schemas of this app's events to the schema registry.

        \b
        SCHEMA_REGISTRY_URL=http://registry:8081 faust -A projections.shop.app schemas register

        All versions of all events, each under the subject <topic>-<full name>, where they are missing. Where SETUP is
        never, or the registry is not on this machine, run it before workers that write a new version are started;
        `setup` does it too. When the registry refuses a version as incompatible that is a declared exception, the
        compatibility of its subject is set to NONE.

        Exit code: 1 when the registry does not answer or refuses, 2 wrong use.
        """
        if all(context.registry is None for context in contexts.values()):
            raise Stop(USAGE, "SCHEMA_REGISTRY_URL is not set: say which registry")
        async for line in register_schemas(contexts):
            click.echo(line)
