"""A person is forgotten by one order, and nobody else: the small canary, on real workers."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.client import eventually
from tests.e2e.system import System
from tests.unit.streams.keys.club import write_schemas

pytestmark = pytest.mark.asyncio(loop_scope="module")
JOURNAL = "sqlite"

MODULE = "tests.e2e.members"
PEOPLE = {f"M{number}": f"Zuleika Canary {number} Quartz" for number in range(6)}
ERASED = ("M0", "M3")
FORMS = ("utf-8", "utf-16-le", "utf-16-be")


def canaries_in(folder: Path) -> list[str]:
    """The names that stand in any file below a folder, in any encoding."""
    files = [(file, file.read_bytes()) for file in folder.rglob("*") if file.is_file()]
    forms = [
        form for name in PEOPLE.values() for form in (*(name.encode(it) for it in FORMS), name.encode().hex().encode())
    ]
    return [f"{file.name}: {form!r}" for file, data in files for form in forms if form in data]


async def test_who_is_forgotten_is_gone_and_the_others_are_all_there(system: System) -> None:
    """Names that were sent by Kafka stand in no file of journal, keys and logs; a third are forgotten, which is said by
    a receipt; what they say from then on is rejected, and the others are as they were, also after a renewal."""
    schemas = system.data.parent / f"{system.namespace}club"
    write_schemas(schemas)
    settings = {"CLUB_SCHEMAS": str(schemas), "KEY_LEASE_SECONDS": "1", "DATA_DIR": str(schemas / "data")}

    async def ordered(*arguments: str) -> str:
        ended = await system.run("-A", MODULE, "subjects", *arguments, **settings)
        assert ended.returncode == 0, ended.stderr
        return str(ended.stdout)

    worker = system.start(MODULE, folder=schemas / "data", level="info", **settings)
    await system.all_served(worker, seconds=150)
    join = [system.ask("member", id, "Join", {"name": name}) for id, name in PEOPLE.items()]
    assert {"accepted"} == {reply["status"] for reply in await asyncio.gather(*join)}
    assert [] == canaries_in(system.data)
    assert [] == [
        name
        for record in await system.read("member-commits")
        for name in PEOPLE.values()
        if name.encode() in (record.value or b"")
    ]

    for id in ERASED:
        receipt: dict[str, Any] = json.loads(await ordered("forget", id, "--yes", "--reason", "asked for"))
        assert ("erased", "asked for") == (receipt["state"], receipt["reason"])
    assert "living" == json.loads(await ordered("show", "M1"))["state"]
    assert "wrapped anew, 1 destroyed" in await ordered("renew")

    async def refused() -> bool:
        reply = await system.ask("member", "M0", "Join", {"name": PEOPLE["M0"]})
        return reply["status"] == "rejected" and reply["error"]["type"] == "SubjectErased"

    await eventually(refused, 30, worker.tail)
    for id in PEOPLE.keys() - set(ERASED):
        assert "accepted" == (await system.ask("member", id, "Greet", {}))["status"]
    assert [] == canaries_in(system.data)
    shown = await system.run("-A", MODULE, "history", "member", "M1", "--json", **settings)
    assert shown.returncode == 0, shown.stderr
    assert PEOPLE["M1"] not in shown.stdout
    assert "sealed" in shown.stdout
