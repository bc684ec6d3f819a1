"""An aggregate whose domain raises, through Kafka, Cassandra and the command line: kept, waiting, and let go."""

from __future__ import annotations

import asyncio
import json
import signal
import uuid
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from streams.deciding.loading import load_aggregate
from streams.open_journal import open_journal
from tests.e2e.client import eventually
from tests.e2e.invariants import check_log
from tests.e2e.system import System
from tests.e2e.worker import Worker
from tests.fragile.ledger import codecs
from tests.fragile.ledger import ledger as ledger_decider

pytestmark = pytest.mark.asyncio(loop_scope="module")

LEDGERS = "tests.fragile.app"


class Bench:
    """A worker of ledgers with quarantine, and its bug."""

    def __init__(self, system: System, mended: Path) -> None:
        self.system = system
        self.mended = mended

    async def start(self) -> Worker:
        """A worker that serves."""
        worker = self.system.start(LEDGERS, QUARANTINE="on", LEDGER_MENDED=str(self.mended))
        await self.system.all_served(worker)
        return worker

    async def restart(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Another worker in the place of those that run."""
        for worker in self.system.workers:
            if worker.running:
                worker.signal(how)
                await eventually(lambda worker=worker: not worker.running, 20, worker.tail)
        await self.start()

    async def faust(self, *arguments: str) -> str:
        """What a command of the command line prints; it must end well."""
        ended = await self.system.run("-A", LEDGERS, *arguments)
        assert 0 == ended.returncode, ended.stderr + ended.stdout
        return ended.stdout

    async def send(self, ledger: str, type: str, **data: Any) -> str:
        """A command that waits for nothing; its id."""
        return await self.system.command(
            "ledger", ledger, type, data, f"{type}-{uuid.uuid4().hex[:8]}", self.system.topic("answers")
        )

    async def ask(self, ledger: str, type: str, **data: Any) -> dict[str, Any]:
        return await self.system.ask("ledger", ledger, type, data)

    async def poisoned(self, ledger: str, *waiting: int) -> tuple[str, list[str]]:
        """A ledger with 1 in it, in quarantine for a post of 2, with posts that wait: the ids of all these."""
        await self.ask(ledger, "Post", amount=1)
        poison = await self.send(ledger, "PostBadly", amount=2)
        assert "DomainError" == (await (await self.system.answers()).answer(poison))["error"]["type"]
        ids = await asyncio.gather(*(self.send(ledger, "Post", amount=amount) for amount in waiting))
        await self.system.covered("ledgers", "ledger")
        return poison, list(ids)

    async def letter(self, command_id: str) -> str:
        """The place of the dead letter of a command, as the command line takes it."""
        inbox = await self.system.inbox("ledger-dead-letters")

        def found() -> list[Any]:
            return [r for r in inbox.records if dict(r.headers).get("dl_id") == command_id.encode()]

        [record, *_] = await eventually(found, 10, f"no dead letter of {command_id}")
        return f"{record.partition}:{record.offset}"

    async def holds(self, ledger: str, *amounts: int) -> None:
        """Return when these are posted in a ledger, in this order, and none waits."""
        decider = ledger_decider(lambda: True)
        journal = open_journal(self.system.journal_url, self.system.namespace, "ledgers")
        await journal.open()

        async def done() -> bool:
            loaded = await load_aggregate(journal, decider, codecs(decider)[0], ledger, 1_000)
            return (amounts, None) == (loaded.state.posted, loaded.quarantine)

        try:
            await eventually(done, 20, f"{ledger} does not hold {amounts}")
        finally:
            await journal.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(system: System, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Ledgers, served by one worker."""
    bench = Bench(system, tmp_path_factory.mktemp("mended") / "mended")
    await bench.start()
    return bench


@pytest.fixture(autouse=True)
def _bug(bench: Bench) -> None:
    """Each test begins with the bug."""
    bench.mended.unlink(missing_ok=True)


async def test_dead_letter_has_the_trace(bench: Bench) -> None:
    """`dead-letters show` says where the domain raised, and that the aggregate is in quarantine for it."""
    ledger = f"trace-{uuid.uuid4().hex[:6]}"
    poison, _ = await bench.poisoned(ledger)
    shown = json.loads(await bench.faust("dead-letters", "show", "ledger", await bench.letter(poison)))
    assert ("DomainError", "Bug: cannot post 2", True) == tuple(
        shown["failure"][name] for name in ("type", "message", "quarantine")
    )
    assert "Traceback (most recent call last):" == shown["failure"]["trace"][0]
    assert any(line.endswith(", in decide") for line in shown["failure"]["trace"])
    assert (ledger, poison) == (shown["key"], shown["headers"]["ce_id"])
    assert not [name for name in shown["headers"] if name.startswith("dl_")]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_mended_and_retried_after_a_restart(bench: Bench, how: signal.Signals) -> None:
    """Commands behind the one that raised wait over a restart, others flow; mended and retried, all follow in order."""
    ledger, other = (f"{name}-{uuid.uuid4().hex[:6]}" for name in ("retry", "other"))
    inbox = await bench.system.answers()
    poison, ids = await bench.poisoned(ledger, 3, 4)
    await bench.restart(how)
    ids.append(await bench.send(ledger, "Post", amount=5))
    assert "accepted" == (await bench.ask(other, "Post", amount=1))["status"]
    await bench.system.covered("ledgers", "ledger")
    assert [[], [], []] == [inbox.by_key[id] for id in ids]
    shown = json.loads(await bench.faust("quarantine", "show", "ledger", ledger))
    assert (poison, ids) == (shown["command_id"], [waiting["command_id"] for waiting in shown["waiting"]])
    assert [{"amount": 3}, {"amount": 4}, {"amount": 5}] == [waiting["value"] for waiting in shown["waiting"]]
    bench.mended.touch()
    assert "sent again" in await bench.faust("dead-letters", "retry", "ledger", shown["dead_letter"])
    assert "accepted" == (await inbox.answer(poison, 2))["status"]
    assert ["accepted"] * 3 == [(await inbox.answer(id))["status"] for id in ids]
    await bench.holds(ledger, 1, 2, 3, 4, 5)
    assert ledger not in await bench.faust("quarantine", "list", "ledger")
    assert "accepted" == (await bench.ask(ledger, "Post", amount=6))["status"]
    await check_log(bench.system, "ledger", await bench.system.commits("ledgers", "ledger"))


async def test_dropped(bench: Bench) -> None:
    """A drop gives up the command: the others go on without it, it is listed no more and cannot be retried."""
    ledger = f"drop-{uuid.uuid4().hex[:6]}"
    poison, ids = await bench.poisoned(ledger, 3)
    place = await bench.letter(poison)
    assert f"dropped: {place}; ledger {ledger} has left quarantine\n" == await bench.faust(
        "dead-letters", "drop", "ledger", place
    )
    assert "accepted" == (await (await bench.system.answers()).answer(ids[0]))["status"]
    await bench.holds(ledger, 1, 3)
    assert place not in [line.split()[0] for line in (await bench.faust("dead-letters", "list", "ledger")).splitlines()]
    ended = await bench.system.run("-A", LEDGERS, "dead-letters", "retry", "ledger", place)
    assert (1, True) == (ended.returncode, "dropped" in ended.stderr)


async def test_released(bench: Bench) -> None:
    """A release lets those that wait go on; its dead letter stays; a second one is rejected and says so."""
    ledger = f"release-{uuid.uuid4().hex[:6]}"
    poison, ids = await bench.poisoned(ledger, 3)
    place = await bench.letter(poison)
    reply = json.loads(await bench.faust("quarantine", "release", "ledger", ledger))
    assert ("accepted", ledger) == (reply["status"], reply["aggregate"]["id"])
    assert "accepted" == (await (await bench.system.answers()).answer(ids[0]))["status"]
    assert place in await bench.faust("dead-letters", "list", "ledger")
    again = await bench.system.run("-A", LEDGERS, "quarantine", "release", "ledger", ledger)
    assert (3, "NotQuarantined") == (again.returncode, json.loads(again.stdout)["error"]["type"])
    await check_log(bench.system, "ledger", await bench.system.commits("ledgers", "ledger"))


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("list", "ledger", "1"), 2), (("release", "ledger"), 2), (("show", "ledger", "none"), 1)],
)
async def test_wrong_use(bench: Bench, arguments: tuple[str, ...], code: int) -> None:
    """What makes no sense ends with one line and the right code."""
    ended = await bench.system.run("-A", LEDGERS, "quarantine", *arguments)
    assert (code, "") == (ended.returncode, ended.stdout)
    assert 1 == len(ended.stderr.splitlines()), ended.stderr


