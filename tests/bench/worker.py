"""A Faust worker as a process of its own, what it uses of the machine, and what it leaves on Kafka."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from streams.kafka.client_factory import ClientFactory
from streams.settings import Settings

START_SECONDS = 60.0
STOP_SECONDS = 20.0


class Worker:
    """A worker of the app `module`; with a `port` it serves its views."""

    def __init__(self, module: str, environment: dict[str, str], log: Path, port: int | None = None) -> None:
        web = ["--without-web"] if port is None else ["--web-port", str(port)]
        command = [sys.executable, "-m", "faust", "-A", module, "worker", *web]
        self.module = module
        self.log = log
        self.url = f"http://127.0.0.1:{port}"
        self._process = subprocess.Popen(command, env=environment, stdout=log.open("wb"), stderr=subprocess.STDOUT)

    async def says(self, word: str, seconds: float) -> str:
        """What follows `word` in the first line of its output that has it."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for line in self.log.read_text(errors="replace").splitlines():
                if word in line:
                    return line.partition(word)[2]
            self.must_run()
            await asyncio.sleep(0.1)
        raise RuntimeError(f"the worker did not say {word!r}:\n{self.tail()}")

    def must_run(self) -> None:
        """Raise when it has ended."""
        if self._process.poll() is not None:
            raise RuntimeError(f"{self.module} has ended:\n{self.tail()}")

    def tail(self) -> str:
        """The end of its output."""
        return self.log.read_text(errors="replace")[-2000:]

    def serves(self) -> list[int]:
        """The partitions that it has said last it is ready for; none while it is starting."""
        lines = self.log.read_text(errors="replace").splitlines()
        said = [line for line in lines if line.startswith(f"ready: {self.module} ")]
        partitions = said[-1].partition("partitions=")[2].partition("]")[0] if said else ""
        return [int(number) for number in re.findall(r"\d+", partitions)]

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def memory_mb(self) -> float:
        """Its resident memory."""
        for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        return 0.0

    def cpu_seconds(self) -> float:
        """Processor time used so far."""
        return cpu_seconds(self._process.pid)

    def stop(self) -> None:
        """Ask it to end; after 20 s, make it."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextlib.contextmanager
def worker(module: str, environment: dict[str, str], log: Path, port: int | None = None) -> Iterator[Worker]:
    """A worker for the length of a block."""
    running = Worker(module, environment, log, port)
    try:
        yield running
    finally:
        running.stop()


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def say(text: str) -> None:
    """Tell who waits how far it is; standard output is for the results."""
    print(text, file=sys.stderr, flush=True)


async def delete_topics(settings: Settings, wanted: Callable[[str], bool]) -> None:
    """Delete the topics whose names are `wanted`; they are gone on return."""
    async with ClientFactory.of(settings).administering() as admin:
        while mine := [name for name in await admin.list_topics() if wanted(name)]:
            await admin.delete_topics(mine)
            await asyncio.sleep(0.2)
