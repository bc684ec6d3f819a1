"""The network between processes and servers: requests and answers that are late, lost, or refused."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

from aiokafka.errors import BrokerResponseError, KafkaConnectionError, KafkaError, UnknownError

from projections.http.problems import NotNow
from streams.journal.commit_codec import UnreadableCommit
from streams.journal.port import Unavailable
from tests.simulation.loop import Loop

T = TypeVar("T")

FASTEST, SLOWEST = 0.0003, 0.006
"""Seconds one way."""
TIME_OUT = 2.0


class DriverError(Exception):
    """What no driver says it raises."""


BUGS: dict[str, tuple[Callable[[], Exception], ...]] = {
    "journal": (
        lambda: RuntimeError("a bug of the driver"),
        lambda: DriverError("InvalidRequest: Request is too big"),
        lambda: ValueError("not what was asked for"),
        lambda: UnreadableCommit("a commit's bytes are damaged"),
    ),
    "kafka": (lambda: RuntimeError("a bug of the client"), lambda: UnknownError(), lambda: AssertionError("closed")),
    "produce": (lambda: RuntimeError("a bug of the producer"), lambda: UnknownError(), lambda: BrokerResponseError()),
    "store": (lambda: RuntimeError("a bug of the store"), lambda: KeyError("a column")),
    "http": (lambda: RuntimeError("a bug of the other worker"),),
}
"""What services raise beside what is said of them."""
_BUGS = {repr(bug()) for bugs in BUGS.values() for bug in bugs}
PASSING = (Unavailable, NotNow, KafkaError, TimeoutError)
"""What is said of services that they raise, and what is made of it."""


def is_injected(error: BaseException | None) -> bool:
    """Whether an error is one of these, or came of one."""
    if error is None:
        return False
    if isinstance(error, PASSING) or repr(error) in _BUGS:
        return True
    return is_injected(error.__cause__) or is_injected(error.__context__)


ERRORS: dict[str, type[Exception]] = {
    "journal": Unavailable,
    "kafka": KafkaConnectionError,
    "produce": KafkaConnectionError,
    "group": KafkaConnectionError,
    "store": Unavailable,
    "http": NotNow,
}


@dataclass
class Network:
    """`trouble` is the share of requests by service that meet a fault, `bugs` of those that raise what nobody expects;
    a service in `down` refuses all."""

    loop: Loop
    random: Random
    note: Callable[..., None]
    trouble: dict[str, float] = field(default_factory=dict)
    down: set[str] = field(default_factory=set)
    bugs: dict[str, float] = field(default_factory=dict)

    def heal(self) -> None:
        """No faults from here on."""
        self.trouble.clear()
        self.bugs.clear()
        self.down.clear()

    async def ask(self, service: str, operation: Callable[[], T]) -> T:
        """What the server's `operation` returns or raises, run there in one step; or the service's error after a fault:

        refused: at once. request lost: never run. answer lost: run, and nobody hears of it. overtaken: run after
        its sender has given up, and perhaps sent it again.
        """
        random, error = self.random, ERRORS[service]
        if service in self.down:
            await asyncio.sleep(random.choice((SLOWEST, TIME_OUT)))
            raise error(f"{service} is down")
        if random.random() < self.bugs.get(service, 0.0):
            await self._stumble(service, operation)
        fault = ""
        if random.random() < self.trouble.get(service, 0.0):
            fault = random.choice(("refused", "request lost", "answer lost", "overtaken", "slow"))
            self.note("fault", service, fault)
        if fault == "refused":
            await asyncio.sleep(SLOWEST)
            raise error(f"{service}: refused")
        answer: asyncio.Future[T] = self.loop.create_future()

        def serve() -> None:
            try:
                result = operation()
            except Exception as raised:
                if fault in ("", "slow"):
                    self.loop.outside(self.one_way(), self._settle, answer, None, raised)
            else:
                if fault in ("", "slow"):
                    self.loop.outside(self.one_way(), self._settle, answer, result, None)

        match fault:
            case "overtaken":
                self.loop.outside(TIME_OUT + random.uniform(0, 3), serve)
            case "slow":
                self.loop.outside(random.uniform(0.1, TIME_OUT), serve)
            case "request lost":
                pass
            case _:
                self.loop.outside(self.one_way(), serve)
        if fault in ("", "slow"):
            return await answer
        await asyncio.sleep(TIME_OUT)
        raise error(f"{service}: no answer in {TIME_OUT} s")

    async def _stumble(self, service: str, operation: Callable[[], object]) -> None:
        """Raise what nobody expects, with the operation done or not."""
        done = self.random.random() < 0.5
        bug = self.random.choice(BUGS[service])()
        self.note("bug", service, repr(bug), "done" if done else "not done")
        await asyncio.sleep(self.one_way())
        if done:
            with contextlib.suppress(Exception):
                operation()
        raise bug

    def one_way(self) -> float:
        """Seconds that a message takes."""
        return FASTEST + (SLOWEST - FASTEST) * self.random.random() ** 3

    @staticmethod
    def _settle(answer: asyncio.Future[T], result: T, raised: Exception | None) -> None:
        if answer.done():
            return
        if raised is not None:
            answer.set_exception(raised)
        else:
            answer.set_result(result)
