"""What `sourced new` and `sourced add` write holds as it stands, where there is the wheel and nothing else of ours."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from streams.projects.rendering import MOST
from tests.e2e.client import eventually
from tests.e2e.system import System
from tests.e2e.worker import Worker, free_port
from tests.package.wheel import Elsewhere

SECONDS = 60.0


@pytest.fixture(scope="module")
def project(elsewhere: Elsewhere, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with all that can be added to one."""
    folder = tmp_path_factory.mktemp("projects")
    elsewhere.run("sourced", "new", "orders", cwd=folder)
    made = folder / "orders"
    elsewhere.run("sourced", "add", "aggregate", "gift-card", cwd=made)
    elsewhere.run("sourced", "add", "process", "welcome", "--hears", "order", cwd=made / "orders")
    elsewhere.run("sourced", "add", "projection", "activity", "--of", "gift_card", cwd=made)
    return made


def test_it_holds_as_it_stands(elsewhere: Elsewhere, project: Path) -> None:
    """It is formatted, typed and tested, and its schemas are those of its classes and would break nobody."""
    elsewhere.run("ruff", "check", ".", cwd=project)
    elsewhere.run("ruff", "format", "--check", ".", cwd=project)
    tested = elsewhere.run("python", "-m", "pytest", "-q", "-p", "no:asyncio", cwd=project).stdout
    assert "12 passed" in tested
    assert "nothing to write" in elsewhere.run("sourced", "schemas", "write", "--check", cwd=project).stdout
    assert "nothing would break anybody" in elsewhere.run("sourced", "schemas", "check", cwd=project).stdout
    typed = elsewhere.run("mypy", "--python-executable", elsewhere.python, cwd=project).stdout
    assert "Success: no issues found" in typed


