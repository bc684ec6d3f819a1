"""A process that takes long to end says what it still does, and ends all the same.

Whoever has sent SIGTERM waits, and sends SIGKILL at last, and nobody ever learns what it was about. It may be ended
without harm: what a worker has not written by then the journal takes from nobody else than the next owner.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from types import AsyncGeneratorType, FrameType
from typing import Any

log = logging.getLogger(__name__)

SLOW_SECONDS, LONGEST_SECONDS = 8.0, 18.0
"""What is not done is said after the one, and left undone after the other: people are told to give a worker 20 s."""
STATUS = 1
MOST = 60
"""Places that are named."""
DEPTH = 4
"""Calls of a thread that are named: the innermost ones are those of locks and queues."""
_STEPS = ("async_generator_asend", "async_generator_athrow")
"""What waits for a step of an asynchronous generator, and does not say of which one."""
_WAITING = os.path.dirname(asyncio.__file__)
_FOLDER = re.compile(r".*(?:site-packages|lib/python[0-9.]+)/")


def end_in_time(loop: asyncio.AbstractEventLoop) -> None:
    """Have this process end within `LONGEST_SECONDS` from now. `loop` is the one of its tasks.

    A thread sees to that: the loop may be what stands still.
    """
    threading.Thread(target=_watch, args=(loop,), name="ending", daemon=True).start()


def _watch(loop: asyncio.AbstractEventLoop) -> None:
    time.sleep(SLOW_SECONDS)
    text = "the end takes more than %.0f s; it is waited for: %s"
    log.warning(text, SLOW_SECONDS, "; ".join(doings(loop)))
    time.sleep(LONGEST_SECONDS - SLOW_SECONDS)
    text = "the end has taken %.0f s: it ends now, whatever is not done: %s"
    log.critical(text, LONGEST_SECONDS, "; ".join(doings(loop)))
    logging.shutdown()
    os._exit(STATUS)


def doings(loop: asyncio.AbstractEventLoop) -> list[str]:
    """The tasks and threads that have not ended, each with the place at which it stands: at most `MOST`."""
    tasks = sorted(f"{_name(task)} at {_place(_innermost(task.get_coro()))}" for task in asyncio.all_tasks(loop))
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    threads = [
        f"thread {names.get(ident, ident)} at {' of '.join(map(_place, islice(_calls(frame), DEPTH)))}"
        for ident, frame in sys._current_frames().items()
        if ident != threading.get_ident()
    ]
    counted = Counter([*tasks, *sorted(threads)])
    return [f"{count} times {what}" if count > 1 else what for what, count in islice(counted.items(), MOST)]


def _name(task: asyncio.Task[Any]) -> str:
    """The one that it was given, or that of its coroutine: mode gives the text of an object."""
    name = task.get_name()
    return getattr(task.get_coro(), "__qualname__", name) if name.startswith(("<", "Task-")) else name


def _innermost(coroutine: Any) -> FrameType | None:
    """The frame at which a coroutine waits, however many others it waits through: but for those of asyncio, in which
    all wait in the end."""
    frame: FrameType | None = None
    while coroutine is not None:
        inner = _any(coroutine, "cr_frame", "gi_frame", "ag_frame")
        if frame is None or (inner is not None and os.path.dirname(inner.f_code.co_filename) != _WAITING):
            frame = inner
        waits_for = _any(coroutine, "cr_await", "gi_yieldfrom", "ag_await")
        if type(waits_for).__name__ in _STEPS:
            waits_for = next((it for it in gc.get_referents(waits_for) if isinstance(it, AsyncGeneratorType)), None)
        coroutine = waits_for
    return frame


def _any(of: Any, *names: str) -> Any:
    return next((found for name in names if (found := getattr(of, name, None)) is not None), None)


def _calls(frame: FrameType | None) -> Iterable[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _place(frame: FrameType | None) -> str:
    if frame is None:
        return "no place that is known"
    return f"{_FOLDER.sub('', frame.f_code.co_filename)}:{frame.f_lineno} {frame.f_code.co_name}"
