"""Long histories over HTTP: in pages, in turns, from a snapshot on, and no longer than somebody waits for them."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import aiohttp
import msgspec
import pytest
import pytest_asyncio
from aiohttp import web

from aggregates.decider import Decider
from projections.http.problems import problems
from projections.views.history import add_history
from schemas.codec import Codec
from streams.deciding.cache import Aggregate
from streams.journal.memory import MemoryJournal
from streams.journal.port import LAST_SEQUENCE, Commit, RecordedEvent, Snapshot, StoredEvent
from tests.unit.boxes import NOW
from tests.unit.schemas.test_upcasting import schema


@dataclass(frozen=True)
class Write:
    text: str


@dataclass(frozen=True)
class Written:
    text: str


@dataclass(frozen=True)
class State:
    count: int = 0
    length: int = 0


folded = 0


def evolve(state: State, event: Written) -> State:
    global folded
    folded += 1
    return State(state.count + 1, state.length + len(event.text))


def decide(command: Write, state: State) -> list[Written]:
    return [Written(command.text)]


note = Decider("note", State(), decide, evolve)
CODEC = Codec([schema("Written", 1, ("text", "string"))], {"Written": Written})


class Watched(MemoryJournal):
    """Says how many events were read."""

    def __init__(self) -> None:
        super().__init__()
        self.read = 0

    async def events(
        self, type: str, aggregate_id: str, from_sequence: int = 0, to_sequence: int = LAST_SEQUENCE
    ) -> Sequence[StoredEvent]:
        found = await super().events(type, aggregate_id, from_sequence, to_sequence)
        self.read += len(found)
        return found


class View:
    """What Faust gives to handlers: it makes answers."""

    def bytes(self, body: bytes, **options: Any) -> web.Response:
        return web.Response(body=body, **options)


class Server:
    """Serves the histories of notes, and says at `/` that it does."""

    def __init__(self) -> None:
        self.journal = Watched()
        self.application = web.Application(middlewares=[problems])
        self.application.router.add_get("/", self._here)
        self.done = 0
        side: Any = SimpleNamespace(
            app=SimpleNamespace(page=self._page),
            contexts={"note": SimpleNamespace(decider=note, events=CODEC)},
            journals={"note": self.journal},
            doors=SimpleNamespace(partition=lambda id: 0),
        )
        add_history(side, "note")

    def _page(self, path: str, name: str) -> Any:
        def page(view: Any) -> Any:
            async def handler(request: web.Request) -> Any:
                try:
                    return await view(View(), request, **request.match_info)
                finally:
                    self.done += 1

            self.application.router.add_get(path, handler)
            return view

        return page

    async def _here(self, request: web.Request) -> web.Response:
        return web.Response()

    async def start(self) -> None:
        self.runner = web.AppRunner(self.application, access_log=None)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}"
        self.http = aiohttp.ClientSession()

    async def write(self, id: str, count: int, size: int = 10) -> None:
        """Events of a note, each of so many characters, and a note of the engine's beside every tenth."""
        events = [
            RecordedEvent(id, n, "Written", CODEC.encode(Written("x" * size)), f"c{n}") for n in range(1, count + 1)
        ]
        events += [RecordedEvent(id, n, "", b"", f"again-{n}") for n in range(10, count + 1, 10)]
        await self.journal.derive([Commit("note@0", 1, 1, "o", "t", {}, 0, NOW, tuple(events))])

    async def get(self, path: str) -> Any:
        async with self.http.get(self.url + path) as response:
            return response.status, await response.json()


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    await server.start()
    yield server
    await server.http.close()
    await server.runner.cleanup()


async def test_pages(server: Server) -> None:
    """A history comes page by page, each event on one of them, and no more is read of it than is shown."""
    await server.write("a", 2_345)
    seen: list[int] = []
    after, pages = 0, 0
    while after is not None:
        status, told = await server.get(f"/notes/a/history?limit=500&after={after}")
        assert (200, "note", "a") == (status, told["type"], told["id"])
        seen += [event["sequence"] for event in told["events"]]
        after, pages = told["next"], pages + 1
    assert (list(range(1, 2_346)), 5) == (seen, pages)
    server.journal.read = 0
    _, told = await server.get("/notes/a/history?limit=3&after=7")
    assert ([8, 9, 10], 10) == ([event["sequence"] for event in told["events"]], told["next"])
    assert "note-0:1:7" == told["events"][0]["position"]
    assert server.journal.read < 10


async def test_a_page_by_default(server: Server) -> None:
    """Without a limit a short history is whole, and a long one has a page of a thousand; the last one says so."""
    await server.write("a", 1_001)
    await server.write("b", 1_000)
    _, told = await server.get("/notes/a/history")
    assert (1_000, 1_000) == (len(told["events"]), told["next"])
    _, told = await server.get("/notes/a/history?after=1000")
    assert ([1_001], None) == ([event["sequence"] for event in told["events"]], told["next"])
    _, told = await server.get("/notes/b/history")
    assert (1_000, None) == (len(told["events"]), told["next"])


async def test_pages_of_large_events(server: Server) -> None:
    """A page ends after a few megabytes, however many events may be on it."""
    await server.write("a", 40, 250_000)
    _, told = await server.get("/notes/a/history")
    assert 10 < len(told["events"]) < 25
    assert told["events"][-1]["sequence"] == told["next"]


