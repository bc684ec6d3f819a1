"""Persons are forgotten, and nobody else: the canary, small. `make privacy` is the whole of it, on each store."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from schemas.registry import Schemas
from schemas.sealing import sealed_of
from streams.journal.port import Unavailable
from streams.keys.keys import Keys
from streams.keys.management.port import KeyDestroyed
from streams.keys.opening import open_key_management, open_key_rows
from streams.settings import Settings
from tests.e2e.canary import below, forms, found_in, kafka_files, store_files
from tests.e2e.client import eventually
from tests.e2e.system import System
from tests.unit.streams.keys.club import write_schemas

pytestmark = pytest.mark.asyncio(loop_scope="module")
JOURNAL = os.environ.get("PRIVACY_JOURNAL", "sqlite")
COUNT = int(os.environ.get("PRIVACY_PEOPLE", "9"))
IS_WHOLE = COUNT > 100

MODULE, READ = "tests.e2e.members", "tests.e2e.members_read"
CANARY = "Zuleika Kanarienvögel"
"""In the name of each: with a letter that encodings differ about."""
PEOPLE = {f"M{number}": f"{CANARY} {number} Quartz" for number in range(COUNT)}
ERASED = [*PEOPLE][::3]
LEASE = 1.0
AT_ONCE = 50


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


async def all_of(*work: Any) -> list[Any]:
    """The results, some at once."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(it: Any) -> Any:
        async with turns:
            return await it

    return list(await asyncio.gather(*map(one, work)))


async def test_what_is_looked_for_is_found(tmp_path: Path) -> None:
    """Each form, whatever stands around it."""
    for number, form in enumerate(forms(CANARY)):
        (tmp_path / f"{number}").write_bytes(b"\x00before" + form + b"behind")
    assert len(forms(CANARY)) == len({line.partition(": ")[0] for line in found_in(below(tmp_path), CANARY)})
    assert [] == found_in(below(tmp_path), "Zuleika Dobson")


