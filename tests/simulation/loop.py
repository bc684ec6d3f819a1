"""An event loop where nothing is left to chance: virtual time, and one seeded random for all scheduling.

Every callback belongs to the process that its context names, so a process can be killed, stopped and
continued between any two steps, as SIGKILL, SIGSTOP and SIGCONT do. What has no process is the outside
world: servers, network, clients.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from random import Random
from typing import Any

from streams.concurrency.fairness import LINE

MOST_CLOSES = 10
STEP_SECONDS = 2e-6
"""What one callback takes, so that time passes for those who spin."""

PROCESS: ContextVar[Process | None] = ContextVar("PROCESS", default=None)
OUTSIDE = Context()
"""The context of what belongs to no process."""


class Process:
    """What dies, stops and goes on as one. `fuse` counts its steps down; before the last, `on_fuse` is called."""

    __slots__ = ("alive", "fuse", "held", "name", "on_fuse", "paused", "skew")

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.paused = False
        self.fuse = 0
        self.on_fuse: Callable[[], object] | None = None
        self.held: list[Handle] = []
        self.skew = 0.0

    def __repr__(self) -> str:
        return self.name


class Handle:
    """A callback to come: what asyncio needs of a handle and a timer handle."""

    __slots__ = ("_args", "_callback", "_context", "_when", "process")

    def __init__(self, callback: Callable[..., object], args: Any, context: Context, when: float) -> None:
        self._callback: Callable[..., object] | None = callback
        self._args = args
        self._context = context
        self._when = when
        self.process: Process | None = context.get(PROCESS)

    def cancel(self) -> None:
        self._callback = self._args = None

    def cancelled(self) -> bool:
        return self._callback is None

    def when(self) -> float:
        return self._when


class _EachStep:
    """Whoever has long work to do lets others go on at each chance, by no clock."""

    async def wait(self, now: float) -> float:
        await asyncio.sleep(0)
        return 0.0


class Loop(asyncio.AbstractEventLoop):
    """Runs what asyncio's own tasks, futures, locks and time-outs schedule."""

    def __init__(self, random: Random) -> None:
        self.steps = 0
        self._random = random.random
        self._now = 0.0
        self._ready: list[Handle] = []
        self._timers: list[tuple[float, int, Handle]] = []
        self._timer_count = 0
        self._tasks: list[tuple[Process | None, asyncio.Task[Any]]] = []
        self._closed = False
        self._stopping = False

    # -- what asyncio calls --------------------------------------------------------------------------

    def time(self) -> float:
        return self._now

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> Any:
        handle = Handle(callback, args, copy_context() if context is None else context, self._now)
        if not self._closed:
            self._ready.append(handle)
        return handle

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any, context: Any = None) -> Any:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Callable[..., object], *args: Any, context: Any = None) -> Any:
        handle = Handle(callback, args, copy_context() if context is None else context, when)
        if not self._closed:
            self._timer_count += 1
            heapq.heappush(self._timers, (when, self._timer_count, handle))
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Coroutine[Any, Any, Any], *, name: Any = None, context: Any = None) -> Any:
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        # A task of a killed process must not be collected while the world lives: its `finally` would run.
        self._tasks.append((PROCESS.get() if context is None else context.get(PROCESS), task))
        return task

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return not self._closed

    def is_closed(self) -> bool:
        return self._closed

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Tasks whose process was killed complain when they are collected; nobody is to hear it."""

    # -- what the world calls ------------------------------------------------------------------------

    def spawn(self, process: Process, main: Coroutine[Any, Any, Any]) -> None:
        """Start the first task of a process."""
        context = Context()
        context.run(PROCESS.set, process)
        context.run(LINE.set, _EachStep())
        self.create_task(main, context=context)

    def outside(self, delay: float, callback: Callable[..., object], *args: Any) -> None:
        """Call back in `delay` seconds, whatever happens to the process that asks for it."""
        if not self._closed:
            when = self._now + delay
            self._timer_count += 1
            heapq.heappush(self._timers, (when, self._timer_count, Handle(callback, args, OUTSIDE, when)))

    def resume(self, process: Process) -> None:
        """Let a stopped process go on."""
        process.paused = False
        held, process.held = process.held, []
        self._ready.extend(held)

    def stop(self) -> None:
        """End `run` after the step in work."""
        self._stopping = True

    def run(self, until: float, most_steps: int) -> None:
        """Run to `stop`, to the virtual time `until`, or for `most_steps`. Raises what a callback raises."""
        ready, timers, random = self._ready, self._timers, self._random
        pop, last = heapq.heappop, self.steps + most_steps
        asyncio._set_running_loop(self)
        try:
            while not self._stopping and self._now < until and self.steps < last:
                if not ready:
                    if not timers:
                        return
                    self._now = max(self._now, timers[0][0])
                self._now = now = self._now + STEP_SECONDS
                while timers and timers[0][0] <= now:
                    ready.append(pop(timers)[2])
                self.steps += 1
                chosen = int(random() * len(ready))
                ready[chosen], ready[-1] = ready[-1], ready[chosen]
                handle = ready.pop()
                process = handle.process
                if process is not None and not self._may_run(process, handle):
                    continue
                if (callback := handle._callback) is not None:
                    handle._context.run(callback, *handle._args)
        finally:
            asyncio._set_running_loop(None)

    def _may_run(self, process: Process, handle: Handle) -> bool:
        if not process.alive or handle._callback is None:
            return False
        if process.fuse:
            process.fuse -= 1
            if process.fuse == 0 and process.on_fuse is not None:
                process.on_fuse()
        if process.paused:
            process.held.append(handle)
            return False
        return process.alive

    def died_unseen(self) -> list[str]:
        """The tasks of living processes that have failed, and whose failure nobody has looked at."""
        return [
            f"{process}: {task.get_name()}: {task.exception()!r}"
            for process, task in self._tasks
            if process is not None and process.alive and task.done() and task._log_traceback  # type: ignore[attr-defined]
        ]

    def close(self) -> None:
        """Forget everything. Whatever a coroutine does when it is closed, nothing comes of it any more."""
        self._closed = True
        self._ready.clear()
        self._timers.clear()
        asyncio._set_running_loop(self)  # what it begins is closed, too: the list grows meanwhile
        for _, task in self._tasks:
            coroutine = task.get_coro()
            for _ in range(MOST_CLOSES):  # whoever is closed may wait for something once more
                if task.done() or coroutine is None:
                    break
                with contextlib.suppress(Exception):
                    coroutine.close()
                    break
        asyncio._set_running_loop(None)
        self._tasks.clear()
