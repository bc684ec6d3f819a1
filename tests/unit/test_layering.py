"""The arrows between the folders, held by what the files import."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAY_IMPORT = {
    "aggregates": {"aggregates"},
    "schemas": {"schemas", "aggregates"},
    "streams": {"streams", "schemas", "aggregates"},
    "projections": {"projections", "streams", "schemas", "aggregates"},
}
CONTEXTS = {"order": "orders", "product": "products", "user": "users", "email": "users", "checkout": "checkout"}
"""By aggregate type the bounded context that it is part of: its aggregates may know each other, and share an app."""
FILES = [path.relative_to(ROOT) for folder in MAY_IMPORT for path in sorted((ROOT / folder).rglob("*.py"))]


def imports(file: Path) -> Iterator[str]:
    """The modules that a file imports, and the names it takes from them as if they were modules too."""
    package = list(file.with_suffix("").parts[:-1])
    for node in ast.walk(ast.parse((ROOT / file).read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            module = ".".join([*above, *filter(None, [node.module])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def context(parts: tuple[str, ...] | list[str]) -> str | None:
    """The bounded context that `streams.shop.orders` and the like belong to."""
    if len(parts) < 3 or parts[1] != "shop":
        return None
    name = parts[2]
    return CONTEXTS.get(name, name if name in CONTEXTS.values() else None)


@pytest.mark.parametrize("file", FILES, ids=str)
def test_arrows(file: Path) -> None:
    """A folder imports only itself and the folders below it."""
    ours = {name.split(".")[0] for name in imports(file)} & {*MAY_IMPORT, "tests"}
    assert set() == ours - MAY_IMPORT[file.parts[0]]


@pytest.mark.parametrize("file", [file for file in FILES if file.parts[1] != "shop"], ids=str)
def test_engine_knows_no_shop(file: Path) -> None:
    """The engine, which is what lies outside `shop/`, never imports the shop."""
    assert [] == [name for name in imports(file) if "shop" in name.split(".")[:3]]


@pytest.mark.parametrize(
    "file",
    [file for file in FILES if file.parts[0] in ("aggregates", "streams") and context(file.with_suffix("").parts)],
    ids=str,
)
def test_contexts_are_apart(file: Path) -> None:
    """On the write side a context imports none of the others: they talk through topics only."""
    own = context(file.with_suffix("").parts)
    others = {context(name.split(".")) for name in imports(file) if name.split(".")[0] in MAY_IMPORT}
    assert set() == others - {own, None}


@pytest.mark.parametrize("file", [file for file in FILES if file.parts[0] == "aggregates"], ids=str)
def test_domain_is_pure(file: Path) -> None:
    """The domain imports no clock, chance or input and output, and no library beyond the standard one."""
    impure = {"time", "random", "secrets", "uuid", "os", "io", "asyncio", "socket", "faust", "cassandra", "msgspec"}
    assert set() == {name.split(".")[0] for name in imports(file)} & impure
