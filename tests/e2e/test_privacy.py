"""Persons are forgotten, and nobody else: the canary, small. `make privacy` is the whole of it, on each store."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
import uuid
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from schemas.registry import Schemas
from schemas.sealing import sealed_of
from streams.deciding.orders import RELEASE
from streams.deciding.personal_commands import CannotOpen, open_kept
from streams.journal.port import Unavailable
from streams.keys.keys import Keys
from streams.keys.management.port import KeyDestroyed
from streams.keys.memory import MemoryKeyRows
from streams.keys.opening import open_key_management, open_key_rows
from streams.keys.port import KeyRow, KeyRows
from streams.settings import Settings
from tests.e2e.canary import (
    Searched,
    below,
    forms,
    kafka_files,
    search,
    server_logs,
    store_files,
    unpack_backup,
    unpack_cassandra,
    unpack_postgres,
)
from tests.e2e.client import eventually, headers
from tests.e2e.system import System
from tests.e2e.worker import Worker
from tests.unit.streams.keys.club import POISON, REFUSED, write_schemas

pytestmark = pytest.mark.asyncio(loop_scope="module")
JOURNAL = os.environ.get("PRIVACY_JOURNAL", "sqlite")
COUNT = int(os.environ.get("PRIVACY_PEOPLE", "9"))
HAS_TIME = COUNT > 100 or os.environ.get("PRIVACY_WHOLE") == "long"
"""To wait until commands are gone as well."""
IS_WHOLE = HAS_TIME or bool(os.environ.get("PRIVACY_WHOLE"))

MODULE, READ = "tests.e2e.members", "tests.e2e.members_read"
TABLES = ("members", "listed", "archived")
RUN = uuid.uuid4().hex[:6]
CANARY = f"Zuleika Kanarienvögel {RUN}"
"""In the name of each: with a letter that encodings differ about, and what no run before has left anywhere."""
ID = f"Eichelhäher-{RUN}"
"""In the id of each, which is sealed nowhere: where a search finds it, it would find a name."""
PEOPLE = {f"{ID}-{number}": f"{CANARY} {number} Quartz" for number in range(COUNT)}
IDS = [*PEOPLE]
FRIEND = IDS[1]
ERASED = IDS[::3]
POISONED = IDS[::2]
"""Who is in quarantine, of both."""
LEASE = 1.0
AT_ONCE = 50
SECONDS = 60 + COUNT / 3
"""For what is done of all."""
CLEANED_SECONDS = 420.0
"""The broker looks every five minutes for what is older than `retention.ms`, and deletes a minute later."""


def schemas_of_club(folder: Path) -> None:
    """Those of members, of the engine's subjects, and of the process that hears of them."""
    write_schemas(folder)
    for schema in Schemas.load("engine", "subject"):
        file = folder / "subject" / f"{schema.name}.v{schema.version}.avsc"
        file.parent.mkdir(exist_ok=True)
        file.write_text(schema.json)
    (folder / "farewell").mkdir()
    for name in ("SayFarewell", "FarewellSaid"):
        fields = [{"name": "erasure", "type": "long", "doc": "Which."}]
        record = {"type": "record", "name": name, "namespace": "club.farewell", "doc": "It.", "fields": fields}
        (folder / "farewell" / f"{name}.v1.avsc").write_text(json.dumps(record))


