"""The arrows between the folders, held by what the files import."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest

from streams.journal.cassandra.tables import keyspace_name
from streams.journal.sql.postgres import PostgresAddress
from streams.journal.sql.sqlite import SqliteAddress
from streams.settings import Settings

ROOT = Path(__file__).parents[3]
MAY_IMPORT = {
    "aggregates": {"aggregates"},
    "schemas": {"schemas", "aggregates"},
    "streams": {"streams", "schemas", "aggregates"},
    "projections": {"projections", "streams", "schemas", "aggregates"},
    "sourced": {"sourced", "projections", "streams", "schemas", "aggregates"},
}
ROOMS = """
aggregates
schemas
schemas.release
schemas.drafting
streams.text streams.moments streams.limits streams.slices streams.security.secret
streams.notices
streams.security.access streams.observability.trace_settings
streams.settings
streams.extras
streams.security
streams.concurrency
streams.access
streams.journal
streams.journal.cassandra streams.journal.sql
streams.open_journal
streams.keys.management
streams.keys
streams.kafka.fetching
streams.kafka streams.registry
streams.dev.broker
streams.audit
streams.membership
streams.principals
streams.deciding streams.aggregate_type streams.foreign_type
streams.observability
streams.ownership.intake
streams.ownership streams.verification
streams.processes streams.backup
streams.runtime
streams.web
streams.cli
streams.permissions
streams.served_type
streams.app
streams.timers
streams.projects
streams.dev
projections.projection
projections.stores
projections.stores.local projections.stores.shared
projections.publishing projections.http
projections.applying
projections.routing
projections.streaming
projections.app projections.tail_app
projections.operations
projections.views projections.gateway
projections.timers projections.openapi
projections.console
sourced.testing
"""
"""From the bottom to the top: a room, or a file of a top folder, imports only rooms of lines above its own. Those of
one line know nothing of each other."""
LEVEL = {room: level for level, line in enumerate(ROOMS.split("\n")) for room in line.split()}
MOST_FILES = 13
"""In a folder, beside its `__init__.py`."""
CONTEXTS = {"order": "orders", "product": "products", "user": "users", "email": "users", "checkout": "checkout"}
"""By aggregate type the bounded context that it is part of: its aggregates may know each other, and share an app."""
HTTP_CLIENTS = {"aiohttp", "httpx", "requests", "urllib.request", "http.client", "urllib3", "socket"}
FILES = [path.relative_to(ROOT) for folder in MAY_IMPORT for path in sorted((ROOT / folder).rglob("*.py"))]
KNOWN = set(FILES)


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse((ROOT / file).read_text("utf-8"))


@cache
def imports(file: Path) -> tuple[str, ...]:
    """The modules that a file imports, and the names it takes from them as if they were modules too."""
    package, found = list(file.with_suffix("").parts[:-1]), []
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            module = ".".join([*above, *filter(None, [node.module])])
            found += [f"{module}.{alias.name}" for alias in node.names]
    return tuple(found)


def each(files: Iterable[Path], wrong: Callable[[Path], Collection[Any]]) -> dict[str, Collection[Any]]:
    """By file what is wrong with it; of nothing nothing."""
    return {file.as_posix(): found for file in files if (found := wrong(file))}


def context(parts: tuple[str, ...] | list[str]) -> str | None:
    """The bounded context that `streams.shop.orders` and the like belong to."""
    if len(parts) < 3 or parts[1] != "shop":
        return None
    name = parts[2]
    return CONTEXTS.get(name, name if name in CONTEXTS.values() else None)


@cache
def direct(file: Path) -> frozenset[Path]:
    """What a file imports of this repository."""
    names = [name.split(".") for name in imports(file)]
    paths = {Path(*parts[:end]).with_suffix(".py") for parts in names for end in range(2, len(parts) + 1)}
    return frozenset(paths & KNOWN)


@cache
def reached(file: Path) -> set[Path]:
    """The file, and all of this repository that it imports, directly or not."""
    found, ahead = set[Path](), {file}
    while ahead:
        found.add(at := ahead.pop())
        ahead |= direct(at) - found
    return found


def calls(file: Path, function: str) -> list[ast.Call]:
    """Where a file calls a function of this name."""
    return [
        node
        for node in ast.walk(tree(file))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == function
    ]


APPS = [file for file in FILES if file.parts[:2] == ("streams", "shop") and calls(file, "command_app")]
"""The app of each context of the shop: what a worker of the write side is started with."""


ENGINE = [file for file in FILES if file.parts[1] != "shop"]
"""What lies outside `shop/`. All files are looked at in one test: thousands of tests take a while by their number."""


def test_arrows() -> None:
    """A folder imports only itself and the folders below it."""

    def wrong(file: Path) -> set[str]:
        ours = {name.split(".")[0] for name in imports(file)} & {*MAY_IMPORT, "tests"}
        return ours - MAY_IMPORT[file.parts[0]]

    assert {} == each(FILES, wrong)


def room(module: str) -> str | None:
    """The innermost room that a module stands in."""
    parts = module.split(".")
    return next((name for end in range(len(parts), 0, -1) if (name := ".".join(parts[:end])) in LEVEL), None)


def test_rooms() -> None:
    """Every file stands in a room, and arrows between rooms point one way: also those for type checkers alone."""

    def wrong(file: Path) -> list[str]:
        module = ".".join(file.with_suffix("").parts).removesuffix(".__init__")
        if module in MAY_IMPORT:
            return []
        own = room(module)
        if own is None:
            return ["it stands in no room"]
        rooms = {name: room(name) for name in imports(file)}
        return [name for name, other in rooms.items() if other not in (None, own) and LEVEL[other] >= LEVEL[own]]

    assert {} == each(ENGINE, wrong)


def test_no_room_is_crowded() -> None:
    """A newcomer can look through any folder."""
    files = Counter(file.parent for file in FILES if file.name != "__init__.py")
    assert {} == {folder: count for folder, count in files.items() if count > MOST_FILES}


def test_every_room_says_what_it_is_for() -> None:
    """In the docstring of its `__init__.py`."""
    assert [] == [file for file in FILES if file.name == "__init__.py" and not ast.get_docstring(tree(file))]


def test_no_circle() -> None:
    """Between files, of which each can be understood with what stands below it."""
    TopologicalSorter({file: direct(file) - {file} for file in FILES}).prepare()  # raises `CycleError`, with the circle


def test_engine_knows_no_shop() -> None:
    """The engine, which is what lies outside `shop/`, never imports the shop."""
    assert {} == each(ENGINE, lambda file: [name for name in imports(file) if "shop" in name.split(".")[:3]])


def test_engine_does_not_say_shop() -> None:
    """Nor does it know the word, in names, texts and comments; the examples in docstrings may."""
    scopes = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)

    def wrong(file: Path) -> list[Any]:
        source = (ROOT / file).read_bytes()
        if b"shop" not in source.lower():
            return []
        nodes = ast.walk(tree(file))
        documented = [node.body[0] for node in nodes if isinstance(node, scopes) and ast.get_docstring(node)]
        docstrings = {statement.lineno for statement in documented}
        tokens = tokenize.tokenize(io.BytesIO(source).readline)
        said = [token for token in tokens if "shop" in token.string.lower()]
        return [(token.start, token.string) for token in said if token.start[0] not in docstrings]

    assert {} == each(ENGINE, wrong)


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


def test_every_context_has_an_app() -> None:
    """The lists that these tests go by are complete: each context has one app, each module of the domain a context."""
    assert sorted(set(CONTEXTS.values())) == sorted(file.stem for file in APPS)
    domain = {file for file in FILES if file.parts[:2] == ("aggregates", "shop")}
    assert {"__init__", "values"} == {file.stem for file in domain if context(file.with_suffix("").parts) is None}


@pytest.mark.parametrize("app", APPS, ids=str)
def test_an_app_reaches_no_other_context(app: Path) -> None:
    """What a context's worker imports of the shop, directly or over anything else, is its own.

    `projections` is left out: it is the one door for people, shows what all contexts have published and passes on what
    people ask for. It may know all of them, as none of them knows it.
    """
    shop = {file for file in reached(app) if file.parts[1] == "shop" and file.stem not in ("__init__", "values")}
    assert {app.stem} == {context(file.with_suffix("").parts) for file in shop}
    assert "projections" not in {file.parts[0] for file in reached(app)}


@pytest.mark.parametrize("app", APPS, ids=str)
def test_an_app_reads_no_tables_but_its_own(app: Path) -> None:
    """A journal is opened in one place, by the name that the app gives to `command_app`, which is the context's own;
    no module of the shop that it reaches opens anything itself."""
    [call] = calls(app, "command_app")
    module, name = call.args[:2]
    assert ("__name__", app.stem) == (ast.unparse(module), ast.literal_eval(name))
    opens = {file for file in FILES if calls(file, "open_journal")}
    assert {Path("streams/aggregate_type.py")} == opens
    [opened] = calls(Path("streams/aggregate_type.py"), "open_journal")
    assert "self.name" == ast.unparse(opened.args[2])
    stores = {"cassandra", "sqlite3", "aiosqlite", "asyncpg", "sqlalchemy", "rocksdict"}
    shop = [file for file in reached(app) if file.parts[1] == "shop"]
    assert set() == {name.split(".")[0] for file in shop for name in imports(file)} & stores
    journals = {name for file in shop for name in imports(file) if "journal" in name}
    assert set() == journals


@pytest.mark.parametrize(
    "place",
    [
        lambda context: keyspace_name("", "shop", context),
        lambda context: PostgresAddress.parse("postgresql://h/shop", "", context),
        lambda context: SqliteAddress.parse("sqlite:///shop.db", "", context),
    ],
    ids=["cassandra", "postgresql", "sqlite"],
)
def test_contexts_keep_their_tables_apart(place: Callable[[str], Any]) -> None:
    """Two contexts never share a keyspace, a schema or a file."""
    places = [place(context) for context in set(CONTEXTS.values())]
    assert [] == [place for place in places if places.count(place) > 1]


@pytest.mark.parametrize("app", APPS, ids=str)
def test_an_app_knows_no_address(app: Path) -> None:
    """No module of the shop that a context's worker runs can call anything: it imports no client of HTTP, and holds no
    address."""
    for file in (file for file in reached(app) if file.parts[1] == "shop"):
        names = {".".join(name.split(".")[:end]) for name in imports(file) for end in (1, 2)}
        assert set() == names & HTTP_CLIENTS
        texts = [it.value for it in ast.walk(tree(file)) if isinstance(it, ast.Constant)]
        assert [] == [text for text in texts if isinstance(text, str) and "://" in text]


CLIENTS = re.compile(r"AIOKafka(Client|Producer|Consumer|AdminClient)|create_conn")
TOOLS = [path.relative_to(ROOT) for folder in ("servers", "examples") for path in (ROOT / folder).rglob("*.py")]


def test_one_place_makes_clients_of_kafka() -> None:
    """How brokers are spoken to is known there alone; and below each consumer is the net of `streams.kafka.records`."""

    def wrong(file: Path) -> list[int | str]:
        found: list[int | str] = [
            node.lineno
            for node in ast.walk(tree(file))
            if file.as_posix() != "streams/kafka/client_factory.py"
            and isinstance(node, ast.Call)
            and CLIENTS.fullmatch(getattr(node.func, "id", None) or getattr(node.func, "attr", ""))
        ]
        if file.name != "records.py" and "aiokafka.AIOKafkaConsumer" in imports(file):
            found.append("aiokafka.AIOKafkaConsumer")
        return found

    assert {} == each([*FILES, *TOOLS], wrong)


def test_one_module_knows_opentelemetry() -> None:
    """And nobody imports that one by its name: a worker without the extra never needs it."""
    known = each(FILES, lambda file: [name for name in imports(file) if name.split(".")[0] == "opentelemetry"])
    assert {"streams/observability/otlp.py"} == known.keys()
    by_name = each(
        FILES, lambda file: [name for name in imports(file) if name.startswith("streams.observability.otlp")]
    )
    assert {} == by_name


def test_settings_name_servers_only() -> None:
    """The addresses that a worker is given are those of Kafka, of databases and of the schema registry, which none of
    the services is."""
    addresses = {name for name in Settings.__dataclass_fields__ if re.search("url|address|host|broker|server", name)}
    # By which others call this worker, and where a browser finds traces: it asks nobody there.
    addresses -= {"http_allowed_hosts", "traces_url"}
    assert {
        "kafka_brokers",
        "journal_url",
        "read_model_url",
        "schema_registry_url",
        "kafka_oauth_token_url",
        "keys_url",
    } == addresses
    defaults = (str(field.default) for field in Settings.__dataclass_fields__.values())
    assert {"kafka://127.0.0.1:9092", "cassandra://127.0.0.1:9042/sourced"} == {
        text for text in defaults if "://" in text
    }


@pytest.mark.parametrize("file", [file for file in FILES if file.parts[0] == "aggregates"], ids=str)
def test_domain_is_pure(file: Path) -> None:
    """The domain imports no clock, chance or input and output, and no library beyond the standard one."""
    impure = {"time", "random", "secrets", "uuid", "os", "io", "asyncio", "socket", "faust", "cassandra", "msgspec"}
    assert set() == {name.split(".")[0] for name in imports(file)} & impure