async def test_many_waiting(bench: Bench) -> None:
    """Hundreds that wait are released in order, over several commits, each with one reply."""
    ledger = f"many-{uuid.uuid4().hex[:6]}"
    inbox = await bench.system.answers()
    poison, ids = await bench.poisoned(ledger, *range(3, 703))
    bench.mended.touch()
    await bench.faust("dead-letters", "retry", "ledger", await bench.letter(poison))
    await inbox.answer(poison, 2)
    await eventually(lambda: all(inbox.by_key[id] for id in ids), 20, "a reply is missing")
    assert {1} == {len(inbox.by_key[id]) for id in ids}
    await bench.holds(ledger, *range(1, 703))
    log = (await bench.system.commits("ledgers", "ledger")).values()
    spread = [c.nr for commits in log for c in commits if any(e.command_id in ids and e.is_event for e in c.events)]
    assert len(spread) >= 2
    await check_log(bench.system, "ledger", await bench.system.commits("ledgers", "ledger"))


async def test_command_without_an_id(bench: Bench) -> None:
    """A command that brought no id can be retried, too: it is known by the id that it was given."""
    ledger = f"typed-{uuid.uuid4().hex[:6]}"
    await bench.system.send("ledger", ledger, json.dumps({"type": "PostBadly", "data": {"amount": 2}}).encode())
    await bench.system.send("ledger", ledger, json.dumps({"type": "Post", "data": {"amount": 3}}).encode())
    await bench.system.covered("ledgers", "ledger")
    bench.mended.touch()
    [line] = [line for line in (await bench.faust("quarantine", "list", "ledger")).splitlines() if ledger in line]
    place = line.split()[2]
    for _ in range(2):
        await bench.faust("dead-letters", "retry", "ledger", place)
    await bench.system.covered("ledgers", "ledger")
    await bench.holds(ledger, 2, 3)