async def all_of(work: Iterable[Any]) -> list[Any]:
    """The results, some at once."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(it: Any) -> Any:
        async with turns:
            return await it

    return list(await asyncio.gather(*map(one, work)))


class Club:
    """The members' workers, and what they have written. With Cassandra or PostgreSQL read models and keys are there."""

    def __init__(self, system: System, registry_url: str) -> None:
        self.system = system
        self.folder = system.data.parent / f"{system.namespace}club"
        self.management, self.backup, self.unpacked = (
            self.folder / name for name in ("management", "backup", "unpacked")
        )
        self.answers = system.data / "answers"
        schemas_of_club(self.folder)
        self.answers.mkdir()
        self.settings: dict[str, Any] = {
            "CLUB_SCHEMAS": str(self.folder),
            "KEY_LEASE_SECONDS": f"{LEASE:g}",
            "KEY_MANAGEMENT": f"file://{self.management}",
            "SNAPSHOT_EVERY": "2",
            "QUARANTINE": "on",
            "SCHEMA_REGISTRY_URL": registry_url,
        }
        self.begun = time.monotonic()

    def start(self, module: str, folder: Path | None = None) -> Worker:
        return self.system.start(module, folder, level="debug", **self.settings)

    async def served(self, *workers: Worker) -> None:
        await self.system.all_served(*workers, seconds=150)

    async def ordered(self, *arguments: str, code: int = 0) -> str:
        """What a command of the command line prints."""
        ended = await self.system.run("-A", MODULE, *arguments, **self.settings)
        assert ended.returncode == code, (ended.stdout, ended.stderr)
        return str(ended.stdout + ended.stderr)

    def says(self, what: str) -> None:
        """For people who run the whole: how far it is."""
        print(f"{time.monotonic() - self.begun:6.1f} s  {what}")

    # -- keys ----------------------------------------------------------------------------------------------------------

    def keys(self, rows: KeyRows | None = None) -> Keys:
        """Those of now, or with rows of before."""
        system = self.system
        settings = Settings(
            journal_url=system.journal_url, namespace=system.namespace, key_management=f"file://{self.management}"
        )
        there = rows or open_key_rows(system.journal_url, system.namespace)
        return Keys(there, open_key_management(settings), system.namespace)

    async def key_rows(self) -> dict[str, KeyRow]:
        """A backup of the table of keys."""
        rows = open_key_rows(self.system.journal_url, self.system.namespace)
        await rows.open()
        try:
            return {row.id: row async for row in rows.all()}
        finally:
            await rows.close()

    # -- looking -------------------------------------------------------------------------------------------------------

    async def places(self) -> dict[str, list[Path]]:
        """All files, by what they are of. What a store has compressed is there unpacked, too."""
        system = self.system
        self.unpacked.mkdir(exist_ok=True)
        match JOURNAL:
            case "sqlite":
                store = below(Path(system.journal_url.removeprefix("sqlite:///")).parent)
            case "postgres":
                await unpack_postgres(system.journal_url, system.namespace, self.unpacked)
                store = chain(store_files(JOURNAL), self.unpacked.glob(f"{system.namespace}*"))
            case _:
                await unpack_cassandra(system.journal_url, system.namespace, self.unpacked)
                store = chain(store_files(JOURNAL), self.unpacked.glob("*-Data.db"))
        found = {
            f"the journal, keys and read model ({JOURNAL})": [*store],
            "Kafka": [*kafka_files(system.namespace)],
            "logs": [*system.data.glob("*.log")],
            "tables of the workers (RocksDB, SQLite)": [
                file for file in below(system.data) if file.suffix != ".log" and self.answers not in file.parents
            ],
            "metrics and answers": [*below(self.answers)],
        }
        if self.backup.exists():
            unpack_backup(self.backup, self.unpacked)
            found["backup"] = [*below(self.backup), *self.unpacked.glob("*.backup")]
        if IS_WHOLE:  # they are those of all that has run there
            found["Kafka"] += server_logs()
        return found

    async def look(self) -> None:
        """Fails where a name stands in any file. And where an id is not found: there a name would not be either."""
        found: list[str] = []
        for place, files in (await self.places()).items():
            searched, control = search(files, CANARY), search(files, ID)
            self.says(f"{place}: {searched}; ids: {len({it.partition(': ')[0] for it in control.found})} files")
            assert control.found, f"{place}: not even ids are found in {searched.files} files"
            found += searched.found
        assert [] == found

    async def keep_answers(self, number: int, *workers: Worker) -> None:
        """Write to files what workers say of themselves, and of a person whom one may see: what is shown opened is left
        out."""
        paths = ["/metrics", "/health/ready", "/notices", "/lag", "/findings", "/contexts", "/dead-letters/member"]
        paths += [f"/members/{id}/{what}" for id in IDS[:4] for what in ("rows", "history", "state", "steps", "story")]
        paths += [f"/quarantine/member/dry-run?id={id}" for id in IDS[:4]]
        for at, worker in enumerate(workers):
            for path in paths:
                async with self.system.http.get(worker.url + path) as response:
                    name = f"{number}-{at}-{path.replace('/', '_')}"
                    (self.answers / name).write_bytes(await response.read())


async def test_what_is_looked_for_is_found(tmp_path: Path) -> None:
    """Each form, whatever stands around it."""
    for number, form in enumerate(forms(CANARY)):
        (tmp_path / f"{number}").write_bytes(b"\x00before" + form + b"behind")
    searched = search(below(tmp_path), CANARY)
    assert len(forms(CANARY)) == len({line.partition(": ")[0] for line in searched.found}) == searched.files
    assert Searched(searched.files, searched.bytes) == search(below(tmp_path), "Zuleika Dobson")


