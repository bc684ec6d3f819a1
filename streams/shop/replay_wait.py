"""Wait until the tables show all commands that were sent: the questions of `replay --wait` to the projections."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from types import TracebackType
from typing import Any, NamedTuple

import aiohttp
import msgspec

from streams.cli import http
from streams.cli.progress import Meter
from streams.settings import Settings, without_login
from streams.web.lag import Lag as LagAnswer

PATIENCE = 30.0
"""Seconds that the door may be shut, as in a restart, before it counts as gone."""
BUSY_PATIENCE = 180.0
"""Seconds that it may leave questions without an answer: on a machine that has much else to do, a process that has all
of the shop comes to them late."""
ANSWER_SECONDS = 10.0
PAUSE = 0.5

Sent = dict[str, tuple[int, int]]
"""First and last command offset by stream, like `order-3`."""


class ReplayError(Exception):
    """A replay that could not be done, or not be seen through; the message says what to do."""


class Lag(NamedTuple):
    """How far a stream is: the newest command its journal covers, its newest commit with an event, and the newest
    in the tables, which a commit without events never reaches."""

    covered: int
    head: int
    applied: int


def read_lag(answer: Any) -> dict[str, Lag]:
    """The streams of a `/lag` answer, by name. Raises `ReplayError` when it is not one."""
    try:
        streams = msgspec.convert(answer, LagAnswer).streams
    except msgspec.ValidationError as error:
        raise ReplayError(f"/lag answers in a form that this replay does not know: {error}") from None
    return {row.stream: Lag(_number(row.committed_offset), row.eventful, _number(row.applied)) for row in streams}


def _number(value: int | None) -> int:
    """A number below all others for None, which a stream has that has nothing yet."""
    return -1 if value is None else value


class Progressed:
    """Judges `/lag` answers: a stream is done when its journal covers the last command sent to it, and the tables have
    the newest commit that the journal had by then."""

    def __init__(self, sent: Sent) -> None:
        self.sent = sent
        self.heads: dict[str, int] = {}
        self.lags: Mapping[str, Lag] = {}

    def see(self, lags: Mapping[str, Lag]) -> None:
        self.lags = lags
        for stream, (_, last) in self.sent.items():
            if stream in lags and lags[stream].covered >= last:
                self.heads.setdefault(stream, lags[stream].head)

    @property
    def processed(self) -> int:
        """Offsets that the journals cover, of those from the first to the last sent."""
        covered = {stream: lag.covered for stream, lag in self.lags.items()}
        return sum(
            max(0, min(covered.get(stream, -1), last) - first + 1) for stream, (first, last) in self.sent.items()
        )

    @property
    def total(self) -> int:
        return sum(last - first + 1 for first, last in self.sent.values())

    @property
    def undone(self) -> list[str]:
        """The streams still to wait for."""
        return [
            stream
            for stream in self.sent
            if stream not in self.heads or stream not in self.lags or self.lags[stream].applied < self.heads[stream]
        ]


class Door:
    """GET from the projections' door, patient over a restart. An async context manager."""

    def __init__(self, url: str, settings: Settings | None = None) -> None:
        self.url = url.rstrip("/")
        self._door = http.Door(self.url, settings or Settings())

    async def __aenter__(self) -> Door:
        self._session = self._door.session(ANSWER_SECONDS)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def get(self, path: str, **query: str) -> Any:
        """The JSON answer. Raises `ReplayError` after `PATIENCE` seconds without one, or `BUSY_PATIENCE` where the door
        takes questions and does not answer them."""
        began = time.monotonic()
        while True:
            patience = PATIENCE
            try:
                async with self._session.get(self.url + path, params=query) as response:
                    if response.status == 200:
                        return json.loads(await response.text())
                    why = f"HTTP status {response.status}"
            except aiohttp.InvalidURL:
                raise ReplayError(f"--url {without_login(self.url)} is not a URL like http://127.0.0.1:6066") from None
            except TimeoutError:
                why, patience = f"nothing in {ANSWER_SECONDS:g} s", BUSY_PATIENCE
            except (aiohttp.ClientError, OSError, ValueError) as error:
                why = str(error) or type(error).__name__
            if time.monotonic() > began + patience:
                raise ReplayError(
                    f"no answer from {without_login(self.url)}{path}: {why}. --wait asks the projections: start them"
                    " (make start), or say where they are with --url"
                )
            await asyncio.sleep(PAUSE)

    async def revenue(self) -> dict[str, Decimal]:
        """Revenue by month as the tables have it."""
        answer = await self.get("/analytics/revenue", by="month")
        months: defaultdict[str, Decimal] = defaultdict(Decimal)
        try:
            for entry in answer["revenue"]:
                months[entry["period"]] += Decimal(entry["revenue"])
        except (KeyError, TypeError, InvalidOperation) as error:
            raise ReplayError(
                f"/analytics/revenue answers in a form that this replay does not know: {error!r}"
            ) from None
        return dict(months)


async def wait_for_tables(door: Door, sent: Sent, timeout: float) -> None:
    """Return when the tables show every command sent.

    Raises `ReplayError` after `timeout` seconds, or when the door stays shut.
    """
    progress, deadline = Progressed(sent), time.monotonic() + timeout
    with Meter("processing", progress.total, "commands") as meter:
        while True:
            progress.see(read_lag(await door.get("/lag")))
            waiting = progress.undone
            label = "processing" if progress.processed < progress.total else f"tables ({len(waiting)} streams to go)"
            meter.at(progress.processed, label)
            if not waiting:
                return
            if time.monotonic() > deadline:
                raise ReplayError(_too_late(timeout, waiting, progress.lags))
            await asyncio.sleep(PAUSE)


def _too_late(timeout: float, waiting: list[str], lags: Mapping[str, Lag]) -> str:
    what = ", ".join(f"{stream} {tuple(lags[stream]) if stream in lags else '(unknown)'}" for stream in waiting[:8])
    return (
        f"not all shown after {timeout:g} s; all is sent, and nothing is lost. "
        f"Waiting for {what}: command covered, head, applied. Do all workers run (make start)? "
        "See /lag. The same replay with --wait may be run again"
    )
