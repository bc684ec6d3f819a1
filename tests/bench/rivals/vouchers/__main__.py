"""`python -m tests.bench.rivals.vouchers` counts lines and files by hand of one aggregate, here and with others.

The aggregate is the voucher of `docs/start.md`: its rules, their tests, kept durably as far as the library can, and
HTTP. `--write` puts the table into `docs/comparison.md`; `--run` installs each library in a venv of its own, runs the
tests of its program, starts it, and asks it the same questions.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from tests.e2e.worker import free_port
from tests.pages import Step, steps

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[4]
PAGE = ROOT / "docs" / "comparison.md"
BEGIN, END = "<!-- counted -->\n", "<!-- end -->\n"
PARTS = ("rules", "rows", "tests", "HTTP, wiring", "schemas")
SECONDS = 60.0


@dataclass
class Counted:
    """Of one way: the lines by hand of each part that are not empty, and in how many files."""

    name: str
    files: int = 0
    lines: dict[str, int] = field(default_factory=dict)

    def add(self, part: str, text: str) -> None:
        """Lines of a part."""
        self.lines[part] = self.lines.get(part, 0) + sum(1 for line in text.splitlines() if line.strip())

    @property
    def row(self) -> str:
        """In the table."""
        cells = [str(self.lines.get(part, 0) or "-") for part in PARTS]
        return f"| {self.name} | {self.files} | {' | '.join(cells)} | **{sum(self.lines.values())}** |"


def counted() -> list[Counted]:
    """All ways, ours first."""
    return [
        page("here, as in [five minutes](start.md)", "start.md"),
        library("eventsourcing 9.5, Flask", "with_eventsourcing"),
        library("protean 0.18, FastAPI", "with_protean"),
        page("here, all of it [by hand](new-aggregate.md)", "new-aggregate.md"),
    ]


def page(name: str, file: str) -> Counted:
    """What a page of the documentation has its reader write, up to the second version of an event."""
    found = Counted(name)
    for step in written(file):
        found.files += 1
        found.add(part_of(step.file), step.text)
    return found


def written(file: str) -> Iterator[Step]:
    """The files that a page has its reader write."""
    all_steps = steps((ROOT / "docs" / file).read_text("utf-8"))
    return (step for step in takewhile(lambda step: ".v2." not in step.file, all_steps) if step.kind == "file")


def part_of(file: str) -> str:
    """What a file of ours is for."""
    name = Path(file).name
    if name.endswith(".avsc"):
        return "schemas"
    if name.startswith("test_"):
        return "tests"
    if name in ("table.py", "voucher_rows.py"):
        return "rows"
    return "rules" if name == "voucher.py" else "HTTP, wiring"


def library(name: str, folder: str) -> Counted:
    """A program of this folder."""
    found = Counted(name)
    for file in sorted((HERE / folder).glob("*.py")):
        found.files += 1
        rules, rows, more = file.read_text("utf-8").partition("@domain.projection\n")
        kind = {"api.py": "HTTP, wiring", "test_vouchers.py": "tests"}.get(file.name, "rules")
        found.add(kind, rules)
        if more:
            found.add("rows", rows + more)
    return found


def table() -> str:
    """All of it as a table."""
    head = f"| | files | {' | '.join(PARTS)} | lines |\n|---|{'---|' * (len(PARTS) + 2)}\n"
    return head + "\n".join(way.row for way in counted()) + "\n"


def on_page(text: str) -> str:
    """What stands between the marks of the page."""
    return text.partition(BEGIN)[2].partition(END)[0]


# -- they run ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rival:
    """A program of this folder: what pip installs for it, and how it is started at a port."""

    folder: str
    needs: tuple[str, ...]
    command: Callable[[int], list[str]]
    settings: dict[str, str]


RIVALS = (
    Rival(
        "with_eventsourcing",
        ("eventsourcing>=9.5,<10", "flask>=3,<4", "pytest"),
        lambda port: ["-m", "flask", "--app", "api", "run", "--port", str(port)],
        {"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": "vouchers.db"},
    ),
    Rival(
        "with_protean",
        ("protean==0.18.0", "fastapi", "uvicorn", "pytest"),
        lambda port: ["-m", "uvicorn", "api:app", "--port", str(port), "--log-level", "warning"],
        {},
    ),
)
QUESTIONS: list[tuple[str, Any]] = [
    ("issued", {"type": "IssueVoucher", "data": {"amount": "25.00"}}),
    ("redeemed", {"type": "RedeemVoucher", "data": {"order_id": "A-1", "amount": "10.00"}}),
    ("the same again", {"type": "RedeemVoucher", "data": {"order_id": "A-1", "amount": "10.00"}}),
    ("more than is left", {"type": "RedeemVoucher", "data": {"order_id": "A-2", "amount": "16.00"}}),
    ("seen", None),
]


def run(rival: Rival, folder: Path) -> Iterator[str]:
    """Install, test, start and ask a program; a line for each."""
    began = time.monotonic()
    venv.create(folder / "venv", with_pip=True)
    python = str(folder / "venv" / "bin" / "python")
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *rival.needs]
    subprocess.run(install, check=True, timeout=600)
    versions = subprocess.run([python, "-m", "pip", "freeze"], check=True, capture_output=True, text=True).stdout
    name = rival.folder.removeprefix("with_")
    version = re.search(rf"^{name}==(\S+)$", versions, re.MULTILINE | re.IGNORECASE)
    yield f"{name} {version[1] if version else '?'}: installed in {time.monotonic() - began:.0f} s"
    seen = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"PYTHONPATH": "."}
    here = shutil.copytree(HERE / rival.folder, folder / "program")
    pytest = [python, "-m", "pytest", "-q"]
    tested = subprocess.run(pytest, cwd=here, env=seen, capture_output=True, text=True, check=False)
    yield f"  tests: {tested.stdout.strip().splitlines()[-1] if tested.stdout.strip() else tested.stderr}"
    assert tested.returncode == 0, tested.stdout + tested.stderr
    port = free_port()
    settings = seen | rival.settings | {"PYTHONPATH": str(here)}
    command = [python, *rival.command(port)]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT}
    server = subprocess.Popen(command, cwd=folder, env=settings, **silent)
    try:
        for what, body in QUESTIONS:
            yield f"  {what}: {ask(f'http://127.0.0.1:{port}', body)}"
    finally:
        server.terminate()
        server.wait()


def ask(url: str, body: Any) -> str:
    """What a program answers, asked again for as long as it does not listen yet."""
    until = time.monotonic() + SECONDS
    path = "/vouchers/V-1" if body is None else "/vouchers/V-1/commands"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url + path, data, {"Content-Type": "application/json"})
    while True:
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return f"{answer.status} {' '.join(answer.read().decode().split())}"
        except HTTPError as error:
            return f"{error.code} {' '.join(error.read().decode().split())}"
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


def main() -> int:
    """Count, and run what is to run."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.rivals.vouchers", description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the table into docs/comparison.md")
    parser.add_argument("--run", action="store_true", help="install, test, start and ask the programs")
    options = parser.parse_args()
    print(table(), end="")
    if options.write:
        before, begin, rest = PAGE.read_text("utf-8").partition(BEGIN)
        _, end, behind = rest.partition(END)
        PAGE.write_text(f"{before}{begin}{table()}{end}{behind}", "utf-8")
    for rival in RIVALS if options.run else ():
        with tempfile.TemporaryDirectory() as folder:
            for line in run(rival, Path(folder)):
                print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
