"""What is wrong with a new aggregate or its wiring is said before anything runs, with what to do about it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from aggregates.decider import Decider
from projections.app import ReadSide
from projections.gateway.gateway import add_gateway
from projections.openapi.document import document
from projections.openapi.view import routes_of
from projections.operations.operations import add_operations
from projections.projection import Projection
from projections.stores.declaration import Indexes, Table
from projections.views.by_key import add_by_key
from projections.views.history import add_history
from projections.views.listing import ListOfRows
from projections.views.lists import add_list
from schemas.registry import SchemaError
from streams.aggregate_type import AggregateType
from streams.foreign_type import ForeignType
from streams.runtime.application import Application
from streams.runtime.web_server import MOST_CONNECTIONS, Runner
from streams.settings import Settings
from streams.web.health import add_health

SETTINGS = Settings(journal_url="memory://")


@dataclass(frozen=True)
class Ring:
    times: int


@dataclass(frozen=True)
class Rung:
    times: int


@dataclass(frozen=True)
class State:
    times: int = 0


def decide(command: Ring, state: State) -> list[Rung]:
    return [Rung(command.times)]


def evolve(state: State, event: Rung) -> State:
    return State(state.times + event.times)


bell = Decider("bell", State(), decide, evolve)


def unannotated(command, state):  # type: ignore[no-untyped-def]
    return []


def misspelt(command: Rng, state: State) -> list[Rung]:  # type: ignore[name-defined]  # noqa: F821
    return []


def plain(state: State, event: int) -> State:
    return state


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose schemas are right, in which one works."""
    monkeypatch.chdir(tmp_path)
    for name in ("Ring", "Rung"):
        write(tmp_path, name)
    return tmp_path


def write(folder: Path, name: str, field: str = "times", type: Any = "long") -> None:
    """A schema of one field."""
    (folder / "bell").mkdir(exist_ok=True)
    fields = [{"name": field, "type": type, "doc": "?"}]
    schema = {"type": "record", "name": name, "namespace": "shop.bell", "doc": "?", "fields": fields}
    (folder / "bell" / f"{name}.v1.avsc").write_bytes(msgspec.json.encode(schema))


def context(folder: Path, decider: Decider[Any, Any, Any] = bell) -> AggregateType:
    return AggregateType("bells", decider, SETTINGS, folder)


def test_all_is_right(folder: Path) -> None:
    """A decider whose schemas say what its classes say is taken."""
    assert ["Rung"] == [schema.name for schema in context(folder).event_schemas]


def test_a_schema_is_missing(folder: Path) -> None:
    """Its file is named."""
    (folder / "bell" / "Rung.v1.avsc").unlink()
    with pytest.raises(SchemaError, match=r"^no schema of Rung: add bell/Rung\.v1\.avsc$"):
        context(folder)


@pytest.mark.parametrize(
    ("field", "type", "says"),
    [
        (
            "time",
            "long",
            r"^bell/Rung\.v1\.avsc: the class Rung has the fields times, this schema has the fields time\n",
        ),
        (
            "times",
            "string",
            r"^bell/Rung\.v1\.avsc: the class Rung does not hold what this schema says: Expected `int`",
        ),
        ("times", "number", r"^bell/Rung\.v1\.avsc: not an Avro schema: there is no type shop\.bell\.number"),
    ],
    ids=["another field", "another type", "no type"],
)
def test_a_schema_says_something_else(folder: Path, field: str, type: str, says: str) -> None:
    """Than the class: an event could not be written, or would lose a field, so nothing starts."""
    write(folder, "Rung", field, type)
    with pytest.raises(SchemaError, match=says):
        context(folder)


def test_a_state_that_no_snapshot_holds(folder: Path) -> None:
    """Is found before the first snapshot is made."""
    with pytest.raises(SchemaError, match="the state of bell is to be a dataclass"):
        context(folder, Decider("bell", object(), decide, evolve))


@pytest.mark.parametrize(
    ("decider", "says"),
    [
        (Decider("bell", State(), unannotated, evolve), "unannotated of .* has no argument command with the union"),
        (Decider("bell", State(), misspelt, evolve), "misspelt of .* name 'Rng' is not defined: say there which"),
        (Decider("bell", State(), decide, plain), "plain of .* event may be .*int.*, which is no dataclass"),
    ],
    ids=["no annotation", "no such class", "no dataclass"],
)
def test_classes_that_cannot_be_found(folder: Path, decider: Decider[Any, Any, Any], says: str) -> None:
    """The function and its module are named."""
    with pytest.raises(TypeError, match=says):
        context(folder, decider)


def test_wiring_of_the_tables(folder: Path) -> None:
    """A projection of a type that is not there, a context under another name and a view of no table are refused."""
    bells = Table(Projection("bells", 1, "bell", lambda row, key, published: {}))
    with pytest.raises(ValueError, match="the projection bells reads bell; the contexts here are none"):
        ReadSide("tests", SETTINGS, {}, [bells])
    with pytest.raises(ValueError, match="the context of bell stands under 'bells'"):
        ReadSide("tests", SETTINGS, {"bells": context(folder)}, [bells])
    with pytest.raises(ValueError, match="keeps at least one"):
        ReadSide("tests", SETTINGS, {"bell": context(folder)}, [])
    theirs = ForeignType("bell", SETTINGS, folder, ["Rung"])
    with pytest.raises(ValueError, match="an app of topics alone has a name of its own"):
        ReadSide("tests", SETTINGS, {}, [bells], foreign=[theirs])
    with pytest.raises(ValueError, match="is foreign, or its context is here"):
        ReadSide("tests", SETTINGS, {"bell": context(folder)}, [bells], foreign=[theirs])
    side = ReadSide("tests", SETTINGS, {}, [bells], name="bell-elsewhere", foreign=[theirs])
    with pytest.raises(ValueError, match="there is no journal of bell here"):
        add_history(side, "bell")
    add_by_key(side, "bell", "bells")
    assert "/bells/{id}" in document("Bells", "1", "Bells", routes_of(side.app), side.contexts)["paths"]
    side = ReadSide("tests", SETTINGS, {"bell": context(folder)}, [bells], name="bell-tables")
    with pytest.raises(
        ValueError, match="a view of bell wants the projection bell; those of bell in RocksDB are bells"
    ):
        side.local_rows("bell", "bell")
    assert side.local["bell"] is side.local_rows("bell", "bells")
    parts = Table(Projection("parts", 1, "bell", lambda row, key, published: {}, local=True))
    side = ReadSide("tests", SETTINGS, {"bell": context(folder)}, [parts], name="bell-parts")
    with pytest.raises(ValueError, match="a view by key wants a row for each bell; parts is local"):
        add_by_key(side, "bell", "parts")


@pytest.mark.parametrize(
    ("how", "has"),
    [
        (Indexes({"tone": lambda row: row["tone"]}), r"\{'tone'\}, changes=False"),
        (Indexes({"other": lambda row: row["tone"]}, changes=True), r"\{'other'\}, changes=True"),
        (Indexes(changes=True), r"\{\}, changes=True"),
    ],
)
def test_a_list_of_a_table_without_its_indexes(folder: Path, how: Indexes, has: str) -> None:
    """It would be empty for ever, or nobody would hear of a change: it is refused when it is declared."""
    bells = Table(Projection("bells", 1, "bell", lambda row, key, published: {}), how)
    side = ReadSide("tests", SETTINGS, {"bell": context(folder)}, [bells], name="bell-lists")
    says = rf"the list of bell wants an index 'tone' and changes=True; the table bells has Indexes\({has}\)"
    with pytest.raises(ValueError, match=says):
        add_list(side, ListOfRows("bell", "bells", "tone", ("high", "low"), lambda row: row))


