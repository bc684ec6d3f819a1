"""Tasks that must not end while the worker runs: one that fails is begun again, and health says so.

The failure of an asyncio task is noticed where the task is awaited, and such a task is not awaited before the worker
stops. So a supervisor keeps each of them, as in Erlang's "one for one" strategy.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from weakref import WeakValueDictionary

log = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
CALM_SECONDS = 5.0
"""The seconds after which a task that has failed counts as well again."""
LONGEST_CALM = 60.0
"""One that fails in the same way again is to run twice as long as it did before it failed, if that is no more."""
SAY_AGAIN = 60.0
"""The seconds after which the same failure is logged again."""


class Supervisor:
    """Keeps the tasks of one worker running.

    `troubles` names each task that has failed and does not run well again, with the reason: `/health/ready` shows
    them, and answers 503 as long as there are any.
    """

    def __init__(self) -> None:
        self._troubles: dict[str, str] = {}
        self._newest: WeakValueDictionary[str, asyncio.Task[None]] = WeakValueDictionary()
        """The task of each name that was begun last: a trouble of this name is its own."""

    @property
    def troubles(self) -> Mapping[str, str]:
        """The present troubles: reason by name."""
        return self._troubles

    def trouble(self, name: str, reason: str) -> bool:
        """Note a trouble, for work that begins again by a rule of its own. Returns whether it is new, and so to be
        logged: there was none of this name, or it had another reason."""
        is_new = self._troubles.get(name) != reason
        self._troubles[name] = reason
        return is_new

    def well(self, name: str) -> None:
        """Note that a trouble is over."""
        self._troubles.pop(name, None)

    def keep(self, name: str, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """A task that does `work`, and does it again after a pause (seconds, 0.1 to 5) when it raises.

        It ends when `work` returns or the task is cancelled: not when something that `work` awaits was. `name` is
        unique in the worker. The first failure is logged with its stack trace, the same one again once a minute in one
        line.
        """
        self.well(name)
        task = self._newest[name] = asyncio.create_task(self._keep(name, work), name=name)
        return task

    def _is_well(self, name: str, task: asyncio.Task[None] | None) -> None:
        """A task runs well, or has ended. One that is cancelled may end when the next of its name has failed."""
        if self._newest.get(name) is task:
            self.well(name)

    async def _keep(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        loop = asyncio.get_running_loop()
        pause, calm_after, said, said_at = FIRST_PAUSE, CALM_SECONDS, "", 0.0
        try:
            while True:
                began = loop.time()
                calm = loop.call_later(calm_after, self._is_well, name, asyncio.current_task())
                try:
                    await work()
                    return
                except (Exception, asyncio.CancelledError) as error:
                    if isinstance(error, asyncio.CancelledError) and _is_cancelled():
                        raise
                    reason = f"{type(error).__name__}: {error}"
                    twice = 2 * (loop.time() - began)
                    calm_after = max(twice, CALM_SECONDS) if reason == said and twice <= LONGEST_CALM else CALM_SECONDS
                    if reason != said:
                        log.error("%s failed, and begins again: %s", name, reason, exc_info=True)
                        said, said_at = reason, loop.time()
                    elif loop.time() - said_at >= SAY_AGAIN:
                        log.error("%s still fails: %s", name, reason)
                        said_at = loop.time()
                    self.trouble(name, reason)
                finally:
                    calm.cancel()
                if loop.time() - began >= CALM_SECONDS:
                    pause = FIRST_PAUSE
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
        finally:
            self._is_well(name, asyncio.current_task())


def _is_cancelled() -> bool:
    """Whether the present task itself is to end."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
