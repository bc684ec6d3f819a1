"""What is said of a class, its fields and its enums, in the place where they are defined.

A class has its docstring, a field the text behind it, or `Annotated[.., msgspec.Meta(description=..)]`, an enum by
`Kind = Literal[..]` the text behind that:

    @dataclass(frozen=True)
    class LineAdded:
        \"""Pieces were added to an open order.\"""

        quantity: int
        \"""Pieces, from 1.\"""
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from dataclasses import fields
from functools import lru_cache
from itertools import pairwise

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+|[0-9]+")


def of_class(class_: type) -> str:
    """The first paragraph of a class's own docstring, in one line; empty for none. That of its base is its base's."""
    said = class_.__dict__.get("__doc__") or ""
    made_by_dataclass = said.startswith(f"{class_.__name__}(")
    return "" if made_by_dataclass else _paragraph(said)


def of_fields(class_: type) -> dict[str, str]:
    """What is said of the fields of a dataclass, those of its bases too, by name."""
    said: dict[str, str] = {}
    for base in reversed(class_.__mro__):
        if base is not object:
            said |= _texts_behind(base)
    for field in fields(class_):
        if text := field.metadata.get("doc") or getattr(field, "doc", None):
            said[field.name] = _paragraph(text)
    return said


def of_name(class_: type, name: str) -> str:
    """What is said of a name, as `Kind`, in the module of a class; empty for nothing."""
    module = sys.modules.get(class_.__module__)
    if module is None:
        return ""
    try:
        source = inspect.getsource(module)
    except (OSError, TypeError):
        return ""
    return _texts_in(source).get(name, "")


def from_words(name: str) -> str:
    """The words of a name as a sentence, for what nobody has said anything of: `unit_price` is `Unit price.`"""
    words = [word if word.isupper() and len(word) > 1 else word.lower() for word in _WORDS.findall(name)]
    text = " ".join(words) or name
    return f"{text[:1].upper()}{text[1:]}."


def _texts_behind(class_: type) -> dict[str, str]:
    try:
        source = textwrap.dedent(inspect.getsource(class_))
    except (OSError, TypeError, IndentationError):  # made by code, not written
        return {}
    return _texts_in(source, inside=True)


@lru_cache(maxsize=1024)
def _texts_in(source: str, inside: bool = False) -> dict[str, str]:
    """The texts behind the assignments of a module, or of the class that is its only statement."""
    try:
        body = ast.parse(source).body
    except SyntaxError:
        return {}
    if inside:
        body = body[0].body if body and isinstance(body[0], ast.ClassDef) else []
    said = {}
    for statement, behind in pairwise(body):
        text = behind.value.value if isinstance(behind, ast.Expr) and isinstance(behind.value, ast.Constant) else None
        if isinstance(text, str) and (name := _assigned(statement)) is not None:
            said[name] = _paragraph(text)
    return said


def _assigned(statement: ast.stmt) -> str | None:
    if isinstance(statement, ast.AnnAssign):
        target: ast.expr = statement.target
    elif isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target = statement.targets[0]
    else:
        target = getattr(statement, "name", None)  # type: ignore[assignment]  # type Kind = .., from Python 3.12 on
    return target.id if isinstance(target, ast.Name) else None


def _paragraph(text: str) -> str:
    return " ".join(inspect.cleandoc(text).split("\n\n")[0].split())
