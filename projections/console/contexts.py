"""The workers of other apps, asked how they are: each at the address that it has given to its consumer group.

They are asked in the name of this worker, with the token of HTTP_TOKEN_FILE where they want to know who asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator, Sequence

import msgspec

from projections.app import ReadSide
from projections.console.findings.snapshot import CommandWorker, Context, TailWorker
from projections.console.takeovers import Takeovers
from projections.publishing.publisher import TAIL
from streams.cli.http import Answer, Door, ask, read
from streams.cli.kafka import members
from streams.cli.run import CliError
from streams.journal.port import log_name
from streams.notices import Notice
from streams.processes.router import InputPosition
from streams.web.notices import NoticesAnswer
from streams.web.owners import OwnersAnswer

WORKER_SECONDS = 2.5
"""The time that a worker has to say how it is."""
_HELP = "it does not say how it is"
_FORBIDDEN = (401, 403)
_WANTED = "an auditor's token is to be in HTTP_TOKEN_FILE of this worker"


class _Inputs(msgspec.Struct):
    app: str
    inputs: list[InputPosition]


class _Problem(msgspec.Struct):
    detail: str


class Contexts:
    """The contexts of an app of projections."""

    def __init__(self, side: ReadSide) -> None:
        self._side = side
        self._apps: dict[str, str] = {}
        """By context the app that its workers were last seen with."""
        self._takeovers = Takeovers()

    async def all(self) -> list[Context]:
        """All of them, with what their workers say."""
        names = dict.fromkeys(context.name for context in self._side.contexts.values())
        found = await asyncio.gather(*(_context(self._side, name) for name in names))
        self._apps.update({context.name: worker.app for context in found for worker in context.workers if worker.app})
        return [
            msgspec.structs.replace(
                context,
                app=self._apps.get(context.name, ""),
                takeovers=self._takeovers.of(context.workers, context.logs),
            )
            for context in found
        ]


async def _context(side: ReadSide, name: str) -> Context:
    types = [type for type, context in side.contexts.items() if context.name == name]
    settings = side.contexts[types[0]].settings
    logs = [log_name(type, span.number) for type in types for span in side.layouts[type].layout.open]
    try:
        found = await members(settings, settings.namespace + name)
    except (CliError, TimeoutError) as error:
        fault = f"Kafka does not say who is in the group of {name}: {error or 'no answer in time'}"
        return Context(name=name, types=types, logs=logs, fault=fault)
    urls = sorted(str(member.address).rstrip("/") for member in found if member.address)
    workers = await asyncio.gather(*(_worker(Door(url, settings)) for url in urls))
    return Context(name=name, types=types, logs=logs, workers=workers)


async def tails(side: ReadSide) -> list[TailWorker]:
    """The workers of the tail, where that runs apart. Raises `CliError`, `TimeoutError`."""
    group = tail_group(side)
    if group is None:
        return []
    settings = side.app.settings
    urls = {str(member.address).rstrip("/") for member in await members(settings, group) if member.address}
    return list(await asyncio.gather(*(_tail(Door(url, settings)) for url in sorted(urls))))


def tail_group(side: ReadSide) -> str | None:
    """The consumer group of the tail that runs apart; None where this app publishes the events itself."""
    return side.app.settings.namespace + TAIL if side.contexts and side.publisher is None else None


async def _tail(door: Door) -> TailWorker:
    try:
        noticed = await _asked(door, "/notices")
        if noticed.status in _FORBIDDEN:
            return TailWorker(url=door.url, fault=f"it answers {noticed.status}: {_WANTED}")
        return TailWorker(url=door.url, notices=_said(noticed))
    except CliError as error:
        return TailWorker(url=door.url, fault=str(error))


async def _worker(door: Door) -> CommandWorker:
    try:
        owners, inputs, noticed, ready = await asyncio.gather(
            *(_asked(door, path) for path in ("/owners", "/inputs", "/notices", "/health/ready"))
        )
        if owners.status in _FORBIDDEN:
            return CommandWorker(url=door.url, fault=f"it answers {owners.status}: {_WANTED}")
        owned = read(owners, OwnersAnswer, "the /owners of a worker of a command app")
        # Who hears nothing has no such page.
        heard = [] if inputs.status == 404 else read(inputs, _Inputs, "the /inputs of a worker").inputs
        said = _said(noticed)
    except CliError as error:
        return CommandWorker(url=door.url, fault=str(error))
    return CommandWorker(
        url=door.url, app=owned.app, troubles=_troubles(ready), owned=owned.owners, inputs=heard, notices=said
    )


def _said(noticed: Answer) -> Sequence[Notice]:
    """What a worker has said; one of a former version has no such page."""
    return [] if noticed.status == 404 else read(noticed, NoticesAnswer, "the /notices of a worker").notices


def _asked(door: Door, path: str) -> Awaitable[Answer]:
    return ask(door, path, _HELP, seconds=WORKER_SECONDS)


def _troubles(ready: Answer) -> str:
    if ready.status == 200:
        return ""
    try:
        return msgspec.json.decode(ready.body, type=_Problem).detail
    except msgspec.DecodeError:
        return f"it answers {ready.status}"


def faults_of(contexts: list[Context]) -> Iterator[str]:
    """Why not all is known of them."""
    return (context.fault for context in contexts if context.fault)


def silent(tails: Sequence[TailWorker]) -> Iterator[str]:
    """Why not all is known of what the tail has said."""
    return (f"the tail at {tail.url}: {tail.fault}" for tail in tails if tail.fault)