async def test_who_is_forgotten_is_gone_and_the_others_are_all_there(system: System, registry_url: str) -> None:
    """Names that come by Kafka and by HTTP stand in no raw file of broker, journal, keys, tables, read model, logs and
    metrics, whether their commands are accepted, refused, unreadable, make the domain raise, or wait for that.

    A third are forgotten: a process manager hears of each, what of them waits in quarantine or stands in dead letters
    is never read again, tables that are built from nothing equal those that served, the journal is whole, and an old
    copy of keys and journal opens nothing after a renewal. Of the others not a letter is lost.
    """
    club = Club(system, registry_url)
    worker, reader = club.start(MODULE), club.start(READ)
    workers = [worker]
    if IS_WHOLE:
        workers.append(club.start(MODULE))
    await asyncio.gather(club.served(*workers), club.served(reader))

    async def post(path: str, body: Any) -> tuple[int, Any]:
        async with system.http.post(reader.url + path, json=body, headers={"Prefer": "wait=30"}) as response:
            return response.status, await response.json()

    async def rows(id: str) -> dict[str, Any]:
        status, answer, _ = await system.get(reader, f"/members/{id}/rows")
        if status == 503:  # a table is being built, as all are at first
            return {}
        return {it["projection"]: it["row"] for it in answer["rows"]}

    async def ask(id: str, type: str, data: Any, command_id: str = "") -> dict[str, Any]:
        return await system.ask("member", id, type, data, command_id, seconds=SECONDS)

    # -- names come, in all ways -----------------------------------------------------------------------------------

    def join(id: str, ending: str = "") -> dict[str, str]:
        return {"name": PEOPLE[id] + ending, "friend": PEOPLE[FRIEND], "friend_id": FRIEND}

    async def joined(id: str, by_http: bool) -> str:
        if by_http:
            return str((await post(f"/members/{id}/commands", {"type": "Join", "data": join(id)}))[1]["status"])
        return str((await ask(id, "Join", join(id), f"join-{id}"))["status"])

    assert {"accepted"} == {*await all_of(joined(id, at % 2 == 1) for at, id in enumerate(IDS))}
    assert {"accepted"} == {it["status"] for it in await all_of(ask(id, "Greet", {}) for id in IDS)}
    club.says(f"{COUNT} have joined")

    async def refusals(id: str) -> set[tuple[str, str]]:
        """What is said to commands that have no effect, by Kafka and by HTTP."""
        said = [
            await ask(id, "Join", join(id, REFUSED)),
            await ask(id, "Join", {"name": [PEOPLE[id]]}),
            await ask(id, "Join", {"name": PEOPLE[id], "friend": {"name": PEOPLE[id]}}),
            await ask(id, "Leave", join(id)),
            await ask(id, "Join", join(id, "?"), f"join-{id}") if IDS.index(id) % 2 == 0 else {},
        ]
        status, problem = await post(f"/members/{id}/commands", {"type": "Join", "data": {"name": [PEOPLE[id]]}})
        assert (422, False) == (status, CANARY in json.dumps(problem, ensure_ascii=False)), problem
        assert not [it for it in said if CANARY in json.dumps(it, ensure_ascii=False)]
        return {(it["status"], it["error"]["type"]) for it in said if it}

    expected = {("rejected", "NotWelcome"), ("failed", "Unreadable"), ("failed", "UnknownCommand")}
    found = await all_of(refusals(id) for id in IDS)
    assert [expected, {*expected, ("failed", "IdUsedBefore")}] == sorted({*map(frozenset, found)}, key=len)
    cut = json.dumps(join(FRIEND)).encode()[:-4]
    await system.send("member", FRIEND, cut, headers("cut", "Join", system.topic("answers")))
    assert "Unreadable" == (await (await system.answers()).answer("cut"))["error"]["type"]
    nobody = json.dumps({"name": CANARY}).encode()
    await system.send("member", None, nobody, headers("nobody", "Join", system.topic("answers")))
    assert "Unreadable" == (await (await system.answers()).answer("nobody"))["error"]["type"]

    poisoned = await all_of(ask(id, "Join", join(id, POISON), f"poison-{id}") for id in POISONED)
    assert {("failed", "DomainError", "ValueError")} == {
        (it["status"], it["error"]["type"], it["error"]["message"]) for it in poisoned
    }
    for id in POISONED:
        await system.command("member", id, "Join", join(id), f"waits-{id}", system.topic("answers"))
    await system.covered("members", "member", SECONDS)
    letters = {dict(it.headers)["dl_id"].decode(): it for it in await system.read("member-dead-letters")}
    assert {f"poison-{id}" for id in POISONED} <= {*letters}
    club.says(f"{len(letters)} dead letters, {len(POISONED)} wait in quarantine")

    # -- nobody is forgotten yet, and nothing stands in the clear ----------------------------------------------------

    async def are_kept() -> bool:
        found = [await rows(id) for id in IDS[-3:]]
        return all(found) and all(row and row["times"] == 2 for its in found for row in its.values())

    await eventually(are_kept, SECONDS, reader.tail)
    before = {id: await rows(id) for id in IDS}
    if IS_WHOLE:
        kept = await system.run("-A", READ, "backup", str(club.backup), **club.settings)
        assert kept.returncode == 0, kept.stderr
    old_keys = await club.key_rows()
    await _opens(club.keys(), before, forgotten=[])
    await _opens_letters(club.keys(), letters, forgotten=[])
    await club.keep_answers(1, *workers, reader)
    await club.look()

    # -- a third are forgotten ------------------------------------------------------------------------------------

    status, tried = await post(f"/subjects/{ERASED[0]}/forget", {"reason": "asked for", "dry_run": True})
    assert (200, True, "living") == (status, tried["dry_run"], tried["state"]), tried

    async def forgotten(id: str) -> Any:
        """The receipt, asked for again while a store does not answer."""

        async def answered() -> Any:
            status, receipt = await post(f"/subjects/{id}/forget", {"reason": "asked"})
            assert status in (200, 503), receipt
            return receipt if status == 200 else None

        return await eventually(answered, SECONDS, reader.tail)

    for receipt in await all_of(forgotten(id) for id in ERASED[1:]):
        assert ("erased", "asked", 1) == (receipt["state"], receipt["reason"], receipt["erasures"]), receipt
        assert IS_WHOLE or receipt["effects"][-1]["done"].startswith("told"), receipt  # it waits for some seconds
    printed = json.loads(await club.ordered("subjects", "forget", ERASED[0], "--yes", "--reason", "asked for"))
    assert ("erased", "asked for") == (printed["state"], printed["reason"])
    assert "living" == (await system.get(reader, f"/subjects/{FRIEND}"))[1]["state"]

    async def all_heard() -> bool:
        heard = await all_of(system.get(reader, f"/farewells/{id}/history") for id in ERASED)
        return all(status == 200 and len(page["events"]) == 1 for status, page, _ in heard)

    await eventually(all_heard, SECONDS, worker.tail)
    club.says(f"{len(ERASED)} are forgotten")
    if IS_WHOLE:  # one is taken over, and then all crash
        worker.signal(signal.SIGKILL)
        await club.served(workers[1])
        club.says("a worker was killed, and the other one has taken over")
        for other in (workers[1], reader):
            other.signal(signal.SIGKILL)
        worker, reader = club.start(MODULE), club.start(READ, reader.folder)
        workers = [worker]
        await asyncio.gather(club.served(worker), club.served(reader))
        club.says("all workers were killed, and others are there")

    async def refused() -> bool:
        reply = await ask(ERASED[1], "Join", join(ERASED[1]))  # who is not in quarantine
        return bool(reply["status"] == "rejected" and reply["error"]["type"] == "SubjectErased")

    await eventually(refused, 30, worker.tail)

    # -- what has waited goes on, without them ----------------------------------------------------------------------

    (club.folder / "mended").touch()
    assert {"accepted"} == {it["status"] for it in await all_of(ask(id, RELEASE, {}) for id in POISONED)}
    inbox = await system.answers()
    for id in POISONED:
        reply = await inbox.answer(f"waits-{id}")
        outcome = "rejected", "SubjectErased"
        assert (outcome if id in ERASED else ("accepted", None)) == (
            reply["status"],
            reply["error"] and reply["error"]["type"],
        )
    times = {id: 3 if id in POISONED and id not in ERASED else 2 for id in IDS}
    if IS_WHOLE:
        [living, gone] = (next(id for id in POISONED if (id in ERASED) == is_gone) for is_gone in (False, True))
        [to_living, to_gone] = (letters[f"poison-{id}"] for id in (living, gone))
        retry = ("dead-letters", "retry", "member")
        assert "sent again" in await club.ordered(*retry, f"{to_living.partition}:{to_living.offset}")
        assert "accepted" == (await inbox.answer(f"poison-{living}", 2))["status"]
        times[living] += 1
        assert "was forgotten" in await club.ordered(*retry, f"{to_gone.partition}:{to_gone.offset}", code=1)
    if HAS_TIME:
        await system.configure("member-commands", {"retention.ms": "1000", "file.delete.delay.ms": "1000"})

    lacking = set(IDS)

    async def have_followed() -> bool:
        for id in sorted(lacking):  # one at a time: the read model of all is asked
            its = await rows(id)
            if its and all(row and row["times"] == times[id] for row in its.values()):
                lacking.remove(id)
        return not lacking

    await eventually(have_followed, SECONDS, reader.tail)

    # -- tables built from nothing are the same, and show the same -----------------------------------------------------

    served = {id: await rows(id) for id in IDS}
    for name in TABLES:
        assert (await post(f"/projections/{name}/rebuild", {"again": True}))[0] == 202

    async def are_rebuilt() -> bool:
        found = [(await system.get(reader, f"/projections/{name}"))[1] for name in TABLES]
        return all(
            any(table["state"] == "serving" and table["table"][-2:] != "-1" for table in it["tables"]) for it in found
        )

    await eventually(are_rebuilt, SECONDS, reader.tail)
    assert served == {id: await rows(id) for id in IDS}
    club.says("all tables are built anew, and equal")
    names: dict[str, Any] = {}

    async def are_shown() -> bool:
        for id in IDS:
            if id not in names:
                status, row, _ = await system.get(reader, f"/members/{id}")
                assert status in (200, 503), row
                names.update({id: row["name"]} if status == 200 else {})
        return len(names) == COUNT

    await eventually(are_shown, SECONDS, reader.tail)
    # Of a living one whose dead letter was sent again the name of that is the last one.
    assert {"erased": True} == names[ERASED[0]]
    assert {id: {"erased": True} if id in ERASED else PEOPLE[id] for id in IDS} == {
        id: name.removesuffix(POISON) if isinstance(name, str) else name for id, name in names.items()
    }

    # -- keys are renewed, and what was kept of before opens nothing ------------------------------------------------

    assert "wrapped anew, 1 destroyed" in await club.ordered("subjects", "renew")
    club.says(" ".join((await club.ordered("journal", "verify", "member")).split()))
    for shown_rows in (before, served):
        await _opens(club.keys(), shown_rows, ERASED)
    await _opens_letters(club.keys(), letters, ERASED)
    for restored in (before, served):
        with pytest.raises((Unavailable, KeyDestroyed)):
            await _opens(club.keys(MemoryKeyRows(old_keys)), restored, ERASED)
    await club.keep_answers(2, worker, reader)
    await club.look()
    if HAS_TIME:  # commands were there as they came, until now
        club.says(f"topics of commands: {search(kafka_files(system.namespace, in_the_clear=True), CANARY)}")

        async def are_clean() -> bool:
            await asyncio.sleep(2)
            return not search(kafka_files(system.namespace, in_the_clear=True), CANARY).found

        await eventually(are_clean, CLEANED_SECONDS, "commands are kept for longer than their topic says")
        club.says(f"topics of commands: {search(kafka_files(system.namespace, in_the_clear=True), CANARY)}")
        await club.look()