async def test_what_there_is_not(server: Server) -> None:
    """A page behind the end is empty, a note that there is not is not found, and a number is a number."""
    await server.write("a", 3)
    status, told = await server.get("/notes/a/history?after=3")
    assert (200, [], None) == (status, told["events"], told["next"])
    for path in ("/notes/b/history", "/notes/b/history?after=3", "/notes/b/state", "/notes/a/state?sequence=0"):
        assert 404 == (await server.get(path))[0], path
    for query in ("limit=0", "limit=1001", "limit=x", "after=-1", "after=x", "after=%D9%A3", f"after={'9' * 19}"):
        assert 400 == (await server.get(f"/notes/a/history?{query}"))[0], query
    for query in ("sequence=", "sequence=-1", "sequence=%D9%A3", f"sequence={'9' * 5000}"):
        assert 400 == (await server.get(f"/notes/a/state?{query}"))[0], query


async def test_state_is_read_up_to_an_event(server: Server) -> None:
    """The state after an event reads the events up to it, and a snapshot instead of those that it holds."""
    await server.write("a", 2_000)
    _, told = await server.get("/notes/a/state?sequence=100")
    assert ({"count": 100, "length": 1_000}, 100) == (told["state"], told["sequence"])
    assert server.journal.read < 200
    _, told = await server.get("/notes/a/state")
    assert ({"count": 2_000, "length": 20_000}, 2_000) == (told["state"], told["sequence"])
    assert told == (await server.get("/notes/a/state?sequence=99999"))[1]


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({(1, 2): 3}, "keys"),
        ({"text": "\ud800"}, "surrogates"),
        ({"rate": float("nan")}, "not JSON compliant"),
        ({"what": object()}, "object"),
    ],
)
async def test_a_state_that_json_has_not(
    server: Server, monkeypatch: pytest.MonkeyPatch, state: Any, said: str
) -> None:
    """A model may keep what JSON has not: then the answer says so, and nothing fails or is shown as something else."""
    monkeypatch.setattr(Decider, "fold", lambda self, events, current: state)
    await server.write("a", 1)
    status, told = await server.get("/notes/a/state")
    assert (409, "Not shown") == (status, told["title"])
    assert told["detail"].startswith("the state of note a cannot be shown as JSON: ")
    assert said in told["detail"]


async def test_keys_of_a_state_are_text(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers, which snapshots have as keys too, are."""
    monkeypatch.setattr(Decider, "fold", lambda self, events, current: {1: {2.5: "a"}})
    await server.write("a", 1)
    assert {"1": {"2.5": "a"}} == (await server.get("/notes/a/state"))[1]["state"]


async def snapshot(server: Server, sequence: int, version: int = note.state_version, state: bytes = b"") -> None:
    """Save one of the note `a`, as it was at a sequence."""
    aggregate = Aggregate(State(sequence, 10 * sequence))
    held = state or msgspec.json.encode({"state": aggregate.state, "outcomes": {}})
    await server.journal.save_snapshots("note", [Snapshot("a", sequence, 1, version, held)])


async def test_state_from_a_snapshot(server: Server) -> None:
    """It goes on from a snapshot that is not behind what is asked for, and that this code can read."""
    global folded
    await server.write("a", 1_000)
    for sequence, version, state, asked, most in (
        (950, note.state_version, b"", 990, 40),
        (990, note.state_version, b"", 990, 0),
        (991, note.state_version, b"", 990, 990),
        (950, note.state_version + 1, b"", 990, 990),
        (950, note.state_version, b"{", 990, 990),
        (950, note.state_version, b'{"state": {"count": "x"}, "outcomes": {}}', 990, 990),
    ):
        await snapshot(server, sequence, version, state)
        folded = 0
        _, told = await server.get(f"/notes/a/state?sequence={asked}")
        assert ({"count": 990, "length": 9_900}, 990) == (told["state"], told["sequence"])
        assert most == folded, (sequence, version, state)


@pytest.mark.parametrize("path", ["/notes/a/history", "/notes/a/state"])
async def test_others_go_on(server: Server, path: str) -> None:
    """While long histories are read and folded, nobody waits for them: the loop comes round all the time."""
    await server.write("a", 30_000)
    longest = 0.0
    gc.collect()
    gc.freeze()  # what other tests of this process have made would be looked through in the middle

    async def look() -> None:
        nonlocal longest
        while True:
            began = time.thread_time()  # what else the machine does is not to count
            await asyncio.sleep(0)
            longest = max(longest, time.thread_time() - began)

    looking = asyncio.create_task(look())
    await asyncio.gather(*(server.get(path) for _ in range(8)))
    looking.cancel()
    gc.unfreeze()
    assert longest < 0.15, longest  # in one go it is a second; what is left is the journal in memory, and JSON


async def test_nobody_waits(server: Server) -> None:
    """The work ends when its client is gone."""
    global folded
    await server.write("a", 30_000)
    folded = 0
    asked = asyncio.create_task(server.get("/notes/a/state"))
    async with asyncio.timeout(5):
        while not folded:
            await asyncio.sleep(0)
        asked.cancel()
        while not server.done:
            await asyncio.sleep(0)
    assert folded < 30_000
