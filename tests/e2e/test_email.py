"""One email, one user: over topics alone, on real servers, with the worker killed while it decides."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from typing import Any

import pytest
import pytest_asyncio

from tests.e2e.client import eventually
from tests.e2e.system import System
from tests.e2e.worker import PROJECTIONS, USERS, Worker

pytestmark = pytest.mark.asyncio(loop_scope="module")
JOURNAL = "postgres"

SECONDS = 30.0
ADDRESS = "ada@example.org"
IDS = [f"user-{number}" for number in range(20)]


class Users:
    """The users' worker, and what the tables show."""

    def __init__(self, system: System, worker: Worker, door: Worker) -> None:
        self.system, self.worker, self.door = system, worker, door

    async def email(self, id: str) -> tuple[Any, Any, Any] | None:
        """What a user has, has asked for, and was refused last; None before anything is shown."""
        status, row, _ = await self.system.get(self.door, f"/users/{id}")
        return (row["email"], row["email_pending"], row["email_refused"]) if status == 200 else None

    async def change(self, id: str, address: str) -> None:
        reply = await self.system.ask("user", id, "ChangeEmail", {"email": address})
        assert ("accepted", ["EmailChanged"]) == (reply["status"], reply["events"])

    async def becomes(self, id: str, *expected: str | None) -> None:
        """Return when this is shown of a user's email."""
        found: Any = None

        async def shown() -> bool:
            nonlocal found
            found = await self.email(id)
            return bool(found == expected)

        await eventually(shown, SECONDS, lambda: f"{id}: {found}, not {expected}: {self.worker.tail()}")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def users(system: System) -> Users:
    """A worker for the users and one for the tables."""
    workers = [system.start(module) for module in (USERS, PROJECTIONS)]
    await asyncio.gather(*map(system.all_served, workers))
    return Users(system, *workers)


async def test_exactly_one_has_it(users: Users) -> None:
    """Of twenty who register with one email at once exactly one has it, and all others are told, though the worker is
    killed meanwhile; each is answered exactly once."""
    system = users.system
    claims = await system.inbox("email-commands")
    data = {"country": "France", "email": "Ada@Example.org"}
    await asyncio.gather(*(system.command("user", id, "RegisterUser", data) for id in IDS))
    await eventually(lambda: claims.records, SECONDS, users.worker.tail)
    users.worker.signal(signal.SIGKILL)
    users.worker.end()
    users.worker = system.start(USERS, users.worker.folder)

    async def all_answered() -> Counter[Any] | None:
        found = await asyncio.gather(*map(users.email, IDS))
        return Counter(found) if all(email and email[1] is None for email in found) else None

    answered = await eventually(all_answered, 90, users.worker.tail)
    assert {(ADDRESS, None, None): 1, (None, None, ADDRESS): len(IDS) - 1} == answered
    logs = (await system.commits("users", "email")).values()
    decided = Counter(event.type for log in logs for commit in log for event in commit.events)
    assert {"EmailClaimed": 1, "ClaimRefused": len(IDS) - 1} == decided


async def test_a_change_frees_the_one_before(users: Users) -> None:
    """Who changes the email keeps the old one until the new one is confirmed; from then on the old one is free."""
    emails = {id: await users.email(id) for id in IDS}
    first = next(id for id, email in emails.items() if email == (ADDRESS, None, None))
    second = next(id for id in IDS if id != first)
    await users.change(second, "grace@example.org")
    await users.becomes(second, "grace@example.org", None, None)
    await users.change(first, "grace@example.org")
    await users.becomes(first, ADDRESS, None, "grace@example.org")
    await users.change(first, "countess@example.org")
    await users.becomes(first, "countess@example.org", None, None)
    await users.change(second, ADDRESS)
    await users.becomes(second, ADDRESS, None, None)
    await users.change(first, "grace@example.org")
    await users.becomes(first, "grace@example.org", None, None)


async def test_a_deactivation_frees_it(users: Users) -> None:
    """The email of a deactivated user is free, also one that was still asked for; nothing ended as a dead letter."""
    system = users.system
    assert "accepted" == (await system.ask("user", "leaving", "RegisterUser", {"country": "France"}))["status"]
    await users.change("leaving", "brief@example.org")
    assert "accepted" == (await system.ask("user", "leaving", "DeactivateUser", {}))["status"]
    await users.becomes("leaving", None, None, None)
    assert "accepted" == (await system.ask("user", "staying", "RegisterUser", {"country": "France"}))["status"]

    async def has_it() -> bool:
        await system.ask("user", "staying", "ChangeEmail", {"email": "brief@example.org"})
        email = await users.email("staying")
        return email is not None and email[0] == "brief@example.org"

    await eventually(has_it, SECONDS, users.worker.tail)
    assert [] == [*await system.read("email-dead-letters"), *await system.read("user-dead-letters")]


async def test_nobody_confirms_it_but_the_process(users: Users) -> None:
    """Over HTTP there is no way to confirm an email oneself, nor to claim one."""
    confirm = {"type": "ConfirmEmail", "data": {"email": "free@example.org", "request": 1}}
    claim = {"type": "ClaimEmail", "data": {"user_id": "user-0", "request": 1}}
    for path, body, status in (("/users/user-0", confirm, 422), ("/emails/free@example.org", claim, 404)):
        async with users.system.http.post(f"{users.door.url}{path}/commands", json=body) as response:
            assert status == response.status