async def test_who_is_forgotten_is_gone_and_the_others_are_all_there(system: System) -> None:
    """Names that come by Kafka and by HTTP stand in no raw file of broker, journal, keys, tables, read model and logs.

    A third are forgotten: a process manager hears of each, tables that are built from nothing equal those that served,
    the journal is whole, and an old copy of keys and journal opens nothing after a renewal.
    """
    club = system.data.parent / f"{system.namespace}club"
    schemas_of_club(club)
    management = club / "management"
    settings = {
        "CLUB_SCHEMAS": str(club),
        "KEY_LEASE_SECONDS": f"{LEASE:g}",
        "KEY_MANAGEMENT": f"file://{management}",
        "SNAPSHOT_EVERY": "2",
    }

    async def ordered(*arguments: str) -> str:
        ended = await system.run("-A", MODULE, *arguments, **settings)
        assert ended.returncode == 0, (ended.stdout, ended.stderr)
        return str(ended.stdout)

    def canaries() -> list[str]:
        journal = Path(system.journal_url.removeprefix("sqlite:///")).parent
        own = below(journal) if JOURNAL == "sqlite" else store_files(JOURNAL, system.namespace)
        return found_in(chain(below(system.data), own, kafka_files(system.namespace)), CANARY)

    worker = system.start(MODULE, level="debug", **settings)
    reader = system.start(READ, level="debug", **settings)
    await asyncio.gather(system.all_served(worker, seconds=150), system.all_served(reader, seconds=150))

    async def post(path: str, body: Any) -> tuple[int, Any]:
        async with system.http.post(reader.url + path, json=body, headers={"Prefer": "wait=30"}) as response:
            return response.status, await response.json()

    async def rows(id: str) -> dict[str, Any]:
        status, answer, _ = await system.get(reader, f"/members/{id}/rows")
        if status == 503:  # a table is being built, as all are at first
            return {}
        return {it["projection"]: it["row"] for it in answer["rows"]}

    async def join(id: str, name: str, by_http: bool) -> str:
        data = {"name": name, "friend": PEOPLE["M1"], "friend_id": "M1"}
        if by_http:
            return str((await post(f"/members/{id}/commands", {"type": "Join", "data": data}))[1]["status"])
        return str((await system.ask("member", id, "Join", data, seconds=60))["status"])

    joined = await all_of(*(join(id, name, at % 2 == 1) for at, (id, name) in enumerate(PEOPLE.items())))
    assert {"accepted"} == {*joined}
    assert {"accepted"} == {
        it["status"] for it in await all_of(*(system.ask("member", id, "Greet", {}) for id in PEOPLE))
    }

    async def are_kept() -> bool:
        found = [await rows(id) for id in [*PEOPLE][-3:]]
        return all(found) and all(row and row["times"] == 2 for its in found for row in its.values())

    await eventually(are_kept, 60, reader.tail)
    assert [] == canaries()
    backup = club / "backup"
    shutil.copytree(Path(system.journal_url.removeprefix("sqlite:///")).parent, backup) if JOURNAL == "sqlite" else None

    status, tried = await post(f"/subjects/{ERASED[0]}/forget", {"reason": "asked for", "dry_run": True})
    assert (200, True, "living") == (status, tried["dry_run"], tried["state"]), tried
    for status, receipt in await all_of(*(post(f"/subjects/{id}/forget", {"reason": "asked"}) for id in ERASED[1:])):
        assert (200, "erased", "asked", 1) == (status, receipt["state"], receipt["reason"], receipt["erasures"]), (
            receipt
        )
        assert receipt["effects"][-1]["done"].startswith("told"), receipt
    printed = json.loads(await ordered("subjects", "forget", ERASED[0], "--yes", "--reason", "asked for"))
    assert ("erased", "asked for") == (printed["state"], printed["reason"])
    assert "living" == (await system.get(reader, "/subjects/M1"))[1]["state"]

    async def all_heard() -> bool:
        heard = await all_of(*(system.get(reader, f"/farewells/{id}/history") for id in ERASED))
        return all(status == 200 and len(page["events"]) == 1 for status, page, _ in heard)

    await eventually(all_heard, 60, worker.tail)
    if IS_WHOLE:  # a crash, and a takeover by another worker
        worker.signal(signal.SIGKILL)
        worker = system.start(MODULE, level="debug", **settings)
        await system.all_served(worker, seconds=150)

    async def refused() -> bool:
        reply = await system.ask("member", ERASED[0], "Join", {"name": PEOPLE[ERASED[0]]}, seconds=60)
        return reply["status"] == "rejected" and reply["error"]["type"] == "SubjectErased"

    await eventually(refused, 30, worker.tail)
    served = {id: await rows(id) for id in PEOPLE}
    assert all(served.values())
    for name in ("members", "listed", "archived"):
        assert (await post(f"/projections/{name}/rebuild", {"again": True}))[0] == 202

    async def are_rebuilt() -> bool:
        found = [(await system.get(reader, f"/projections/{name}"))[1] for name in ("members", "listed", "archived")]
        return all(
            any(table["state"] == "serving" and table["table"][-2:] != "-1" for table in it["tables"]) for it in found
        )

    await eventually(are_rebuilt, 90, reader.tail)
    assert served == {id: await rows(id) for id in PEOPLE}
    assert "wrapped anew, 1 destroyed" in await ordered("subjects", "renew")
    await ordered("journal", "verify", "member")
    await _opens(served, system, management, system.journal_url)
    if JOURNAL == "sqlite":
        url = f"sqlite:///{backup}/{Path(system.journal_url).name}"
        with pytest.raises((Unavailable, KeyDestroyed)):
            await _opens(served, system, management, url)
    assert [] == canaries()


async def _opens(rows: dict[str, Any], system: System, management: Path, url: str) -> None:
    """With these keys the names of who was forgotten are gone from their rows, and all others are there."""
    settings = Settings(journal_url=url, namespace=system.namespace, key_management=f"file://{management}")
    keys = Keys(open_key_rows(url, system.namespace), open_key_management(settings), system.namespace)
    try:
        await keys.fetch([*PEOPLE])
        for id, tables in rows.items():
            for row in tables.values():
                name = keys.unseal(sealed_of(row["name"]["sealed"]))
                assert name == (None if id in ERASED else PEOPLE[id])
                assert [PEOPLE["M1"]] == [keys.unseal(sealed_of(it["sealed"])) for it in row["friends"]]
    finally:
        await keys.close()
