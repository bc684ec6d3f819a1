"""Commands over HTTP: any worker takes a command for any type, by producing it, and says what became of it.

A request in work is bounded in every respect: requests that wait, commands that have no reply, bytes that Kafka has not
taken. What is beyond is refused at once, with 429 or 503, and changes nothing; nothing is queued.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
from aiokafka.errors import KafkaError

from projections.app import ReadSide
from projections.gateway.command_answers import answer_of, is_another, status_of, used_before
from projections.gateway.command_data import Accepted
from projections.gateway.command_log import (
    NOT_YET,
    CommandAggregate,
    CommandLog,
    KafkaPosition,
    KnownCommand,
    SentCommand,
    encode_sent,
    is_reply_to,
)
from projections.gateway.command_request import Command, CommandReader, command_id, read_path_id, wait_of
from projections.gateway.openapi import takes_commands, tells_of_commands
from projections.gateway.pending_commands import LOOK_SECONDS, LostReplies
from projections.gateway.replies import Replies, TooMany, now_ms
from projections.http.bodies import BodyBytes, Post, RequestBytes
from projections.http.problems import HttpProblem, NotNow
from streams.aggregate_type import AggregateType
from streams.concurrency.retry import until_it_answers
from streams.concurrency.tasks import cancel
from streams.deciding.messages import Reply
from streams.kafka import topics
from streams.kafka.client import partition_of
from streams.kafka.topics import ensure_topics
from streams.runtime.preparation import stop_on_user_error
from streams.web.health import json_response

PRODUCE_SECONDS = 5.0
"""For so long Kafka may take a command, also when its client waits for less."""
FIND_SECONDS = 5.0
"""For so long a worker may look for a command that it does not know, likewise."""
LEAVE_SECONDS = 3.0
MOST_BYTES = 64 * 1024 * 1024
"""Of all commands that are being read, or that Kafka has not taken yet."""


def accepted_of(contexts: Iterable[AggregateType]) -> dict[str, dict[str, type]]:
    """What clients may send: the classes by type and name."""
    return {it.decider.type: {name: it.decider.commands[name] for name in it.accepts} for it in contexts}


def add_gateway(side: ReadSide, accepted: Accepted) -> Gateway:
    """Serve `POST /<type>s/{id}/commands` for what is accepted, and `GET /commands/{id}`."""
    gateway = Gateway(side, accepted)
    side.app.starting.append(gateway.start)
    side.app.stopping.insert(0, gateway.stop)  # before the producer stops

    def takes(type: str) -> None:
        @side.app.page(f"/{type}s/{{id:[^/]+}}/commands", base=Post, name=f"{type}-commands")
        @takes_commands(type, accepted[type])
        async def post(view: Any, request: Any, id: str) -> Any:
            return await gateway.answered(lambda: gateway.post(view, request, type))

    for type in accepted:
        if accepted[type]:
            takes(type)

    @side.app.page("/commands/{id:[^/]+}", name="command")
    @tells_of_commands()
    async def status(view: Any, request: Any, id: str) -> Any:
        return await gateway.answered(lambda: gateway.status(view, request))

    return gateway


class Gateway:
    """The views, and what they share. `accepted` is what may be sent, for who describes it."""

    def __init__(self, side: ReadSide, accepted: Accepted) -> None:
        settings = side.app.settings
        self.accepted = accepted
        self._side = side
        self._broker = side.broker
        self._settings = settings
        self._topic = topics.gateway_replies_topic(settings.namespace)
        self._reader = CommandReader(accepted, settings.command_bytes, self._topic, settings.partitions)
        self._replies = Replies(
            settings.bootstrap_servers,
            self._topic,
            settings.partitions,
            side.broker,
            # Only a worker that starts knows its folder, and two systems may have the same one.
            CommandLog(lambda: Path(side.app.conf.datadir) / f"{settings.namespace}commands.sqlite"),
            settings.http_pending,
        )
        self._room = BodyBytes(MOST_BYTES)
        self._in_work = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._deliveries: set[asyncio.Task[SentCommand]] = set()
        self._looking: asyncio.Task[None] | None = None
        self._is_open = False

    async def start(self) -> None:
        """Make the topics, and begin to read."""
        settings = self._settings
        wanted = [topics.reply_topic(self._topic, settings.partitions)]
        for type in self.accepted:
            wanted += topics.type_topics(settings.namespace, type, settings.partitions)
        with stop_on_user_error():
            await until_it_answers(
                lambda: ensure_topics(settings.bootstrap_servers, wanted),
                "Kafka: making topics",
                (KafkaError, TimeoutError),
            )
        self._replies.start()
        self._looking = self._side.app.supervisor.keep("commands without a reply", self._look)
        self._is_open = True

    async def _look(self) -> None:
        lost = LostReplies(self._replies.unanswered, self._side.journals)
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await lost.look(now_ms() - int(1_000 * LOOK_SECONDS))

    async def stop(self) -> None:
        """Answer all who wait; what Kafka is about to take it gets."""
        self._is_open = False
        await self._replies.let_go()
        if self._looking is not None:
            await cancel(self._looking)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_SECONDS):
                await self._idle.wait()
                if self._deliveries:
                    await asyncio.wait(self._deliveries)
        for delivery in self._deliveries:
            delivery.cancel()
        await self._replies.close()

    async def answered(self, answer: Callable[[], Awaitable[Any]]) -> Any:
        """The answer, or the problem that stands in its way."""
        self._in_work += 1
        self._idle.clear()
        try:
            if not self._is_open:
                raise NotNow("this worker starts, or ends")
            return await answer()
        except (sqlite3.Error, TimeoutError) as error:
            raise NotNow("what this is read from does not answer") from error
        finally:
            self._in_work -= 1
            if not self._in_work:
                self._idle.set()

    # -- a command ----------------------------------------------------------------------------------------------------

    async def post(self, view: Any, request: Any, type: str) -> Any:
        """Send a command, and wait for its reply."""
        id, most = command_id(request.headers), self._settings.http_pending
        if self._replies.unanswered[type] >= most and id not in self._replies.unanswered:
            raise TooMany(f"{most} commands of {type} have no reply yet")
        with self._room.some() as room:
            command, data = await self._reader.read(request, type, id, room)
            first = self._first_reply(command)
            if first is None:
                target = CommandAggregate(command.type, command.aggregate_id)
                sent = SentCommand(command.id, target, command.name, KafkaPosition("", 0, NOT_YET), command.fingerprint)
                with self._replies.place(sends=True), self._replies.waiting_for(sent) as reply:
                    # It counts before anybody else has his turn: who comes with the same id is told at once.
                    is_new = self._replies.unanswered.add(sent, now_ms())
                    delivery = asyncio.create_task(self._deliver(command, data, room.hand_on(), sent, is_new))
                    data = b""
                    self._deliveries.add(delivery)
                    delivery.add_done_callback(self._delivered)
                    first = await self._reply(command, delivery, reply, wait_of(request.headers))
                    if first is None:
                        return self._pending(view, delivery.result())
        return answer_of(view, first)

    def _first_reply(self, command: Command) -> Reply | None:
        """The reply to a command that was accepted before. Raises `HttpProblem` for another one with the same id."""
        known = self._replies.find(command.id) or KnownCommand(None, None)
        sent, reply = known.sent or self._replies.unanswered.sent(command.id), known.reply
        if is_another(command, sent, reply):
            raise used_before(command.id, sent, reply)
        # Of a reply alone it cannot be told to which data it is: its owner knows.
        if sent is None or reply is None or not is_reply_to(reply, sent.aggregate, sent.command):
            return None
        # Who is asked again here need not remember it any more; one that was refused may be decided otherwise.
        return reply if reply.status == "accepted" else None

    async def _reply(
        self, command: Command, delivery: asyncio.Task[SentCommand], reply: asyncio.Future[Reply | None], seconds: float
    ) -> Reply | None:
        """The reply; None when the time is up and the command is on Kafka. Raises `HttpProblem`."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        both: set[asyncio.Future[Any]] = {reply, delivery}
        await asyncio.wait(both, timeout=max(seconds, PRODUCE_SECONDS), return_when=asyncio.FIRST_COMPLETED)
        left = now + seconds - loop.time()
        if not reply.done() and delivery.done() and delivery.exception() is None and left > 0:
            await asyncio.wait([reply], timeout=left)
        if reply.done() and reply.result() is not None:
            return reply.result()
        if not delivery.done():  # this worker ends
            await asyncio.wait([delivery], timeout=max(now + PRODUCE_SECONDS - loop.time(), 0))
        if delivery.done() and delivery.exception() is None:
            return None
        raise HttpProblem(
            503,
            "Kafka does not take it",
            f"it is not known whether command {command.id} is on its way; sending it again with"
            " the same Idempotency-Key is harmless",
            command_id=command.id,
        )

    async def _deliver(
        self, command: Command, data: bytes, room: RequestBytes, sent: SentCommand, is_new: bool
    ) -> SentCommand:
        """Produce a command and then the note of it, so that what counts as unanswered can be answered."""
        topic = topics.commands_topic(self._settings.namespace, command.type)
        try:
            found = await self._produce(topic, command.aggregate_id, data, command.headers)
        except BaseException:
            if is_new:
                self._replies.unanswered.remove(command.id)
            raise
        finally:
            del data
            room.give_back()
        sent = msgspec.structs.replace(sent, place=KafkaPosition(topic, found.partition, found.offset))
        if command.id in self._replies.unanswered:
            self._replies.unanswered.add(sent, now_ms())
        await self._produce(self._topic, command.id, encode_sent(sent), [])
        return sent

    async def _produce(self, topic: str, key: str, value: bytes, headers: list[tuple[str, bytes]]) -> Any:
        encoded = key.encode()
        partition = partition_of(encoded, self._settings.partitions)
        return await self._broker.deliver(
            lambda producer: producer.send(topic, value, key=encoded, partition=partition, headers=headers)
        )

    def _delivered(self, delivery: asyncio.Task[SentCommand]) -> None:
        self._deliveries.discard(delivery)
        if not delivery.cancelled():
            delivery.exception()  # whoever waited for it has been told, and nobody else is interested

    def _pending(self, view: Any, sent: SentCommand) -> Any:
        location = f"/commands/{quote(sent.command_id, safe='')}"
        return json_response(view, status_of(KnownCommand(sent, None)), 202, {"Location": location, "Retry-After": "1"})

    # -- what became of it --------------------------------------------------------------------------------------------

    async def status(self, view: Any, request: Any) -> Any:
        """What is known of a command; a client that wants to wait does so while it is pending."""
        id, seconds = read_path_id(request.rel_url.raw_path, 2), wait_of(request.headers, 0.0)
        known = self._replies.find(id)
        if known is None or known.reply is None:  # who need not wait is in nobody's way, and nobody in his
            known = await self._found(id, seconds)
        return json_response(view, status_of(known), headers={"Cache-Control": "no-store"})

    async def _found(self, id: str, seconds: float) -> KnownCommand:
        began = time.monotonic()
        with self._replies.place(sends=False):
            try:
                async with asyncio.timeout(max(seconds, FIND_SECONDS)):
                    known = await self._replies.find_for_sure(id)
            except (TimeoutError, KafkaError):
                raise NotNow("this worker has not read all that became of commands yet") from None
            if known is None:
                raise HttpProblem(404, "Not found", f"there is no command {id}; what became of one is kept for a day")
            left = began + seconds - time.monotonic()
            if known.sent is None or known.reply is not None or left <= 0:
                return known
            with self._replies.waiting_for(known.sent) as reply:
                await asyncio.wait([reply], timeout=left)
                return KnownCommand(known.sent, reply.result() if reply.done() else None)
