"""The other process of `sourced dev`: it keeps the broker, and starts the apps again when a file has changed."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from watchfiles import Change, DefaultFilter, awatch

from streams.dev.broker.server import Broker
from streams.dev.whereabouts import ENVIRONMENT, Whereabouts
from streams.runtime.preparation import USER_ERROR

SESSION_SECONDS = 30.0
"""Apps that were killed are missed by their folder when they start again, and one machine may be slow for a while."""
END_SECONDS = 15.0
"""For so long the apps may take to end."""
AGAIN_SECONDS = 1.0
SOON_SECONDS = 10.0
"""Apps that end by themselves so soon after their start would do so again, as those do that say what is to be mended: a
change is waited for."""
ENDINGS = (".py", ".avsc", ".toml", ".sql", ".json", ".html", ".css", ".js")

Say = Callable[[str], None]


class DevError(Exception):
    """It cannot run; the message says why, and what would do."""


class ProjectFiles(DefaultFilter):
    """What a project is written in, without what it writes."""

    def __init__(self, places: Whereabouts) -> None:
        super().__init__(ignore_paths=[places.root / ".data", places.folder])

    def __call__(self, change: Change, path: str) -> bool:
        return path.endswith(ENDINGS) and super().__call__(change, path)


@contextlib.contextmanager
def only_one(places: Whereabouts) -> Iterator[None]:
    """Raises `DevError` while another one has the folder."""
    places.folder.mkdir(parents=True, exist_ok=True)
    with (places.folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DevError(f"it runs already in {places.root}: end that one first") from None
        yield


class Supervision:
    """The apps of a project, with what they need."""

    def __init__(self, places: Whereabouts, environment: Mapping[str, str], say: Say, reload: bool = True) -> None:
        self._places = places
        self._given = environment
        self._environment = {**environment, **places.settings(environment)}
        self._say = say
        self._reload = reload
        self._ended = asyncio.Event()
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Until SIGINT or SIGTERM. Raises `DevError`."""
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._ended.set)
        broker = await self._broker() if self._places.has_broker(self._given) else None
        watching = asyncio.create_task(self._watch()) if self._reload else None
        try:
            self._write_environment()
            serving = asyncio.create_task(self._serve())
            failed: list[asyncio.Future[Any]] = [broker.failed] if broker is not None else []
            await asyncio.wait([serving, *failed, *([watching] if watching else [])], return_when="FIRST_COMPLETED")
            self._ended.set()
            await serving
            if broker is not None and broker.failed.done():
                raise DevError(f"{self._places.topics}: {broker.failed.exception()}")
            if watching is not None and watching.done():
                watching.result()
        finally:
            if watching is not None:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
            if broker is not None:
                await broker.stop()

    async def _broker(self) -> Broker:
        self._places.topics.parent.mkdir(parents=True, exist_ok=True)
        broker = Broker(self._places.topics, self._places.broker_port, SESSION_SECONDS)
        try:
            await broker.start()
        except OSError as error:
            port = self._places.broker_port
            raise DevError(f"port {port}: {os.strerror(error.errno or 0)}: choose others with --port") from None
        except sqlite3.Error as error:
            raise DevError(f"{self._places.topics}: {error}: begin anew with --fresh") from None
        return broker

    def _write_environment(self) -> None:
        """The settings, for commands in another terminal."""
        lines = [f"{name}='{value}'\n" for name, value in self._places.settings(self._given).items()]
        (self._places.folder / ENVIRONMENT).write_text("".join(lines))

    async def _watch(self) -> None:
        async for changes in awatch(self._places.root, watch_filter=ProjectFiles(self._places), step=50, debounce=400):
            names = sorted({relative(Path(path)) for _, path in changes})
            self._say(f"changed: {', '.join(names[:3])}{' ..' if len(names) > 3 else ''}: starting again")
            self._changed.set()

    async def _serve(self) -> None:
        """Keep the apps running."""
        ended = asyncio.create_task(self._ended.wait())
        while not self._ended.is_set():
            self._changed.clear()
            apps, lifeline = await self._start()
            began = time.monotonic()
            changed, over = asyncio.create_task(self._changed.wait()), asyncio.create_task(apps.wait())
            try:
                await asyncio.wait([ended, changed, over], return_when=asyncio.FIRST_COMPLETED)
                if over.done() and not self._ended.is_set() and not self._changed.is_set():
                    await self._after(apps.returncode or 0, time.monotonic() - began, [ended, changed])
            finally:
                os.close(lifeline)
                changed.cancel()
                await self._let_end(apps)
        ended.cancel()

    async def _start(self) -> tuple[asyncio.subprocess.Process, int]:
        """The process of the apps, and the end of a pipe, with which it ends: also where this process is killed."""
        theirs, ours = os.pipe()
        named = [f"{app}:{port}" for app, port in self._places.ports.items()]
        apps = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "streams.dev.apps", str(theirs), *named),
            cwd=self._places.root,
            env=self._environment | {"SOURCED_DEV_BEGAN": str(time.time())},
            pass_fds=(theirs,),
        )
        os.close(theirs)
        return apps, ours

    async def _after(self, status: int, lived: float, waited_for: list[asyncio.Task[Any]]) -> None:
        """The apps have ended by themselves."""
        if status == USER_ERROR or lived < SOON_SECONDS:
            self._say(f"the apps have ended (status {status}): they are started again when a file has changed")
            await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
        else:
            self._say(f"the apps have ended (status {status}): starting them again")
            await asyncio.wait(waited_for, timeout=AGAIN_SECONDS, return_when=asyncio.FIRST_COMPLETED)

    async def _let_end(self, apps: asyncio.subprocess.Process) -> None:
        if apps.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                apps.terminate()
            try:
                async with asyncio.timeout(END_SECONDS):
                    await apps.wait()
            except TimeoutError:
                apps.kill()
                await apps.wait()


def relative(path: Path) -> str:
    """A path as one would type it here."""
    return os.path.relpath(path)
