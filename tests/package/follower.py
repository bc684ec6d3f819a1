"""Somebody who types what pages of the documentation show, in an empty folder, with the wheel alone."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.e2e.worker import free_port
from tests.pages import Step, steps

SECONDS = 120.0
"""How long anything may take on a machine that has much else to do."""
PORT = 6072
"""Of the pages: of what answers queries. Others are below and above it."""
SPAN = range(-4, 5)
OURS = "KAFKA_BROKERS", "JOURNAL_URL", "READ_MODEL_URL", "DATA_DIR", "NAMESPACE", "PARTITIONS", "LOGS", "PYTHONPATH"
"""Settings that pages begin without."""
VARIES = "command_id", "position", "time", "next"
"""What an answer says another time otherwise."""
READY = "all ready after"


@dataclass
class Terminal:
    """One in which something runs until Ctrl-C."""

    command: str
    log: Path
    process: subprocess.Popen[bytes]

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def is_ready(self) -> bool:
        """Whether it says that it can be asked."""
        word = "^ready: " if " worker " in self.command else f"^{READY}"
        return re.search(word, self.text, re.MULTILINE) is not None

    def end(self, number: signal.Signals = signal.SIGINT) -> None:
        """Ctrl-C, and wait for it."""
        if self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Follower:
    """Follows pages in `folder`, with the commands of a venv. `settings`: what its terminals are set to; `told` is
    called with each step when it is done, and what was said."""

    def __init__(
        self,
        folder: Path,
        venv: Path | None,
        settings: Mapping[str, str] | None = None,
        told: Callable[[Step, str], None] = lambda step, said: None,
    ) -> None:
        self.root = folder
        self.folder = folder
        self.port = free_ports()
        self._told = told
        self._terminals: list[Terminal] = []
        self._logs = 0
        self._is_stale = False
        seen = {name: value for name, value in os.environ.items() if name not in OURS}
        bin = f"{venv / 'bin'}:" if venv else ""
        self._environment = {**seen, **(settings or {}), "PATH": bin + seen["PATH"], "PYTHONUNBUFFERED": "1"}
        self._environment.pop("VIRTUAL_ENV", None)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def follow(self, page: str, is_left_out: Callable[[Step], bool] = lambda step: False) -> None:
        """Do all that a page says; what is printed must be what it shows, where `..` stands for anything."""
        todo = [step for step in steps(self._with_ports(page)) if not is_left_out(step)]
        for step, following in pairwise([*todo, Step("end")]):
            self._do(step, following.text if following.kind == "output" else None)

    def end(self) -> None:
        """End all that runs."""
        for terminal in self._terminals:
            terminal.end()
        self._terminals.clear()

    def _do(self, step: Step, expected: str | None) -> None:
        said = ""
        match step.kind:
            case "file":
                file = self.folder / step.file
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(step.text)
                self._is_stale = True
            case "diff":
                self._run(f"git apply - <<'END'\n{step.text}END\n")
                self._is_stale = True
            case "worker":
                said = self._serve(step.text)
                _compare(expected, said, step.text)
            case "stop":
                self._terminals.pop(0).end()
            case "bash" if step.text.startswith("export "):
                self._environment |= dict(re.findall(r"^export (\w+)=(\S+)$", step.text, re.MULTILINE))
            case "bash" if asks(step.text):
                self._ready()
                said = self._ask(step.text, expected)
            case "bash":
                said = self._run(step.text)
                _compare(expected, said, step.text)
                self._is_stale = True
        self._told(step, said)

    def _with_ports(self, page: str) -> str:
        theirs = {str(PORT + distance): str(self.port + distance) for distance in SPAN}
        return re.sub(r"\b\d{4}\b", lambda found: theirs.get(found[0], found[0]), page)

    # -- commands that end ---------------------------------------------------------------------------

    def _run(self, commands: str, code: int = 0) -> str:
        """What commands say, which may leave the terminal in another folder."""
        place = self.root / "place"
        done = subprocess.run(
            ["bash", "-ec", f"{commands}\npwd > {shlex.quote(str(place))}"],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS * 5,
            check=False,
        )
        assert code == done.returncode, f"{commands}ended with {done.returncode}\n{done.stdout}{done.stderr}"
        if code == 0:
            self.folder = Path(place.read_text().strip())
            self._use_port(commands)
            self._use_venv(commands)
        return done.stdout + done.stderr

    def _use_port(self, commands: str) -> None:
        """A project listens where nobody else does."""
        if "sourced new" in commands:
            for file in self.root.glob("*/pyproject.toml"):
                file.write_text(file.read_text().replace(f"port = {PORT}", f"port = {self.port}"))

    def _use_venv(self, commands: str) -> None:
        if "bin/activate" in commands:
            self._environment["PATH"] = f"{self.folder / '.venv' / 'bin'}:{self._environment['PATH']}"

    def _ask(self, commands: str, expected: str | None) -> str:
        """What a command says. One that changes nothing is said again until it says what it is to."""
        wanted = _read(expected or "")
        code = 3 if isinstance(wanted, dict) and wanted.get("status") == "rejected" and "faust" in commands else 0
        until = time.monotonic() + SECONDS
        while True:
            said = self._run(commands, code)
            try:
                _compare(expected, said, commands)
            except AssertionError:
                if " -d " in commands or "faust" in commands or time.monotonic() > until:
                    raise
                time.sleep(0.1)
                continue
            return said

    # -- what runs until Ctrl-C ----------------------------------------------------------------------

    def _serve(self, commands: str) -> str:
        """Start what runs, each line of workers in a terminal of its own; what it has said when it is ready."""
        lines = commands.strip().splitlines() if " worker " in commands else [commands.strip()]
        if " worker " not in lines[0] or any(" worker " not in it.command for it in self._terminals):
            self.end()
        begun = [self._open(line) for line in lines]
        self._terminals += begun
        self._is_stale = False
        self._ready()
        return "".join(terminal.text for terminal in begun)

    def _open(self, command: str) -> Terminal:
        self._logs += 1
        log = self.root / f"terminal-{self._logs}.log"
        run = re.sub(r"^((?:\w+=\S+ )*)", r"\1exec ", command)
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["bash", "-c", run],
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        return Terminal(command, log, process)

    def _ready(self) -> None:
        """Return when all that runs is ready. `sourced dev` starts again when a file has changed; here it is ended and
        started, which leaves no doubt which code has answered."""
        if self._is_stale:
            for number, terminal in enumerate(self._terminals):
                if " worker " not in terminal.command:
                    terminal.end()
                    self._terminals[number] = self._open(terminal.command)
            self._is_stale = False
        until = time.monotonic() + SECONDS
        for terminal in self._terminals:
            while not terminal.is_ready:
                ended = terminal.process.poll() is not None or "the apps have ended" in terminal.text
                assert not ended, f"{terminal.command} has ended\n{terminal.text}"
                assert time.monotonic() < until, f"{terminal.command} is not ready\n{terminal.text}"
                time.sleep(0.05)


def asks(commands: str) -> bool:
    """Whether commands ask what runs."""
    return "curl " in commands or "faust " in commands


def free_ports() -> int:
    """A port that is free, with those around it."""
    while True:
        port = free_port()
        if all(_is_free(port + distance) for distance in SPAN):
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as tried:
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _compare(expected: str | None, said: str, commands: str) -> None:
    """Hold what is said against what a page shows: a value of JSON, or lines."""
    if expected is None:
        return
    wanted = _read(expected)
    if wanted is not None:
        assert _alike(wanted) == _alike(_read(said)), f"{commands}the page shows\n{expected}and it says\n{said}"
        return
    for line in filter(None, map(str.strip, expected.splitlines())):
        pattern = re.escape(line).replace(r"\.\.", ".*")
        assert re.search(pattern, said), f"{commands}the page shows {line!r}, and it says\n{said}"


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _alike(value: Any) -> Any:
    """A value without what varies."""
    if isinstance(value, dict):
        return {name: ".." if name in VARIES and item else _alike(item) for name, item in value.items()}
    return [_alike(item) for item in value] if isinstance(value, list) else value


def typed(page: str) -> Iterator[Step]:
    """The files that a page has its reader write."""
    return (step for step in steps(page) if step.kind == "file")
