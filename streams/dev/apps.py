"""All apps of a project in one process, on one event loop: what `sourced dev` starts, and starts again when a file has
changed.

    python -m streams.dev.apps LIFELINE MODULE:PORT ..

It ends by SIGINT or SIGTERM, and when nobody holds the other end of the pipe LIFELINE any more.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import uvloop
from faust.contrib.asgi import bind_to_running_loop

from streams.concurrency.tasks import each_done
from streams.runtime.application import LOOPBACK, Application
from streams.runtime.preparation import USER_ERROR, stop_on_user_error

log = logging.getLogger(__name__)

CRASHED = 1
LOOK_SECONDS = 0.05
STOP_SECONDS = 10.0


def load(module: str, port: int) -> Application:
    """The app of a module, which is to listen at a port. Ends the process for what is not one."""
    found = getattr(import_module(module), "app", None)
    if not isinstance(found, Application):
        print(f"error: {module} has no app: give it `app = command_app(..)`, or a read side's", file=sys.stderr)
        raise SystemExit(USER_ERROR)
    conf: Any = found.conf
    conf.web_port = port
    conf.canonical_url = f"http://{LOOPBACK}:{port}"
    return found


async def run(apps: Mapping[str, Application], lifeline: int, began: float) -> int:
    """Start them, and serve until something ends it. Returns the exit status."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    loop.add_reader(lifeline, ended.set)
    end: asyncio.Future[Any] = asyncio.create_task(ended.wait())
    starting: list[asyncio.Future[Any]] = [asyncio.create_task(_started(app)) for app in apps.values()]
    crashes: list[asyncio.Future[Any]] = [asyncio.create_task(app._crashed.wait()) for app in apps.values()]
    ready = asyncio.create_task(_say_when_ready(apps, began))
    try:
        waiting = {end, *starting, *crashes}
        while not (end.done() or any(it.done() for it in crashes)):
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for it in done & set(starting):
                it.result()
        return 0 if end.done() else CRASHED
    finally:
        loop.remove_reader(lifeline)
        for task in (end, ready, *starting, *crashes):
            task.cancel()
        await asyncio.gather(end, ready, *starting, *crashes, return_exceptions=True)
        await _stop(apps)


async def _started(app: Application) -> None:
    bind_to_running_loop(app)
    app.finalize()
    await app.maybe_start()


async def _stop(apps: Mapping[str, Application]) -> None:
    """Let all of them leave their groups, and finish what they have begun."""
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await each_done(*(app.stop() for app in apps.values() if app.started))
    except TimeoutError:
        log.warning("not everything has ended in %.0f s", STOP_SECONDS)


async def _say_when_ready(apps: Mapping[str, Application], began: float) -> None:
    """One line, when all of them can be asked."""
    while not all(app.is_ready for app in apps.values()):  # noqa: ASYNC110  (it depends on many things)
        await asyncio.sleep(LOOK_SECONDS)
    url = list(apps.values())[-1].conf.canonical_url
    print(f"all ready after {time.time() - began:.1f} s: {url}/console", flush=True)


def main(arguments: Sequence[str]) -> int:
    """Run the apps that are named until they are ended."""
    lifeline, *named = arguments
    began = float(os.environ.get("SOURCED_DEV_BEGAN") or time.time())
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    with stop_on_user_error():
        apps = {module: load(module, int(port)) for module, _, port in (it.rpartition(":") for it in named)}
    return uvloop.run(run(apps, int(lifeline), began))


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # RocksDB and Faust's threads take a second to be torn down, for nothing
