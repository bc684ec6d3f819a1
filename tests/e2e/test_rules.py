"""Rules on state at running workers: who may do what is decided by the owner, in the order of its log."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from projections.gateway.command_records import CommandAggregate, KafkaPosition, SentCommand, encode_sent
from streams.access.tokens import new_token
from tests.e2e.client import PARTITIONS, Inbox, eventually, headers
from tests.e2e.client import partition_of as partition
from tests.e2e.orders import LINE
from tests.e2e.system import System
from tests.e2e.worker import CHECKOUT, ORDERS, PRODUCTS, PROJECTIONS, TIMERS, Worker

pytestmark = pytest.mark.asyncio(loop_scope="module")
JOURNAL = "sqlite"

GRANTS = """
[[grants]]
to = ["*"]
role = "commander"
contexts = ["*"]

[[grants]]
to = ["*"]
role = "reader"
contexts = ["*"]

[[grants]]
to = ["token:clerk"]
role = "operator"
contexts = ["orders"]
"""
OPEN = {"user_id": "alice", "kind": "sale"}


@dataclass
class Shop:
    """The shop with users who are known: a door of it, and the tokens by name."""

    system: System
    door: Worker
    tokens: dict[str, str]

    async def send(
        self, who: str, type: str, id: str, command: str, data: Any = None, **more: str
    ) -> tuple[int, dict[str, Any]]:
        """A command over HTTP: the status, and the answer."""
        bearer = {"Authorization": f"Bearer {self.tokens[who]}", **more}
        body = {"type": command, "data": data or {}}
        async with self.system.http.post(
            f"{self.door.url}/{type}s/{id}/commands", json=body, headers=bearer
        ) as response:
            return response.status, await response.json()

    async def opened(self, id: str) -> None:
        """An order of alice's, ready to be placed."""
        for command, data in (("OpenOrder", OPEN), ("AddLine", {**LINE, "sku": "tea"})):
            status, answer = await self.send("alice", "order", id, command, data)
            assert 200 == status, answer

    async def history(self, type: str, id: str) -> list[dict[str, Any]]:
        bearer = {"Authorization": f"Bearer {self.tokens['alice']}"}
        async with self.system.http.get(f"{self.door.url}/{type}s/{id}/history", headers=bearer) as response:
            return list((await response.json())["events"]) if response.status == 200 else []


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(system: System, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    folder: Path = tmp_path_factory.mktemp("rules")
    known = {name: new_token(name) for name in ("alice", "mallory", "clerk")}
    (folder / "tokens").write_text("".join(f"{line}\n" for _, line in known.values()))
    (folder / "grants").write_text(GRANTS)
    settings = {"HTTP_TOKENS_FILE": str(folder / "tokens"), "HTTP_GRANTS_FILE": str(folder / "grants")}
    contexts = [system.start(module) for module in (ORDERS, PRODUCTS, CHECKOUT)]
    contexts.append(system.start(TIMERS, PRINCIPAL_REQUIRED="yes"))
    door = system.start(PROJECTIONS, **settings)
    await asyncio.gather(*map(system.all_served, contexts), system.all_served(door))
    shop = Shop(system, door, {name: token for name, (token, _) in known.items()})
    for command, data in (("DefineProduct", {"name": "Tea", "price": "1.00"}), ("Restock", {"quantity": 99})):
        assert 200 == (await shop.send("clerk", "product", "tea", command, data))[0]
    yield shop


async def test_only_the_user_of_an_order_cancels_it(shop: Shop) -> None:
    """Another one is refused with 403, and nothing is written; who did it stands with each event, over HTTP and on
    Kafka."""
    await shop.opened("o-1")
    status, refused = await shop.send("mallory", "order", "o-1", "CancelOrder", {"reason": "mine"})
    assert (403, "Forbidden", "rejected") == (status, refused["title"], refused["outcome"]), refused
    assert "token:mallory may not send CancelOrder" in refused["detail"]
    status, accepted = await shop.send("alice", "order", "o-1", "CancelOrder", {"reason": "changed mind"})
    assert 200 == status, accepted
    await shop.opened("o-2")
    assert 200 == (await shop.send("clerk", "order", "o-2", "CancelOrder", {"reason": "closed"}))[0]
    events = await shop.history("order", "o-1")
    assert [("OrderOpened", "token:alice"), ("LineAdded", "token:alice"), ("OrderCancelled", "token:alice")] == [
        (event["type"], event["principal"]) for event in events
    ]
    assert "token:clerk" == (await shop.history("order", "o-2"))[-1]["principal"]
    inbox: Inbox = await shop.system.inbox("order-events")
    await eventually(lambda: len(inbox.by_key["o-1"]) == 3, 15, "no events")
    assert {b"token:alice"} == {dict(record.headers)["ce_principal"] for record in inbox.by_key["o-1"]}


async def test_a_race_is_decided_in_the_log(shop: Shop) -> None:
    """Of commands of several people in the same moment each meets the state that those before it have left."""
    await shop.opened("o-3")
    senders = ["mallory", "alice"] * 8
    answers = await asyncio.gather(
        *(shop.send(who, "order", "o-3", "CancelOrder", {"reason": "now"}) for who in senders)
    )
    assert [403 if who == "mallory" else 200 for who in senders] == [status for status, _ in answers]


async def test_nobody_speaks_in_the_name_of_another(shop: Shop) -> None:
    """What is written to the topic itself is of nobody; with a name it is refused, as a signature of another command
    is; and the command stands in the dead letters."""
    await shop.opened("o-4")
    system = shop.system
    commands: Inbox = await system.inbox("order-commands")
    await eventually(lambda: len(commands.by_key["o-4"]) == 2, 15, "no commands")
    signed = [pair for pair in commands.by_key["o-4"][0].headers if pair[0] in ("ce_principal", "ce_proof")]
    assert 2 == len(signed)
    inbox = await system.answers()
    for id, its in (("f-1", signed), ("f-2", [("ce_principal", b"token:alice")])):
        sent = [*headers(id, "CancelOrder", system.topic("answers")), *its]
        await system.send("order", "o-4", b'{"reason": "mine"}', sent)
        reply = await inbox.answer(id)
        assert ("failed", "ForgedPrincipal") == (reply["status"], reply["error"]["type"])
    letters: Inbox = await system.inbox("order-dead-letters")
    await eventually(lambda: len(letters.by_key["o-4"]) == 2, 15, "no dead letters")
    assert "accepted" == (await system.ask("order", "o-4", "CancelOrder", {"reason": "by hand"}))["status"]
    assert "principal" not in (await shop.history("order", "o-4"))[-1]


async def test_processes_have_names(shop: Shop) -> None:
    """What a process manager does is its own, on behalf of who has caused it, through all that follows."""
    await shop.opened("o-5")
    assert 403 == (await shop.send("mallory", "order", "o-5", "PlaceOrder"))[0]
    assert 200 == (await shop.send("alice", "order", "o-5", "PlaceOrder"))[0]

    async def confirmed() -> Any:
        return [event for event in await shop.history("order", "o-5") if event["type"] == "OrderConfirmed"]

    [event] = await eventually(confirmed, 30, "not confirmed")
    assert ("process:checkout", "token:alice") == (event["principal"], event["on_behalf_of"])
    reserved = (await shop.history("product", "tea"))[-1]
    assert ("process:checkout", "token:alice") == (reserved["principal"], reserved["on_behalf_of"])


async def test_a_timer_is_nobodys_deputy(shop: Shop) -> None:
    """It sends for who has scheduled it, whom the rule looks at when it fires. Where the timers want to know whose they
    are, nobody else has it send anything."""
    await shop.opened("o-6")
    cancel = {"to": "order", "id": "o-6", "command": "CancelOrder", "data": json.dumps({"reason": "too late"})}
    due = {"due": "2020-01-01T00:00:00Z", **cancel}
    refused = await shop.system.ask("timer", "t-0", "ScheduleTimer", due)
    assert ("rejected", "Forbidden") == (refused["status"], refused["error"]["type"])
    assert 200 == (await shop.send("mallory", "timer", "t-1", "ScheduleTimer", {**due, "command_id": "by-mallory"}))[0]
    commands: Inbox = await shop.system.inbox("order-commands")

    def fired() -> bool:
        return any(dict(record.headers)["ce_id"] == b"by-mallory" for record in commands.by_key["o-6"])

    await eventually(fired, 30, "not fired")
    assert 200 == (await shop.send("alice", "timer", "t-2", "ScheduleTimer", {**due, "command_id": "by-alice"}))[0]

    async def cancelled() -> Any:
        return [event for event in await shop.history("order", "o-6") if event["type"] == "OrderCancelled"]

    [event] = await eventually(cancelled, 30, "not cancelled")
    assert ("by-alice", "process:timer", "token:alice") == (
        event["command_id"],
        event["principal"],
        event["on_behalf_of"],
    )


async def test_notes_are_written_by_the_read_side_alone(shop: Shop) -> None:
    """Who may write replies cannot make an id another command's."""
    topic, id = shop.system.topic("gateway-replies"), "forged-note"
    place = KafkaPosition(shop.system.topic("order-commands"), 0, 1)
    note = SentCommand(id, CommandAggregate("order", "o-x"), "ShipOrder", place, "f")
    written = await shop.system.producer.send_and_wait(
        topic, encode_sent(note), key=id.encode(), partition=partition(id) % PARTITIONS
    )
    assert written.offset >= 0
    status, answer = await shop.send("alice", "order", "o-7", "OpenOrder", OPEN, **{"Idempotency-Key": id})
    assert 200 == status, answer