@pytest.mark.parametrize("name", ["a", "until", "abcdefgh_jklmnopq_stuvwx", "x" * MOST])
def test_names_of_any_length(elsewhere: Elsewhere, tmp_path: Path, name: str) -> None:
    """Lines stay as long as they may be, and imports in their order, whatever the names are."""
    zoo, process, projection = (f"{letter}{name}"[:MOST] for letter in "zpq")
    elsewhere.run("sourced", "new", zoo, "--aggregate", name, cwd=tmp_path)
    elsewhere.run("sourced", "add", "process", process, cwd=tmp_path / zoo)
    elsewhere.run("sourced", "add", "projection", projection, cwd=tmp_path / zoo)
    elsewhere.run("ruff", "check", ".", cwd=tmp_path / zoo)
    elsewhere.run("ruff", "format", "--check", ".", cwd=tmp_path / zoo)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("new", "streams"), "there is a module streams already"),
        (("new", "Orders"), "lower case letters and digits"),
        (("new", "class"), "is a word of Python"),
        (("new", "x" * (MOST + 1)), f"{MOST} in all"),
        (("new", "taken"), "is there already"),
        (("add", "aggregate", "order"), "no project in"),
    ],
)
def test_a_name_that_will_not_do(elsewhere: Elsewhere, tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    """It is said in one line, and nothing is written."""
    (tmp_path / "taken").mkdir()
    ended = elsewhere.run("sourced", *arguments, cwd=tmp_path, code=2)
    assert said in ended.stderr
    assert 1 == len(ended.stderr.splitlines())
    assert [tmp_path / "taken"] == list(tmp_path.iterdir())


def test_nothing_is_written_over(elsewhere: Elsewhere, project: Path) -> None:
    """What is added twice, or by a name that is there, is refused, and the files are as they were."""
    before = {path: path.read_bytes() for path in project.rglob("*.py")}
    for arguments in (("aggregate", "order"), ("process", "gift-card"), ("projection", "order"), ("process", "tables")):
        said = elsewhere.run("sourced", "add", *arguments, cwd=project, code=2).stderr
        assert "is there already: nothing is written over" in said
    said = elsewhere.run("sourced", "add", "projection", "more", "--of", "product", cwd=project, code=2).stderr
    assert "there is no aggregate type product in orders: there is order, gift_card" in said
    assert before == {path: path.read_bytes() for path in project.rglob("*.py")}


def test_schemas_become_a_contract(elsewhere: Elsewhere, tmp_path: Path) -> None:
    """A class changes as it likes until its schema is released; then the change is the next version."""
    elsewhere.run("sourced", "new", "boxes", "--aggregate", "box", cwd=tmp_path)
    made = tmp_path / "boxes"
    source, settings = made / "boxes" / "box.py", made / "pyproject.toml"
    schema = made / "boxes" / "schemas" / "box" / "BoxNoted.v1.avsc"
    noted = '    text: str\n    """The note."""\n\n\n@dataclass(frozen=True, slots=True)\nclass BoxClosed'
    assert noted in source.read_text()
    source.write_text(source.read_text().replace(noted, noted.replace("\n\n\n", '\n    by: str = ""\n\n\n', 1)))
    assert "1 to write" in elsewhere.run("sourced", "schemas", "write", "--check", cwd=made, code=1).stdout
    elsewhere.run("sourced", "schemas", "write", cwd=made)
    assert '"name": "by"' in schema.read_text()
    elsewhere.run("sourced", "schemas", "sample", cwd=made)
    elsewhere.run("sourced", "schemas", "lock", cwd=made)
    said = elsewhere.run("sourced", "schemas", "check", cwd=made, code=2).stderr
    assert "take `released = false` out of pyproject.toml" in said
    settings.write_text(settings.read_text().replace("released = false\n", ""))
    elsewhere.run("sourced", "schemas", "check", cwd=made)
    source.write_text(source.read_text().replace('    by: str = ""\n', '    by: str = ""\n    grade: int = 0\n'))
    released = schema.read_bytes()
    told = elsewhere.run("faust", "-A", "boxes.app", "schemas", "write", cwd=made).stdout
    assert "box/BoxNoted.v2.avsc: next version\n    grade is new; v1 reads as 0\n" in told
    assert released == schema.read_bytes()


@pytest_asyncio.fixture
async def system(tmp_path: Path, sqlite_url: str) -> AsyncIterator[System]:
    """A namespace on the real servers, gone in the end."""
    system = System(tmp_path, sqlite_url)
    await system.open()
    yield system
    await system.close()


async def test_it_runs(elsewhere: Elsewhere, project: Path, system: System) -> None:
    """On the real servers a command goes through Kafka to its row, and a process that hears of it notes on it."""
    workers = [start(elsewhere, project, system, module) for module in ("orders.app", "orders.tables")]
    await asyncio.gather(*(system.all_served(worker) for worker in workers))
    write, read = workers

    def send(command: str, data: Any) -> dict[str, Any]:
        faust = ("faust", "-A", write.module, "send", "order", "A-1", command, json.dumps(data))
        return dict(json.loads(elsewhere.run(*faust, cwd=project, env=system.environment()).stdout))

    reply = await asyncio.to_thread(send, "OpenOrder", {"title": "the first"})
    assert ("accepted", ["OrderOpened"]) == (reply["status"], reply["events"])
    row: dict[str, Any] = {}

    async def shown() -> bool:
        status, body, _ = await system.get(read, "/orders/A-1")
        row.clear()
        row.update(body)
        return status == 200 and body["notes"] == ["welcome"]

    await eventually(shown, SECONDS, lambda: f"{row}\n{read.tail()}\n{write.tail()}")
    assert ("the first", "open", 2) == (row["title"], row["status"], row["sequence"])
    status, listed, _ = await system.get(read, "/orders?status=open")
    assert (200, ["A-1"]) == (status, [entry["id"] for entry in listed["orders"]])


def start(elsewhere: Elsewhere, project: Path, system: System, module: str) -> Worker:
    """A worker of the project, from the venv that has the wheel."""
    port, log = free_port(), system.data / f"{module}.log"
    environment = {name: value for name, value in system.environment().items() if name != "PYTHONPATH"}
    faust = [str(elsewhere.python), "-m", "faust", "-A", module, "worker", "--web-port", str(port), "-l", "warn"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*faust, "--datadir", str(system.data / module)],
            cwd=project,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    worker = Worker(module, port, log, project, process)
    system.workers.append(worker)
    return worker
