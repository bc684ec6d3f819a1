"""`make test` in three processes: two wait for servers and workers, and a third one computes meanwhile.

Two take files of tests from the front of the line, where those are that start servers and workers and wait for them,
the longest first: of two cores such a test has a quarter or so. The third one takes from its back, where those are that
keep a core busy. They meet among short ones, so that nobody waits long for another in the end. A test that measures how
long something takes is marked `alone`: nothing runs beside its module. Those stand at the very front, so that nobody
waits for a long test of another one.

This is a plugin: `pytest -p tests.side_by_side -n 3`. Without it tests run one after another, in pytest's own order.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

WAITING = ("chaos", "package", "brokers", "browser", "growth", "autonomy", "security", "foreign", "bench", "e2e")
LINE = (*WAITING, "contract", "compatibility", "fuzz", "simulation", "unit")
"""The folders of `tests/` from the front to the back; another one is at the front."""
WHOLE = "tests/chaos/", "tests/brokers/", "tests/package/"
"""The files of each share servers of their own, or a wheel in a venv, so one process runs them all."""

LONG = ("access", "openapi", "tables_exact", "restore", "logs", "registry", "rolling_update", "replay", "quarantine")
"""Files of `tests/e2e` that take a minute and more: they are not begun last."""
COMPUTING = "gw1"
"""The process that takes from the back."""
PROCESSES = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
"""That run tests now and share the machine."""
TABLES = pytest.StashKey[dict[str, list[str]]]()


class FromBothEnds(LoadFileScheduling):
    """Gives the process that computes the last file of the line, and others the next one."""

    def _split_scope(self, nodeid: str) -> str:
        folder = next((folder for folder in WHOLE if nodeid.startswith(folder)), "")
        return folder or str(super()._split_scope(nodeid))

    def _assign_work_unit(self, node: WorkerController) -> None:
        if node.gateway.id == COMPUTING:
            self.workqueue.move_to_end(next(reversed(self.workqueue)), last=False)
        super()._assign_work_unit(node)


def pytest_configure(config: pytest.Config) -> None:
    """Keep the files in the order of the line."""
    config.option.loadscopereorder = False


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> FromBothEnds:
    """Instead of those that xdist brings."""
    return FromBothEnds(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Make the line."""

    def place(item: pytest.Item) -> tuple[bool, int, bool]:
        folder, name = item.nodeid.split("/")[1], item.path.stem.removeprefix("test_")
        is_short = folder != "e2e" or name not in LONG
        return item.get_closest_marker("alone") is None, LINE.index(folder) if folder in LINE else 0, is_short

    items.sort(key=place)


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """Half characters, which tests of strangers' text have in what they show, cannot be sent: they go as they are
    written."""
    return sendable((yield))


def sendable(value: Any) -> Any:
    """The same, with texts that UTF-8 can hold."""
    match value:
        case str():
            return value.encode(errors="backslashreplace").decode()
        case dict():
            return {sendable(key): sendable(one) for key, one in value.items()}
        case list() | tuple():
            return type(value)(map(sendable, value))
        case _:
            return value


def keep_table(config: pytest.Config, title: str, lines: list[str]) -> None:
    """Have a table printed at the end, where tests run in several processes."""
    if (output := getattr(config, "workeroutput", None)) is not None:
        output.setdefault("tables", {})[title] = lines


def pytest_testnodedown(node: WorkerController) -> None:
    """A process has ended, and these are its tables."""
    node.config.stash.setdefault(TABLES, {}).update(getattr(node, "workeroutput", {}).get("tables", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The tables of all processes."""
    for title, lines in config.stash.get(TABLES, {}).items():
        terminalreporter.section(title)
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture(scope="module", autouse=True)
def _beside_others(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let a module that is `alone` be so."""
    folder = tmp_path_factory.getbasetemp().parent  # of the run: each process has its own below
    alone = request.node.get_closest_marker("alone") is not None
    with (folder / "running").open("w") as running:
        with (folder / "next").open("w") as next_:
            # Whoever comes after one that wants to be alone waits behind it.
            fcntl.flock(next_, fcntl.LOCK_EX)
            fcntl.flock(running, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield
