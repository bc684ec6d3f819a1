"""A worker with the rights that its app prints, and no others: `python -m tests.secured.let_in -A <app> worker ..`.

The environment is that of an administrator, who sets the app up, and makes a user for its workers on Kafka and in the
database, with what `acls` and `grants` print. Then this process becomes the worker, with that user's logins.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import importlib
import io
import json
import os
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

NOTES = "LET_IN_NOTES"
"""The setting that names the folder of what is done already."""
SENDS_TO = {"streams.timers": ("order",)}
"""The types that an app sends to although its wiring does not say so."""


def password_of(user: str) -> str:
    """Of a user who is made here: the same for all workers of an app."""
    return hashlib.sha256(user.encode()).hexdigest()[:24]


def of_user(url: str, user: str) -> str:
    """The URL of a database with a user's login in the place of the administrator's."""
    return re.sub(r"//[^/@]*@", f"//{user}:{password_of(user)}@", url)


class _Command:
    """A command of the app, in a process of its own that need not import the app once more; begun at once."""

    def __init__(self, app: str, *arguments: str) -> None:
        self._read, write = os.pipe()
        self._pid = os.fork()
        if not self._pid:
            os.dup2(write, sys.stdout.fileno())
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())  # the log of the worker has its own lines
            os._exit(_run("--json", "-A", app, *arguments))
        os.close(write)

    def printed(self) -> list[dict[str, Any]] | None:
        """The objects of JSON that it prints, in the end; None where it fails: why, the worker will say."""
        with open(self._read, "rb") as output:
            lines = output.read().splitlines()
        _, status = os.waitpid(self._pid, 0)
        return None if status else [json.loads(line) for line in lines if line[:1] == b"{"]


def _run(*arguments: str) -> int:
    """Run `faust ARGUMENTS`; the exit code."""
    from faust.cli.faust import cli

    try:
        cli.main(arguments, prog_name="faust")
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except Exception:
        return 1
    finally:
        sys.stdout.flush()
    return 0


def let_in(app: str) -> str:
    """Set an app up, and let its user do what it prints: the user, empty where the app cannot even be imported."""
    more = [word for type in SENDS_TO.get(app, ()) for word in ("--sends-to", type)]
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # the worker will say it
            importlib.import_module(app)
    except (Exception, SystemExit):
        return ""
    commands = [_Command(app, "acls", *more), _Command(app, "grants")]
    if os.environ.get("SETUP") != "never":  # where a test says so, nobody is to have set it up
        commands.append(_Command(app, "setup"))
    acls, *others = (command.printed() for command in commands)
    if acls is None:
        return ""
    user = str(acls[0]["principal"]).removeprefix("User:")
    asyncio.run(_granted(user, acls, [] if None in others else others[0] or []))
    return user


async def _granted(user: str, acls: list[dict[str, Any]], grants: list[dict[str, Any]]) -> None:
    """Make a user, and allow him this."""
    from servers.secured.grants import grant
    from servers.secured.logins import add_login
    from streams.kafka.client_factory import ClientFactory
    from streams.settings import Settings
    from tests.stores import administered

    clients = ClientFactory.of(Settings.from_environment())
    await add_login(clients, user, password_of(user))
    by_operation: dict[str, list[str]] = defaultdict(list)
    for acl in acls:
        for operation in acl["operations"]:
            by_operation[operation].append(f"{acl['resource']}:{acl['name']}{'*' * (acl['pattern'] == 'prefixed')}")
    for operation, resources in by_operation.items():
        await grant(clients, user, operation, *resources)
    by_setting: dict[str, list[str]] = defaultdict(list)
    for granted in grants:
        by_setting[granted["setting"]].append(granted["statement"])
    for setting, statements in by_setting.items():
        url = os.environ.get(setting) or os.environ["JOURNAL_URL"]
        await administered(url, _made(url, user), *statements)


def _made(url: str, user: str) -> str:
    """The statement that makes a user, or leaves one that is there."""
    if url.startswith("cassandra:"):
        return f"CREATE ROLE IF NOT EXISTS \"{user}\" WITH PASSWORD = '{password_of(user)}' AND LOGIN = true"
    name = user.replace("'", "''")
    return (
        f"DO $$BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{name}')"
        f" THEN CREATE ROLE \"{user}\" LOGIN PASSWORD '{password_of(user)}'; END IF; END$$"
    )


def _once(app: str) -> str:
    """The user of an app with these settings, whom its first worker alone lets in."""
    settings = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    said = json.dumps([app, settings], sort_keys=True)
    note = Path(os.environ[NOTES]) / f"let-in-{hashlib.sha256(said.encode()).hexdigest()[:12]}"
    with note.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        user = file.read() or let_in(app)
        file.truncate(0)
        file.write(user)
    return user


def main(arguments: list[str]) -> None:
    """Become the worker."""
    app = arguments[arguments.index("-A") + 1]
    if user := _once(app):
        os.environ |= {"KAFKA_USER": user, "KAFKA_PASSWORD": password_of(user), "KAFKA_PASSWORD_FILE": ""}
        for setting in ("JOURNAL_URL", "READ_MODEL_URL"):
            if url := os.environ.get(setting):
                os.environ[setting] = of_user(url, user)
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "faust", *arguments])


if __name__ == "__main__":
    main(sys.argv[1:])
