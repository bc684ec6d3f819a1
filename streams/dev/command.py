"""`sourced dev`: the project of this folder, all of it, without any server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

import click

from streams.dev.emptying import forget_everything, forget_what_is_derived
from streams.dev.supervision import DevError, Supervision, only_one, relative
from streams.dev.whereabouts import ENVIRONMENT, Whereabouts, on_servers
from streams.projects.project import FILE, TABLE, Project, ProjectError, find_project
from streams.settings import without_login

PORT = 6066
PORTS = click.IntRange(1_100, 65_535)


@click.command()
@click.option("--port", type=PORTS, help=f"Of the last app.  [default: `port` of the table, or {PORT}]")
@click.option(
    "--data", type=click.Path(file_okay=False, path_type=Path), help="Folder of all that is kept.  [default: .data/dev]"
)
@click.option("--servers", is_flag=True, help="On Kafka and Cassandra: this machine's, unless settings say others.")
@click.option("--fresh", is_flag=True, help="Begin with nothing: journals, topics and tables are deleted.")
@click.option("--replay", is_flag=True, help="Make all tables anew of the events that there are.")
@click.option("--reload/--no-reload", default=True, help="Start again when a file has changed.", show_default=True)
def dev(port: int | None, data: Path | None, servers: bool, fresh: bool, replay: bool, reload: bool) -> None:
    """Run all apps of this project in one process: no server, no Java. For development and tests only.

    The apps are those of [tool.sourced] in pyproject.toml. The last one of them listens at --port, the others at the
    ports below it, and below these the log of topics, which speaks Kafka's protocol. Journals are in SQLite. All of it
    is kept in .data/dev from one start to the next.

    \b
    sourced dev --servers                          the same on the Kafka and Cassandra of compose.yaml
    KAFKA_BROKERS=kafka://k1:9092 sourced dev      on a Kafka, and journals in SQLite
    JOURNAL_URL=cassandra://c1:9042/db sourced dev with journals there, and topics here
    """
    project = find_project()
    places = Whereabouts(project.root, project.apps, port or _port(project), data and data.absolute())
    given = on_servers(os.environ) if servers else os.environ
    try:
        with only_one(places):
            _empty(places, given, fresh, replay)
            _greet(places, given)
            asyncio.run(Supervision(places, given, click.echo, reload).run())
    except DevError as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename or places.folder}: {error.strerror or error}") from None


def _port(project: Project) -> int:
    """As the table says. Raises `ProjectError`."""
    port = project.table.get("port", PORT)
    if not isinstance(port, int) or not (PORTS.min or 0) <= port <= (PORTS.max or 0):
        raise ProjectError(f"{project.root / FILE}: port in [{TABLE}] is a number from {PORTS.min} to {PORTS.max}")
    return port


def _empty(places: Whereabouts, given: Mapping[str, str], fresh: bool, replay: bool) -> None:
    """Raises `UsageError`, `OSError`."""
    word = "--fresh" if fresh else "--replay" if replay else ""
    if word and (foreign := places.foreign(given)):
        raise click.UsageError(f"{word} empties what is in {relative(places.folder)}, and {foreign[0]} leads elsewhere")
    if fresh:
        forget_everything(places)
    elif replay:
        forget_what_is_derived(places)


def _greet(places: Whereabouts, given: Mapping[str, str]) -> None:
    settings = places.settings(given)
    click.echo("sourced dev: for development and tests only. Nothing is replicated, or guarded.")
    for app, port in places.ports.items():
        click.echo(f"  {app:<28} http://127.0.0.1:{port}")
    kafka = "" if given.get("KAFKA_BROKERS") else "  (a log of topics in this process)"
    click.echo(f"  {'topics':<28} {settings['KAFKA_BROKERS']}{kafka}")
    ours = "as JOURNAL_URL_FILE says" if given.get("JOURNAL_URL_FILE") else "sqlite"
    click.echo(f"  {'journals':<28} {without_login(given.get('JOURNAL_URL', '')) or ours}")
    file = relative(places.folder / ENVIRONMENT)
    click.echo(f"  for faust -A in another terminal: set -a; . {file}; set +a")
