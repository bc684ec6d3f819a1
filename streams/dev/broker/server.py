"""The broker: it listens on this machine, and answers each connection's requests one after another, as Kafka does."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from streams.dev.broker.administration import Administration
from streams.dev.broker.coordinator import Coordinator
from streams.dev.broker.reading import Reading
from streams.dev.broker.store import Store
from streams.dev.broker.topics import Topics, now_ms
from streams.dev.broker.wire import API_VERSIONS, Asked, NotUnderstood, decoded, versions, versions_for_strangers
from streams.dev.broker.writing import Writing

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
EXPIRE_SECONDS = 1.0
LARGEST_REQUEST = 100 * 1024 * 1024
_BUFFER = 1024 * 1024

Answer = bytes | Awaitable[bytes] | None


class Broker:
    """A broker with its file. Raises `OSError` where it cannot listen, and `sqlite3.Error` for a file that is none."""

    def __init__(self, file: Path | str, port: int = 0, least_session: float = 0.0) -> None:
        """`port` 0 is any that is free. `least_session`: see `Coordinator`."""
        self._file = file
        self._least_session = least_session
        self._wanted = port
        self._is_ending = False
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done with the error of the file, when nothing can be kept any more."""

    async def start(self) -> None:
        """Listen."""
        self._store = store = Store(self._file)
        self._topics = Topics(store)
        self._admin = Administration(self._topics, store.cluster_id, HOST)
        self._coordinator = Coordinator(store, self._topics, self._least_session)
        self._reading, self._writing = Reading(self._topics), Writing(store, self._topics)
        self._answers = self._all_answers()
        try:
            self._server = await asyncio.start_server(self._connected, HOST, self._wanted, limit=_BUFFER)
        except BaseException:
            store.close()
            raise
        self._admin.port = self._server.sockets[0].getsockname()[1]
        self._tasks = [asyncio.create_task(it) for it in (self._coordinator.watch(), self._expire())]

    @property
    def address(self) -> str:
        """As KAFKA_BROKERS has it."""
        return f"kafka://{HOST}:{self._admin.port}"

    def _all_answers(self) -> dict[int, Callable[[Asked], Answer]]:
        """By API key."""
        admin, groups = self._admin, self._coordinator
        return {
            0: self._writing.produce,
            1: self._reading.fetch,
            2: self._reading.offsets,
            3: admin.metadata,
            8: groups.commit,
            9: groups.committed,
            10: admin.coordinator,
            11: lambda asked: groups.join(asked, f"/{HOST}"),
            12: groups.heartbeat,
            13: groups.leave,
            14: groups.sync,
            15: groups.describe,
            16: groups.list,
            API_VERSIONS: _versions,
            19: admin.create,
            20: admin.delete,
            21: admin.delete_records,
            22: self._writing.new_producer,
            32: admin.settings,
            33: admin.change_settings,
            37: admin.grow,
            42: groups.delete,
        }

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._serve(reader, writer)
        except (NotUnderstood, ValueError) as error:
            log.warning("a client of %s is sent away: %s", writer.get_extra_info("peername"), error)
        except (OSError, asyncio.IncompleteReadError):
            pass  # it has gone
        except asyncio.CancelledError:
            if not self._is_ending:
                raise
        except sqlite3.Error as error:
            if not self.failed.done():
                self.failed.set_exception(error)
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            (size,) = struct.unpack(">i", await reader.readexactly(4))
            if not 0 < size <= LARGEST_REQUEST:
                raise NotUnderstood(f"a request of {size} bytes")
            asked = decoded(await reader.readexactly(size))
            answer: Any = self._answers[asked.key](asked)
            if answer is not None and not isinstance(answer, bytes):
                answer = await answer
            if answer is not None:
                writer.write(answer)
                await writer.drain()

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(EXPIRE_SECONDS)
            self._topics.expire(now_ms())

    async def stop(self) -> None:
        """Let go of all clients, and close the file."""
        if self._server is None:
            return
        self._is_ending = True
        self._server.close()
        tasks = [*self._tasks, *self._connections]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._store.close()


def _versions(asked: Asked) -> bytes:
    if asked.body is None:
        return versions_for_strangers(asked)
    return asked.answer(0, versions(), *((0,) if asked.version else ()))