async def _opens(keys: Keys, rows: Mapping[str, Any], forgotten: Iterable[str]) -> None:
    """With these keys the names of who was forgotten are gone from their rows, and all others are there."""
    try:
        await keys.fetch(IDS)
        for id, tables in rows.items():
            for row in tables.values():
                name = keys.unseal(sealed_of(row["name"]["sealed"]))
                assert (None if id in forgotten else PEOPLE[id]) == (name and name.removesuffix(POISON))
                assert {PEOPLE[FRIEND]} == {keys.unseal(sealed_of(it["sealed"])) for it in row["friends"]}
    finally:
        await keys.close()


async def _opens_letters(keys: Keys, letters: Mapping[str, Any], forgotten: Iterable[str]) -> None:
    """With these keys what made the domain raise is read as it came, but for what was of who was forgotten."""
    try:
        for id in POISONED:
            letter = letters[f"poison-{id}"]
            opening = open_kept(keys, "member", letter.key, letter.value, letter.headers)
            if id in forgotten:
                with pytest.raises(CannotOpen, match="was forgotten"):
                    await opening
            else:
                assert PEOPLE[id] + POISON == json.loads(await opening or b"")["name"]
        with pytest.raises(CannotOpen, match="was not kept"):
            await open_kept(keys, "member", *_of(letters["nobody"]))
    finally:
        await keys.close()


def _of(letter: Any) -> tuple[bytes | None, bytes | None, Any]:
    return letter.key, letter.value, letter.headers
