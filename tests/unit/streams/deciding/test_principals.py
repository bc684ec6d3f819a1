"""Whose commands an owner decides: signatures, the rule of the type, and what is kept."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, get_type_hints

import msgspec
import pytest

from aggregates.principal import Principal, process
from streams.deciding.cache import Cache
from streams.deciding.command_handler import CommandHandler
from streams.deciding.decided_group import DecidedGroup
from streams.deciding.group_handler import GroupHandler
from streams.deciding.messages import Message, command_headers
from streams.deciding.orders import RELEASE
from streams.journal.memory import MemoryJournal
from streams.limits import Limits
from streams.principals.key_ring import ContextKeys, KeyRing, encode_keys
from streams.principals.signature import PEOPLE, PRINCIPAL, PROOF, Key, Signed, derived, sign
from tests.unit.streams.deciding.test_group_handler import HEAD
from tests.unit.streams.ownership.owner_bench import COMMANDS, EVENTS, LINE, OPEN, order

ROOT = b"r" * 32
ALICE, MALLORY = Principal("oidc", OPEN["user_id"]), Principal("oidc", "mallory")
CLERK = Principal("token", "clerk", roles=("operator",))


class Ring(KeyRing):
    """Keys of which some are on the topic, and not read yet."""

    def __init__(self, *to_come: str) -> None:
        super().__init__()
        self._to_come = list(to_come)
        self.looks = 0

    async def catch_up(self) -> None:
        self.looks += 1
        while self._to_come:
            keys = encode_keys(ContextKeys({"order": ROOT.hex()}))
            record: Any = type("Record", (), {"key": self._to_come.pop().encode(), "value": keys})
            self.take(record)


def handler(ring: KeyRing, **limits: Any) -> GroupHandler:
    commands = CommandHandler(
        decider=order, events=EVENTS, commands=COMMANDS, window=10, limits=Limits(**limits), keys=ring
    )
    return GroupHandler(commands, journal=MemoryJournal(), cache=Cache(10**6), log="order@0", slices=1)


def message(offset: int, name: str, data: object, who: Principal | None, id: str = "", key: str = "k1") -> Message:
    """A command to the order 1, in the name of somebody."""
    id, value = id or f"c{offset}", json.dumps(data).encode()
    headers = command_headers(id, name, "/test", "replies")
    if who is not None:
        secret = derived(ROOT, str(who) if who.is_process else PEOPLE)
        headers += sign(who, Signed("order", "1", id, name, value, "application/json"), Key(key, secret))
    return Message(0, offset, b"1", value, headers, 1.0)


def outcomes(group: DecidedGroup) -> list[str]:
    replies = [json.loads(reply) for _, _, reply in group.replies]
    return [reply["status"] if reply["error"] is None else reply["error"]["type"] for reply in replies]


async def test_a_rule_sees_the_state_in_the_order_of_the_log() -> None:
    """Of two commands in one group the second meets what the first has done; what is refused leaves nothing."""
    group = await handler(Ring("k1")).decide_group(
        [
            message(10, "OpenOrder", OPEN, MALLORY),
            message(11, "AddLine", LINE, None),
            message(12, "PlaceOrder", {}, MALLORY),
            message(13, "PlaceOrder", {}, ALICE),
            message(14, "CancelOrder", {"reason": "mine"}, process("timer", MALLORY)),
            message(15, "CancelOrder", {"reason": "no"}, process("timer", ALICE)),
            message(16, "CancelOrder", {"reason": "no"}, CLERK),
        ],
        HEAD,
    )
    assert [*["accepted"] * 2, "Forbidden", "accepted", "Forbidden", *["accepted"] * 2] == outcomes(group)
    assert [
        ("OrderOpened", "oidc:mallory"),
        ("LineAdded", ""),
        ("OrderPlaced", f"oidc:{ALICE.name}"),
        ("OrderCancelled", f"process:timer\noidc:{ALICE.name}"),
        ("SaleWithdrawn", f"process:timer\noidc:{ALICE.name}"),
        ("", "token:clerk"),
    ] == [(row.type, row.principal) for row in group.events]
    assert [] == group.dead_letters


async def test_a_forged_command_is_never_decided() -> None:
    """Whatever is wrong with its signature it fails, and is kept; a proof alone, or a name alone, is none."""
    honest = message(10, "OpenOrder", OPEN, ALICE)
    headers: list[tuple[str, bytes]] = list(honest.headers)
    forged = [
        [(name, b"oidc:mallory" if name == PRINCIPAL else value) for name, value in headers],
        [(name, value) for name, value in headers if name != PROOF],
        [(name, value) for name, value in headers if name != PRINCIPAL],
        [*headers, (PRINCIPAL, b"oidc:mallory")],
    ]
    sent = [Message(0, at, b"1", honest.value, its, 1.0) for at, its in enumerate(forged, 10)]
    sent.append(Message(0, 14, b"1", json.dumps({**OPEN, "user_id": "mallory"}).encode(), headers, 1.0))
    ring = Ring("k1")
    group = await handler(ring).decide_group(sent, HEAD)
    assert ["ForgedPrincipal", "ForgedPrincipal", "ForgedPrincipal", "Unreadable", "ForgedPrincipal"] == outcomes(group)
    assert 5 == len(group.dead_letters)
    assert () == group.events


async def test_a_key_is_read_before_it_is_called_unknown() -> None:
    """One look for a whole group, and none where all keys are known."""
    ring = Ring("k1", "k2")
    owner = handler(ring)
    sent = [message(at, "OpenOrder", OPEN, ALICE, key=f"k{at - 9}") for at in (10, 11, 12)]
    group = await owner.decide_group(sent, HEAD)
    assert ["accepted", "accepted", "UnknownKey"] == outcomes(group)
    await owner.decide_group([message(13, "PlaceOrder", {}, ALICE)], HEAD)
    assert 1 == ring.looks


async def test_a_repeat_is_answered_as_before() -> None:
    """Whoever sends an accepted command again, with its id and data, is told what became of it."""
    first = message(10, "OpenOrder", OPEN, ALICE)
    again = message(11, "OpenOrder", OPEN, MALLORY, id="c10")
    group = await handler(Ring("k1")).decide_group([first, again], HEAD)
    assert ["accepted", "accepted"] == outcomes(group)
    assert [f"oidc:{ALICE.name}"] == [row.principal for row in group.events]


@pytest.mark.parametrize("required", [False, True])
async def test_commands_of_nobody(required: bool) -> None:
    """They are taken, unless the settings want to know whose they are."""
    group = await handler(Ring("k1"), principal_required=required).decide_group(
        [message(10, "OpenOrder", OPEN, None), message(11, "OpenOrder", OPEN, process("checkout"))], HEAD
    )
    assert ["Forbidden" if required else "accepted", "accepted"] == outcomes(group)


async def test_a_command_waits_in_quarantine_for_longer_than_its_key_is_kept() -> None:
    """Whose it is was looked at before it waited, and stands in the journal: it is decided as his."""
    is_broken = True

    def decide(command: Any, state: Any) -> list[Any]:
        if is_broken and type(command).__name__ == "AddLine":
            raise RuntimeError("a bug")
        return order.decide(command, state)

    decide.__annotations__ = get_type_hints(order.decide)
    ring = Ring("k1")
    await ring.catch_up()
    commands = CommandHandler(
        decider=replace(order, decide=decide),
        events=EVENTS,
        commands=COMMANDS,
        window=10,
        limits=Limits(quarantine=True),
        keys=ring,
    )
    owner = GroupHandler(commands, journal=MemoryJournal(), cache=Cache(10**6), log="order@0", slices=1)
    sent = [message(10, "OpenOrder", OPEN, ALICE), message(11, "AddLine", LINE, None)]
    sent += [message(12, "CancelOrder", {"reason": "x"}, CLERK), message(13, "OpenOrder", OPEN, MALLORY)]
    group = await owner.decide_group(sent, HEAD)
    assert ["", "token:clerk", "oidc:mallory"] == [row.principal for row in group.events if row.type.startswith("#")]
    owner.settle(0)

    is_broken = False
    forgotten: Any = type("Record", (), {"key": b"k1", "value": b"{}"})
    ring.take(forgotten)
    late = message(14, "PlaceOrder", {}, ALICE)
    group = await owner.decide_group([message(15, RELEASE, {}, None), late], msgspec.structs.replace(HEAD, nr=group.nr))
    assert ["token:clerk"] == [row.principal for row in group.events if row.type == "OrderCancelled"]
    assert ["UnknownKey"] == [failure.type for envelope, failure in group.dead_letters if envelope.offset == 14]
    assert ["UnknownKey"] == [failure.type for _, failure in group.dead_letters]
