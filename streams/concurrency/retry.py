"""Repetition of requests that a store or a broker did not answer: for ever, where nothing may be lost, or a few times.

stamina and tenacity repeat as well, but log each attempt or none. Here an outage is logged when it begins, every 15 s,
and when it is over, and the health of the worker shows it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from streams.notices import NOTICES

T = TypeVar("T")

log = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0
SAY_AGAIN = 15.0
PATIENCE_SECONDS = 2.0
"""An outage that is over sooner is not shown."""


async def until_it_answers(
    operation: Callable[[], Awaitable[T]],
    what: str,
    on: type[Exception] | tuple[type[Exception], ...],
    waits: Callable[[Exception | None], None] | None = None,
    unless: type[Exception] | tuple[type[Exception], ...] = (),
) -> T:
    """The result of `operation`, repeated with growing pauses (seconds, 0.05 to 2) for as long as it raises `on`; what
    is `unless` among those is raised.

    Logs the outage when it begins, every 15 s, and when it is over. `waits` is called with the error when the outage
    has lasted 2 s, and with None when it is over. Such an outage is among the worker's notices, too, until nobody waits
    for it any more.
    """
    pause, began, said = FIRST_PAUSE, 0.0, 0.0
    try:
        while True:
            try:
                result = await operation()
            except on as error:
                if isinstance(error, unless):
                    raise
                now = time.monotonic()
                began = began or now
                if now - said >= SAY_AGAIN:
                    said = now
                    log.warning("%s: %s: waiting for it, since %.0f s", what, error, now - began)
                if now - began >= PATIENCE_SECONDS:
                    NOTICES.note("waiting", what, f"{what}: {error}: waiting for it")
                    if waits is not None:
                        waits(error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
            else:
                if began:
                    log.warning("%s: it answers again, after %.1f s", what, time.monotonic() - began)
                    if waits is not None:
                        waits(None)
                return result
    finally:
        if began:
            NOTICES.over("waiting", what)


async def retried(
    operation: Callable[[], Awaitable[T]],
    pauses: Sequence[float],
    on: type[Exception] | tuple[type[Exception], ...],
) -> T:
    """The result of `operation`, repeated after each of these pauses (seconds) while it raises `on`; then it raises.

    For work that somebody waits for, and for work that other processes do at the same moment.
    """
    for pause in pauses:
        try:
            return await operation()
        except on as error:
            log.debug("again in %g s: %r", pause, error)
        await asyncio.sleep(pause)
    return await operation()
