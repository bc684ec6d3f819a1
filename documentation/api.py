"""The public names of the packages as pages, with what their docstrings say: read by griffe, and nothing is imported.

Public is what `__all__` of a package names, and of a class what has no underscore in front: docs/compatibility.md.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import griffe

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "aggregates": "the domain: deciders and process managers",
    "schemas": "what is stored and sent, and its versions",
    "streams": "the write side",
    "projections": "the read side",
    "sourced.testing": "the testing kit",
}
"""By name what a package is for."""
STARS = {griffe.ParameterKind.var_positional: "*", griffe.ParameterKind.var_keyword: "**"}
MADE = "Made of the code by `make docs`; do not edit.\n"


def pages() -> dict[str, str]:
    """A page for each package, by its name beside those of `docs/`."""
    return {f"reference/api-{package.replace('.', '-')}.md": page(package) for package in PACKAGES}


def page(package: str) -> str:
    """All public names of a package, sorted."""
    module = read(package)
    parts = [f"# {package}: {PACKAGES[package]}\n\n{MADE}\n{text(module)}\n"]
    for name in sorted(str(name).strip("'\"") for name in module.exports or ()):
        parts += of_name(name, package)
    return "\n".join(parts)


@cache
def read(module: str) -> griffe.Module:
    """What one file says: of a package its `__init__.py`."""
    path = ROOT.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return griffe.visit(module, filepath=file, code=file.read_text("utf-8"))


def of_name(name: str, package: str) -> Iterator[str]:
    """One name: where it is to be imported from, how it is called, and what it says of itself."""
    found = target(name, package)
    yield f"## {name}\n\n```python\nfrom {package} import {name}\n```\n"
    if isinstance(found, griffe.Class):
        yield from of_class(found)
    elif isinstance(found, griffe.Function):
        yield f"```python\n{signature(found)}\n```\n"
        yield text(found) + "\n"
    else:
        value = getattr(found, "value", None)
        if value is not None and len(str(value)) < 100:
            yield f"```python\n{name} = {value}\n```\n"
        yield text(found) + "\n"


def target(name: str, module: str) -> griffe.Object:
    """What stands behind a public name, also where the package imports it when it is used."""
    found = read(module).members[name]
    while isinstance(found, griffe.Alias):
        module, _, name = found.target_path.rpartition(".")
        found = read(module).members[name]
    return found


def of_class(class_: griffe.Class) -> Iterator[str]:
    """Its fields or how it is made, what it says, and its members."""
    bases = ", ".join(str(base) for base in class_.bases if str(base) not in ("object",))
    fields = [member for member in own(class_) if isinstance(member, griffe.Attribute) and is_field(member)]
    made = class_.members.get("__init__")
    lines = [f"class {class_.name}{f'({bases})' if bases else ''}:"]
    lines += [f"    {field.name}: {field.annotation}{default(field)}" for field in fields]
    if isinstance(made, griffe.Function):
        lines.append(f"    {signature(made)}")
    yield "```python\n" + "\n".join(lines if len(lines) > 1 else [f"{lines[0]} ..."]) + "\n```\n"
    yield text(class_) + "\n"
    for member in own(class_):
        said = text(member)
        if isinstance(member, griffe.Function):
            yield f"**`{signature(member)}`**\n\n{said}\n"
        elif said:
            yield f"**`{member.name}`**\n\n{said}\n"


def is_field(member: griffe.Attribute) -> bool:
    """Whether it is given when one is made."""
    return member.annotation is not None and "property" not in member.labels


def own(class_: griffe.Class) -> list[griffe.Object]:
    """Its public members, in the order of the source."""
    members = [member for name, member in class_.members.items() if not name.startswith("_")]
    found = [member for member in members if isinstance(member, griffe.Object) and "property" not in member.labels]
    return found + [member for member in members if isinstance(member, griffe.Object) and "property" in member.labels]


def signature(function: griffe.Function) -> str:
    """As it is written, without the instance."""
    shown, seen_star = [], False
    for parameter in function.parameters:
        if parameter.name in ("self", "cls"):
            continue
        kind = parameter.kind
        star = STARS.get(kind, "") if kind else ""
        if kind is griffe.ParameterKind.keyword_only and not seen_star:
            shown.append("*")
        seen_star = seen_star or kind in (griffe.ParameterKind.keyword_only, griffe.ParameterKind.var_positional)
        annotation = f": {parameter.annotation}" if parameter.annotation is not None else ""
        value = "" if parameter.default is None or star else f" = {parameter.default}"
        shown.append(f"{star}{parameter.name}{annotation}{value}")
    result = f" -> {function.returns}" if function.returns is not None and function.name != "__init__" else ""
    return f"{function.name}({', '.join(shown)}){result}"


def default(field: griffe.Attribute) -> str:
    """Its default, where it is short."""
    value = str(field.value) if field.value is not None else ""
    return f" = {value}" if value and len(value) < 40 else ""


def text(found: griffe.Object | griffe.Alias) -> str:
    """Its docstring, of which what stands in columns stays so."""
    said = inspect.cleandoc(found.docstring.value) if found.docstring else ""
    paragraphs = re.split(r"\n\s*\n", said)
    return "\n\n".join(f"```text\n{it}\n```" if in_columns(it) else it for it in paragraphs)


def in_columns(paragraph: str) -> bool:
    """Whether its lines are a table, or code, as `name   what it is` is one."""
    lines = paragraph.splitlines()
    return bool(lines) and all(re.match(r"\S.*?\S? {2,}\S| {2,}\S", line) for line in lines)
