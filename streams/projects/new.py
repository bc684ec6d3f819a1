"""`sourced new` and `sourced add`: a project of one's own, and more aggregates, processes and projections in one."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import click

from aggregates.process_manager import ProcessManager
from schemas.drafting.plan import plan
from schemas.registry import SchemaError
from streams.projects.project import Project, ProjectError, find_project
from streams.projects.rendering import add_line, camel, check_free, identifier, template, write, write_all
from streams.projects.rendering import rendered as fill


@click.command()
@click.argument("name")
@click.option("--aggregate", metavar="NAME", help="The aggregate that it begins with; else NAME without its s.")
def new(name: str, aggregate: str | None) -> None:
    """Write a project into the folder NAME: a context with an aggregate, its schemas, rows, a list, and tests.

    \b
    sourced new orders
    sourced new clinic --aggregate calendar

    Exit code: 2 when a name cannot be used, or the folder is there.
    """
    package = identifier(name, "the name")
    check_free(package)
    root = Path.cwd() / name
    if root.exists():
        raise ProjectError(f"{root} is there already: nothing is written over")
    type_ = identifier(aggregate or _singular(package), "the aggregate")
    write_all(template("project"), root, {"name": name, "package": package, **_names("aggregate", type_)})
    _add_aggregate(Project(root, (f"{package}.app",), {}), package, type_)
    click.echo(f"{name}: `cd {name} && pytest -q`, then as its README.md says")


@click.group()
def add() -> None:
    """Add an aggregate, a process manager or a projection to the project of this folder."""


@add.command()
@click.argument("name")
def aggregate(name: str) -> None:
    """An aggregate type: what it decides, its schemas, a row each and a list of them, and tests."""
    project, package = _here()
    _add_aggregate(project, package, identifier(name, "the aggregate"))
    click.echo(f"{package}/{identifier(name, 'the aggregate')}.py: an aggregate to begin with")


@add.command()
@click.argument("name")
@click.option("--hears", metavar="TYPE", help="The aggregate type that it hears, as `sourced add aggregate` writes it.")
def process(name: str, hears: str | None) -> None:
    """A process manager, which hears the events of one aggregate type and sends commands, and its tests."""
    project, package = _here()
    made, heard = identifier(name, "the process"), _type(project, package, hears)
    names = {"package": package, **_names("process", made), **_names("aggregate", heard)}
    _write(
        project, package, template("process"), {"process.py": f"{made}.py", "test_process.py": f"test_{made}.py"}, names
    )
    add_line(project.root / package / "context.py", package, f"from {package}.{made} import {made}", "KINDS", made)
    _write_schemas(project, package, made)
    click.echo(f"{package}/{made}.py: hears {heard}, to begin with")


@add.command()
@click.argument("name")
@click.option("--of", metavar="TYPE", help="The aggregate type whose events it folds; else the first one.")
def projection(name: str, of: str | None) -> None:
    """A projection with rows of its own, what can be asked of it, and its tests."""
    project, package = _here()
    made, source = identifier(name, "the projection"), _type(project, package, of)
    names = {"package": package, "projection": made, **_names("aggregate", source)}
    wanted = {"projection.py": f"{made}.py", "test_projection.py": f"test_{made}.py"}
    _write(project, package, template("projection"), wanted, names)
    add_line(project.root / package / "tables.py", package, f"import {package}.{made}", "READ", f"{package}.{made}")
    click.echo(f"{package}/{made}.py: folds the events of {source}, to begin with")


def _add_aggregate(project: Project, package: str, type_: str) -> None:
    names = {"package": package, **_names("aggregate", type_)}
    wanted = {
        "aggregate.py": f"{type_}.py",
        "rows.py": f"{type_}_rows.py",
        "test_aggregate.py": f"test_{type_}.py",
        "test_rows.py": f"test_{type_}_rows.py",
    }
    _write(project, package, template("aggregate"), wanted, names)
    folder, rows = project.root / package, f"{package}.{type_}_rows"
    add_line(folder / "context.py", package, f"from {package}.{type_} import {type_}", "KINDS", type_)
    add_line(folder / "tables.py", package, f"import {rows}", "READ", rows)
    _write_schemas(project, package, type_)


def _write(project: Project, package: str, source: Any, wanted: dict[str, str], names: dict[str, str]) -> None:
    """Write templates under their names: tests into `tests`, all others into the package."""
    texts = {}
    for entry, name in wanted.items():
        folder = project.root / ("tests" if name.startswith("test_") else package)
        texts[folder / name] = fill(source.joinpath(f"{entry}.txt"), names)
    if there := [path for path in texts if path.exists()]:
        raise ProjectError(f"{there[0]} is there already: nothing is written over")
    for path, text in texts.items():
        write(path, text)


def _write_schemas(project: Project, package: str, name: str) -> None:
    """The schemas of a new aggregate or process, made from its classes."""
    project.importable()
    kind = getattr(import_module(f"{package}.{name}"), name)
    decider = kind.decider if isinstance(kind, ProcessManager) else kind
    try:
        plan(decider, project.root / package / "schemas").write()
    except SchemaError as error:
        raise ProjectError(str(error)) from None


def _here() -> tuple[Project, str]:
    """The project of this folder and its package, that of its first app."""
    project = find_project()
    package = project.apps[0].partition(".")[0]
    if not (project.root / package / "context.py").is_file():
        raise ProjectError(f"{project.root / package} has no context.py, as `sourced new` writes it: add by hand")
    return project, package


def _type(project: Project, package: str, wanted: str | None) -> str:
    """An aggregate type of the project, by default the first one."""
    project.importable()
    kinds = import_module(f"{package}.context").KINDS
    types = [kind.type for kind in kinds if not isinstance(kind, ProcessManager)]
    if wanted is not None and wanted not in types:
        raise ProjectError(f"there is no aggregate type {wanted} in {package}: there is {', '.join(types)}")
    if not types:
        raise ProjectError(f"{package} has no aggregate type yet: `sourced add aggregate NAME`")
    return wanted or str(types[0])


def _names(what: str, name: str) -> dict[str, str]:
    words = name.replace("_", " ")
    article = "an" if words[0] in "aeiou" else "a"
    phrases = {f"an_{what}": f"{article} {words}", f"An_{what}": f"{article.capitalize()} {words}"}
    return {what: name, what.capitalize(): camel(name), **phrases}


def _singular(name: str) -> str:
    return name[:-1] if len(name) > 2 and name.endswith("s") and not name.endswith("ss") else name