def test_apps_of_tables_are_apart(folder: Path) -> None:
    """Each has a group, changelogs, orders and dead letters of its own, named by it."""
    kept = [Table(Projection("bells", 1, "bell", lambda row, key, published: {}))]
    contexts = {"bell": context(folder)}
    names = {
        (it.app.conf.id, it.local["bell"].changelog, it.control_topic.name, it.dead_letters_topic)
        for it in (ReadSide("a", SETTINGS, contexts, kept), ReadSide("b", SETTINGS, contexts, kept, name="bell-tables"))
    }
    assert {
        ("projections", "projections-bell-rows-changelog", "projections-control", "projections-dead-letters"),
        ("bell-tables", "bell-tables-bell-rows-changelog", "bell-tables-control", "bell-tables-dead-letters"),
    } == names


@pytest.mark.parametrize("namespace", ["", "a_"])
def test_folder_of_the_gateway(folder: Path, namespace: str) -> None:
    """What became of commands is kept in the folder that the worker is given when it starts, apart from that of another
    system that is given the same one; nothing is written where the worker happens to be started."""
    settings = replace(SETTINGS, namespace=namespace)
    bells = Table(Projection("bells", 1, "bell", lambda row, key, published: {}))
    side = ReadSide("tests", settings, {"bell": context(folder)}, [bells])
    commands = add_gateway(side, {"bell": {}})._replies.commands
    side.app.conf.datadir = folder / "given"  # as `--datadir` does, after the app is made
    before = sorted(folder.iterdir())
    commands.open("topic")
    commands.close()
    assert [f"{namespace}commands.sqlite"] == [path.name for path in (folder / "given").glob("*.sqlite")]
    assert sorted([*before, folder / "given"]) == sorted(folder.iterdir())


async def test_every_app_has_the_door(folder: Path) -> None:
    """Of a worker of commands as of one of tables: who may ask is checked, what a worker asks is to be signed, and its
    connections are bounded."""
    bells = Table(Projection("bells", 1, "bell", lambda row, key, published: {}))
    settings = replace(SETTINGS, http_allowed_hosts="door.example, gate:1", http_allowed_origins="https://a.example")
    side = ReadSide("tests", settings, {"bell": context(folder)}, [bells])
    add_operations(side)
    commands = Application("tests", "bells", settings)
    add_health(commands)
    for app in (commands, side.app):
        app.web.init_server()
        await app.web._runner.setup()
        await web.TCPSite(app.web._runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{app.web._runner.addresses[0][1]}"

        async def status(method: str, path: str, url: str = url, **headers: str) -> int:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            async with aiohttp.request(method, url + path, headers=named) as response:
                return response.status

        try:
            assert 503 == await status("GET", "/health/ready", Host="10.0.0.7:6066")
            assert 200 == await status("GET", "/health/live", Host="evil.example")
            assert 421 == await status("GET", "/", Host="evil.example")
            assert 200 == await status("GET", "/", Host="door.example")
            assert 421 == await status("GET", "/", Host="gate:2")
            assert 415 == await status("POST", "/health/live")
            json = {"Content_Type": "application/json"}
            assert 403 == await status("POST", "/health/live", **json, Origin="http://evil.example")
            assert 405 == await status("POST", "/health/live", **json, Origin="https://a.example")
            if app is side.app:
                pause = "/projections/bells/pause"
                assert 415 == await status("POST", pause, Content_Type="text/plain")
                assert 403 == await status("POST", pause, **json, Sec_Fetch_Site="cross-site")
                assert 503 == await status("POST", pause, **json), "it has not started, and cannot write it down"
                assert 403 == await status("POST", pause + "?offset=0&skipped=", **json, X_Hop="1")
                assert 403 == await status("GET", "/projections?of=bells", X_Hop="1")
                assert 403 == await status("GET", "/switching?of=bells")
                assert 403 == await status("GET", "/applied/bell-0/1?seconds=60")
            assert isinstance(app.web._runner, Runner)
            assert app.web.connections.most <= MOST_CONNECTIONS
        finally:
            await app.web._runner.cleanup()
