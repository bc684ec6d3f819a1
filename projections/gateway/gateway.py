"""Commands over HTTP: any worker takes a command for any type, and says what became of it.

All that concerns one command id is done by the worker that has the partition of the id: it produces the command, waits
for the reply, and knows the status. A request that comes to another worker is handed to it.

All work is bounded: requests that wait, commands without a reply, bytes that Kafka has not taken. A request beyond a
bound is refused at once, with 429 or 503, and changes nothing; nothing is queued.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aiokafka.errors import KafkaError
from faust.types import TP

from projections.app import RENEWAL_LOOK_SECONDS, ReadSide
from projections.gateway.command_answers import answer_of, is_another, status_of, used_before
from projections.gateway.command_data import Accepted
from projections.gateway.command_log import CommandLog
from projections.gateway.command_records import (
    NOT_YET,
    CommandAggregate,
    KafkaPosition,
    KnownCommand,
    SentCommand,
    is_reply_to,
    now_ms,
)
from projections.gateway.command_request import (
    CheckedCommand,
    CommandReader,
    body_of,
    command_id,
    later,
    read_path_id,
    wait_of,
)
from projections.gateway.command_routing import CommandRouter
from projections.gateway.delivery import Deliveries, is_delivered
from projections.gateway.key_authority import KeyAuthority
from projections.gateway.openapi import takes_commands, tells_of_commands
from projections.gateway.pending_commands import LOOK_SECONDS, LostReplies
from projections.gateway.replies import GatewayReplies
from projections.gateway.waiters import NotHere, ReplyWaiters, TooMany
from projections.http.bodies import BodyBytes, Post
from projections.http.forwarding import HOP
from projections.http.paths import collection
from projections.http.problems import HttpProblem, NotNow
from projections.http.request_trace import RequestTrace, begin
from streams.aggregate_type import AggregateType
from streams.concurrency.retry import until_it_answers
from streams.concurrency.tasks import cancel, each_done
from streams.deciding.messages import Reply
from streams.kafka import topics
from streams.kafka.client_factory import ClientFactory
from streams.kafka.topics import ensure_topics
from streams.runtime.access_guard import is_of_worker, may_command, note
from streams.runtime.part import Part
from streams.runtime.preparation import stop_on_user_error
from streams.runtime.rights import Rights
from streams.web.health import json_response

PRODUCE_SECONDS = 5.0
"""Kafka may take this long to take a command, also when the client waits for less."""
FIND_SECONDS = 5.0
"""`GET /commands/{id}` may read the topic this long, also when the client waits for less."""
LEAVE_SECONDS = 3.0
MOST_BYTES = 64 * 1024 * 1024
"""Of all commands together that are being read, or that Kafka has not taken yet."""


def accepted_of(contexts: Iterable[AggregateType]) -> dict[str, dict[str, type]]:
    """What clients may send: the classes by type and name."""
    return {
        context.decider.type: {name: context.decider.commands[name] for name in context.accepts} for context in contexts
    }


def add_gateway(side: ReadSide, accepted: Accepted) -> Gateway:
    """Serve `POST /<type>s/{id}/commands` for what is accepted, and `GET /commands/{id}`."""
    gateway = Gateway(side, accepted)
    side.app.add(gateway)
    for type in accepted:
        if accepted[type]:
            _add_commands(side, gateway, type)

    @side.app.page("/commands/{id:[^/]+}", name="command")
    @tells_of_commands([type for type in accepted if accepted[type]])
    async def status(view: Any, request: Any, id: str) -> Any:
        with gateway.in_work():
            return await gateway.status(view, request)

    return gateway


def _add_commands(side: ReadSide, gateway: Gateway, type: str) -> None:
    @side.app.page(f"/{collection(type)}/{{id:[^/]+}}/commands", base=Post, name=f"{type}-commands")
    @takes_commands(type, gateway.accepted[type])
    async def post(view: Any, request: Any, id: str) -> Any:
        with gateway.in_work():
            return await gateway.post(view, request, type)


class Gateway(Part):
    """Takes the commands that are `accepted`, and knows what became of them."""

    def __init__(self, side: ReadSide, accepted: Accepted) -> None:
        settings = side.app.settings
        self.accepted = accepted
        self._side = side
        self._settings = settings
        self._topic = topics.gateway_replies_topic(settings.namespace)
        self._keys = KeyAuthority(side)
        side.sign_order = self._keys.sign_order
        self._reader = CommandReader(
            accepted, settings.command_bytes, self._topic, settings.partitions, self._keys.sign
        )
        self._waiters = ReplyWaiters(settings.http_pending)
        self._replies = GatewayReplies(
            side.broker,
            # Only a worker that starts knows its folder, and two systems may have the same one.
            CommandLog(lambda: Path(side.app.conf.datadir) / f"{settings.namespace}commands.sqlite"),
            self._waiters,
            clients=ClientFactory.of(settings),
            topic=self._topic,
            partitions=settings.partitions,
            is_note=self._keys.is_note,
        )
        self._pending = self._replies.pending
        self._router = CommandRouter(side.doors, self._replies, settings.http_pending)
        self._deliveries = Deliveries(side.broker, settings, self._topic, self._pending, self._keys.note_headers)
        self._room = BodyBytes(MOST_BYTES)
        self._requests = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._tasks: list[asyncio.Task[None]] = []
        self._is_open = False

    @property
    def rights(self) -> Rights:
        settings = self._settings
        wanted = [topics.reply_topic(self._topic, settings.partitions, topics.READ, topics.WRITE)]
        for type, commands in self.accepted.items():
            needs = topics.SENDS if commands else {}
            wanted += topics.type_topics(settings.namespace, type, settings.partitions, needs)
        wanted += self._keys.topics
        return Rights(tuple(wanted))

    async def start(self) -> None:
        """Make the topics, and open the file."""
        settings, wanted = self._settings, self.rights.topics
        with stop_on_user_error():
            await until_it_answers(
                lambda: ensure_topics(ClientFactory.of(settings), wanted, settings.setup != "never"),
                "Kafka: making topics",
                (KafkaError, TimeoutError),
            )
        await until_it_answers(self._keys.start, "Kafka: handing out keys", (KafkaError, TimeoutError))
        with contextlib.suppress(sqlite3.Error):  # it is opened again to be read into
            await self._replies.open()
        supervisor = self._side.app.supervisor
        self._tasks = [
            supervisor.keep("commands without a reply", self._look),
            supervisor.keep("renewing the keys that commands are signed with", self._renew_keys),
        ]
        self._is_open = True

    async def assign(self, assignment: set[TP]) -> None:
        """Have the commands of the partitions whose tables are here, already while the tables are recovered."""
        if self._is_open:
            await self._replies.assign(*self._side.doors.assigned())

    async def _look(self) -> None:
        lost = LostReplies(self._pending, self._side.logs)
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await lost.look(now_ms() - int(1_000 * LOOK_SECONDS))

    async def _renew_keys(self) -> None:
        while True:
            await asyncio.sleep(RENEWAL_LOOK_SECONDS)
            with contextlib.suppress(NotNow, TimeoutError, KafkaError):  # it may be a day and some minutes old, too
                await self._keys.pass_on()
                if self._side.switching.leads:
                    await self._keys.renew()

    async def stop(self) -> None:
        """Answer all requests that wait, and let Kafka have what it is about to take."""
        self._is_open = False
        self._router.end()
        await self._replies.assign((), ())
        await each_done(*map(cancel, self._tasks))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_SECONDS):
                await self._idle.wait()
                await self._deliveries.wait()
        self._deliveries.cancel()
        await self._replies.close()

    @contextlib.contextmanager
    def in_work(self) -> Iterator[None]:
        """A request in work, for which `stop` waits.

        Raises `NotHere` before `start` and after `stop`, and `NotNow` while the file or Kafka does not answer.
        """
        self._requests += 1
        self._idle.clear()
        try:
            if not self._is_open:
                raise NotHere("this worker starts, or ends")
            yield
        except (sqlite3.Error, TimeoutError) as error:
            raise NotNow("what this is read from does not answer") from error
        finally:
            self._requests -= 1
            if not self._requests:
                self._idle.set()

    # -- a command ----------------------------------------------------------------------------------------------------

    async def post(self, view: Any, request: Any, type: str) -> Any:
        """Send a command, and wait for its reply. Raises `HttpProblem`."""
        trace = begin(self._side.app.span_tracer, request, f"/{collection(type)}/{{id}}/commands")
        answer = self._post(view, request, type, trace)
        return await (answer if trace is None else trace.until_answered(answer))

    async def _post(self, view: Any, request: Any, type: str, trace: RequestTrace | None) -> Any:
        seconds = wait_of(request.headers)
        with self._room.of_request() as room:
            command, data = await self._reader.read(request, type, command_id(request.headers), room, trace)
            self._require_right(request, command, data)
            was_elsewhere = not self._replies.has(command.id)
            if was_elsewhere:
                answer = await self._post_elsewhere(view, request, command, data, seconds)
                if answer is not None:
                    return answer
            with _no_refusal(command.id) if was_elsewhere else contextlib.nullcontext():
                first = self._first_reply(command)
                if first is not None:
                    return answer_of(view, first)
                most = self._settings.http_pending
                if self._pending[type] >= most and command.id not in self._pending:
                    raise TooMany(f"{most} commands of {type} have no reply yet")
                sent = SentCommand(
                    command_id=command.id,
                    aggregate=CommandAggregate(command.type, command.aggregate_id),
                    command=command.name,
                    place=KafkaPosition("", 0, NOT_YET),
                    fingerprint=command.fingerprint,
                )
                with self._waiters.place(sends=True), self._waiters.waiting_for(sent) as next_reply:
                    # It counts before any await: a request with the same id and another command is refused at once.
                    delivery = self._deliveries.start(command, data, sent, room.hand_on())
                    del data
                    reply = await self._reply(command, delivery, next_reply, seconds)
                return _not_replied(view, delivery.result()) if reply is None else answer_of(view, reply)

    def _require_right(self, request: Any, command: CheckedCommand, data: bytes) -> None:
        """Raise `HttpProblem` where whoever sends a command may not; who schedules one is to be allowed both."""
        note(request, f"{command.name} {command.id}")
        if is_of_worker(request):  # which has looked
            return
        asked = [(command.type, command.name, command.aggregate_id), *later(command, data)]
        for type, name, key in asked:
            if not may_command(self._side.app, type, name, key):
                raise HttpProblem(403, "Forbidden", f"you may not send {name} to {type} {key}")

    async def _post_elsewhere(
        self, view: Any, request: Any, command: CheckedCommand, data: bytes, seconds: float
    ) -> Any | None:
        """The answer of the worker that has a command, None when it is this one. Raises `HttpProblem`."""
        try:
            body, sender = body_of(command, data), command.trace.ref.traceparent if command.trace is not None else ""
            return await self._router.answer_elsewhere(view, request, command.id, seconds, body, sender)
        except NotHere as error:
            if HOP in request.headers:
                raise
            if self._router.ends:
                return await self._left(view, command.id)
            raise _unknown(command.id, str(error)) from None

    async def _left(self, view: Any, id: str) -> Any:
        """The answer to the sender of a command that another worker has, as this one ends. Raises `HttpProblem`."""
        try:
            answer = await self._router.status_elsewhere(view, id)
        except NotNow as error:
            raise _unknown(id, str(error)) from None
        if answer.status != 200:
            raise _unknown(id, "this worker ends")
        answer.set_status(202)
        answer.headers.update(_where(id))
        return answer

    def _first_reply(self, command: CheckedCommand) -> Reply | None:
        """The reply to a command that was accepted before. Raises `HttpProblem` for another one with the same id."""
        found = self._replies.commands.find(command.id) or KnownCommand(None, None)
        sent, reply = known = KnownCommand(found.sent or self._replies.pending.sent(command.id), found.reply)
        if is_another(command, sent, reply):
            raise used_before(command.id, *known) if self._may_see(known) else used_before(command.id, None, None)
        # A reply alone does not say for which data it is: the owner knows.
        if sent is None or reply is None or not is_reply_to(reply, sent.aggregate, sent.command):
            return None
        # The owner may have forgotten an accepted command by now; one that was refused may be decided otherwise.
        return reply if reply.status == "accepted" else None

    async def _reply(
        self,
        command: CheckedCommand,
        delivery: asyncio.Task[SentCommand],
        next_reply: asyncio.Future[Reply | None],
        seconds: float,
    ) -> Reply | None:
        """The reply; None when the time is up and the command is on Kafka. Raises `HttpProblem` when it is not."""
        began = time.monotonic()
        both: set[asyncio.Future[Any]] = {next_reply, delivery}
        await asyncio.wait(both, timeout=max(seconds, PRODUCE_SECONDS), return_when=asyncio.FIRST_COMPLETED)
        passed = time.monotonic() - began
        if is_delivered(delivery):  # Kafka has it: the client alone says how long it waits
            await asyncio.wait([next_reply], timeout=max(seconds - passed, 0.0))
        elif next_reply.done() and next_reply.result() is None:  # the partition moves: there is no reply to wait for
            await asyncio.wait([delivery], timeout=max(PRODUCE_SECONDS - passed, 0.0))
        if next_reply.done() and (reply := next_reply.result()) is not None:
            return reply
        if is_delivered(delivery):
            return None
        raise _unknown(command.id, "no broker has confirmed it", "Kafka does not take it")

    # -- what became of it --------------------------------------------------------------------------------------------

    async def status(self, view: Any, request: Any) -> Any:
        """What is known of a command. While it is pending, a client may wait. Raises `HttpProblem`."""
        id, seconds = read_path_id(request.rel_url.raw_path, 2), wait_of(request.headers, 0.0)
        answer = await self._router.answer_elsewhere(view, request, id, seconds)
        if answer is not None:
            return answer
        known = self._replies.commands.find(id)
        if known is None or known.reply is None:  # a request that need not wait takes no place
            known = await self._found(id, seconds)
        if not self._may_see(known):
            raise _no_command(id)
        return json_response(view, status_of(known), headers={"Cache-Control": "no-store"})

    def _may_see(self, known: KnownCommand) -> bool:
        """Whether whoever asks might have sent this command: what became of others' is not for everybody."""
        if known.sent is not None:
            target, name = known.sent.aggregate, known.sent.command
            return may_command(self._side.app, target.type, name, target.id)
        assert known.reply is not None, "one of both is known"
        answered = known.reply.aggregate
        return may_command(self._side.app, answered.type, known.reply.command, answered.id)

    async def _found(self, id: str, seconds: float) -> KnownCommand:
        began = time.monotonic()
        with self._waiters.place(sends=False):
            try:
                async with asyncio.timeout(max(seconds, FIND_SECONDS)):
                    known = await self._replies.find_for_sure(id)
            except (TimeoutError, KafkaError):
                raise NotNow("this worker has not read all that became of commands yet") from None
            if known is None:
                raise _no_command(id)
            left = began + seconds - time.monotonic()
            if known.sent is None or known.reply is not None or left <= 0:
                return known
            with self._waiters.waiting_for(known.sent) as reply:
                await asyncio.wait([reply], timeout=left)
                return KnownCommand(known.sent, reply.result() if reply.done() else None)


def _no_command(id: str) -> HttpProblem:
    return HttpProblem(404, "Not found", f"there is no command {id}; what became of one is kept for a day")


def _not_replied(view: Any, sent: SentCommand) -> Any:
    """202: Kafka has the command, and `Location` says what becomes of it."""
    return json_response(view, status_of(KnownCommand(sent, None)), 202, _where(sent.command_id))


def _where(id: str) -> dict[str, str]:
    """The headers of an answer to the sender of a command that says where and when to ask for its status."""
    return {"Location": f"/commands/{quote(id, safe='')}", "Retry-After": "1"}


@contextlib.contextmanager
def _no_refusal(id: str) -> Iterator[None]:
    """The worker that had a command may have sent it: it is not refused as if nothing had been sent."""
    try:
        yield
    except TooMany as error:
        raise _unknown(id, str(error)) from None


def _unknown(id: str, why: str, title: str = "Not now") -> HttpProblem:
    """The problem of a command that Kafka may have, or not."""
    return HttpProblem(
        503,
        title,
        f"{why}: it is not known whether command {id} is on its way; sending it again with the same Idempotency-Key is"
        " harmless",
        command_id=id,
    )
