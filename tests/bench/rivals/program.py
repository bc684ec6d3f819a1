"""A program that says `ready`, and then answers each line with a line of JSON: it rests while another is measured."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

READY_SECONDS, ANSWER_SECONDS, STOP_SECONDS = 90.0, 300.0, 10.0


class Program:
    """A running one. What it says besides its answers is in its log."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    async def ask(self, line: str) -> Any:
        """The answer to a line. Raises `RuntimeError` when there is none."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        answer = await self.line(ANSWER_SECONDS)
        try:
            return msgspec.json.decode(answer)
        except msgspec.DecodeError:
            raise RuntimeError(f"{line!r} was answered {answer!r}:\n{self.tail()}") from None

    async def line(self, seconds: float) -> bytes:
        """The next line that it prints. Raises `RuntimeError` when there is none in time."""
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(seconds):
                line = await self._process.stdout.readline()
        except TimeoutError:
            raise RuntimeError(f"no answer in {seconds:.0f} s:\n{self.tail()}") from None
        if not line:
            raise RuntimeError(f"it has ended:\n{self.tail()}")
        return line.strip()

    def tail(self) -> str:
        """The end of its log."""
        return self._log.read_text(errors="replace")[-2000:]

    async def stop(self) -> None:
        """It ends with its input; after 10 s it is made to."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


@contextlib.asynccontextmanager
async def program(
    command: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Program]:
    """One that is ready, for the length of a block."""
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            env=environment,
        )
    running = Program(process, log)
    try:
        if (said := await running.line(READY_SECONDS)) != b"ready":
            raise RuntimeError(f"it said {said!r}:\n{running.tail()}")
        yield running
    finally:
        await running.stop()
