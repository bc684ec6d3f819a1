"""`faust -A <app> subjects`: what is known of a person's key, and the order to forget him."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import click
from faust.cli import argument, option

from streams.cli.audit.orders import REASON, ordered
from streams.cli.run import ERROR, USAGE, CliError, TypesCommand, command, indented
from streams.journal.port import JournalMissing, Unavailable
from streams.keys.keys import Keys
from streams.keys.management.port import KeyDestroyed
from streams.keys.records import SubjectKey
from streams.moments import in_utc
from streams.settings import SettingsError

ACTIONS = ["show", "forget", "allow", "renew"]


@asynccontextmanager
async def keys_of(self: TypesCommand) -> AsyncIterator[Keys]:
    """The keys of the app's namespace. Raises `CliError`."""
    keys = next((type.keys for type in self.types.values() if type.keys is not None), None)
    if keys is None:
        raise CliError(USAGE, "no event of this app has a personal field: see docs/privacy.md")
    try:
        await keys.open()
        yield keys
    except (Unavailable, JournalMissing, SettingsError, KeyDestroyed) as error:
        raise CliError(ERROR, str(error)) from None
    finally:
        await keys.close()


async def receipt(keys: Keys, subject: str, key: SubjectKey | None) -> dict[str, Any]:
    """What is known of a subject, and by when the last copy is dead: for who has asked, and for an auditor."""
    if key is None:
        return {"subject": subject, "state": "unknown", "key": "nothing was ever sealed for this subject"}
    state = "living" if key.has_key else key.state
    told: dict[str, Any] = {"subject": subject, "state": state, "keys": key.number, "since": in_utc(key.at, "seconds")}
    if key.reason:
        told["reason"] = key.reason
    if key.fingerprint:
        told["fingerprint"] = key.fingerprint.hex()
    if state in ("erased", "allowed"):
        dead = await keys.dead_by()
        told |= {
            "workers": f"read and write nothing more of it {keys.lease:g} s after that, at the latest",
            "copies_of_the_key": "dead with the renewal after that" + ("" if dead is None else f", due {in_utc(dead)}"),
            "key_management": str(keys.management),
        }
    return told


@command(
    argument("action", type=click.Choice(ACTIONS)),
    argument("id", required=False, metavar="[ID]"),
    option("--yes", is_flag=True, help="forget: do not ask whether it is meant."),
    REASON,
)
async def subjects(self: TypesCommand, action: str, id: str | None, yes: bool, reason: str) -> int | None:
    """What is known of the key of a person, by the id of the subject; to forget him; and to let him have another key.

    \b
    faust -A <app> subjects show 17850
    faust -A <app> subjects forget 17850 --reason "asked for on 30 November"
    faust -A <app> subjects allow 17850 --reason "is a customer again"
    faust -A <app> subjects renew    # once a week: wraps all living keys anew, destroys what wrapped them before

    What was sealed for a person who is forgotten nobody can ever read again, in no copy. A receipt is printed, which
    says by when that is so. `allow` brings nothing back: what is sealed from then on has another key.

    Exit code: 1 when a store or the key management does not answer, 2 when no event here has a personal field.
    """
    async with keys_of(self) as keys:
        if action == "renew":
            async with ordered(self, "subjects renew", reason) as order:
                done = await keys.renew()
                order.did(f"period {done.period}: {done.wrapped} keys wrapped anew, {len(done.destroyed)} destroyed")
            return None
        if not id:
            raise CliError(USAGE, f"subjects {action}: say which ID")
        if action == "show":
            click.echo(indented(await receipt(keys, id, await keys.look(id))))
            return None
        if action == "forget" and not yes and not click.confirm(f"Forget {id} for ever?", err=True):
            raise CliError(USAGE, "nothing was done: say --yes")
        async with ordered(self, f"subjects {action}", reason, {"id": id}) as order:
            if action == "forget":
                key: SubjectKey | None = await keys.erase(id, reason)
                order.effect = f"{id} is erased"
            else:
                key = await keys.allow(id, reason)
                order.effect = f"{id} may have another key" if key is not None else f"{id} never had a key"
            click.echo(indented(await receipt(keys, id, key)))
    return None
