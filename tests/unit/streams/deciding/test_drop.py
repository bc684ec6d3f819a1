"""Dead letters dropped by their owner: for the read side alone, whatever their aggregate is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aggregates.principal import Principal, process
from streams.deciding.messages import Message, command_headers
from streams.deciding.orders import DESK, DROP, desk
from streams.limits import Limits
from streams.principals.key_ring import ContextKeys, encode_keys
from streams.principals.signature import PEOPLE, Key, Signed, derived, sign
from tests.unit.ledgers import Ledgers, Make

ON = Limits(group_linger=0.001, quarantine=True)
ROOT = b"r" * 32
CLERK = Principal("token", "clerk", roles=("operator",))
LETTER: dict[str, Any] = {"letter": "0:17", "command_id": "c1"}


@pytest.fixture
async def it(make: Make) -> Ledgers:
    """Ledgers with quarantine, whose owner has the key of its type."""
    made = await make(ON)
    record: Any = type("Record", (), {"key": b"k1", "value": encode_keys(ContextKeys({"ledger": ROOT.hex()}))})
    made.keys.take(record)
    return made


def order(it: Ledgers, data: Any, who: Principal | None, key: str = "", ledger: str = "a") -> str:
    """Put an order to drop into the topic, in the name of somebody; its id."""
    id, value = f"drop-{len(it.topic)}", json.dumps(data).encode()
    headers = command_headers(id, DROP, "/test", "replies")
    if who is not None:
        secret = derived(ROOT, key or str(who))
        headers += sign(who, Signed("ledger", ledger, id, DROP, value, "application/json"), Key("k1", secret))
    it.topic.append(Message(0, len(it.topic), ledger.encode(), value, headers, 1.0))
    return id


@pytest.mark.parametrize("asker", [CLERK, None])
async def test_dropped_for_the_read_side(it: Ledgers, asker: Principal | None) -> None:
    """Whoever asks there, also where nobody need say who he is: accepted, once or twice, and no row is written."""
    ids = [order(it, LETTER, desk(asker)), order(it, LETTER, desk(asker))]
    await it.settled()
    assert [["accepted"], ["accepted"]] == [it.outbox.to(id) for id in ids]
    assert [(0, 17), (0, 17)] == it.outbox.dropped
    assert [] == [row for commit in it.log for row in commit.events]


@pytest.mark.parametrize(
    ("who", "key", "outcome"),
    [
        (None, "", "Forbidden"),
        (CLERK, PEOPLE, "Forbidden"),
        (process("timer", CLERK), "", "Forbidden"),
        (process("other", process(DESK)), "", "Forbidden"),
        (desk(CLERK), PEOPLE, "ForgedPrincipal"),
        (desk(CLERK), "process:timer", "ForgedPrincipal"),
        (Principal("token", DESK, roles=("operator",)), PEOPLE, "Forbidden"),
    ],
)
async def test_refused_from_strangers(it: Ledgers, who: Principal | None, key: str, outcome: str) -> None:
    """Nobody who is known, a person with his own signature, a process manager, and who signs as the desk with another
    key: nothing is dropped."""
    id = order(it, LETTER, who, key)
    await it.settled()
    assert ([outcome], []) == (it.outbox.to(id), it.outbox.dropped)


@pytest.mark.parametrize("data", [{}, [], {"letter": 7}, {"letter": "0:-1"}, {"letter": "x" * 10_000}, {"letter": ""}])
async def test_no_letter(it: Ledgers, data: Any) -> None:
    """What names no dead letter is answered, and drops none."""
    id = order(it, data, desk(None))
    await it.settled()
    assert (["Unreadable"], []) == (it.outbox.to(id), it.outbox.dropped)


async def test_an_aggregate_leaves_its_quarantine(it: Ledgers) -> None:
    """For the command of the dropped letter, and for no other; those that wait go on, over several commits."""
    it.limits = Limits(group_linger=0.001, quarantine=True, group_commands=2)
    await it.crash()
    await it.poisoned(3, 4, 5)
    order(it, LETTER, desk(CLERK))
    await it.settled()
    assert ["w3", "w4", "w5"] == await it.waiting("a")
    id = order(it, {"letter": "0:18", "command_id": "poison"}, desk(CLERK))
    await it.settled()
    assert [] == await it.waiting("a")
    assert (1, 3, 4, 5) == await it.posted("a")
    assert ["accepted"] == it.outbox.to(id)
    assert [(0, 17), (0, 18)] == it.outbox.dropped
    assert f"process:{DESK}\ntoken:clerk" in {row.principal for commit in it.log for row in commit.events}


async def test_of_an_aggregate_that_cannot_be_loaded(it: Ledgers) -> None:
    """Its commands fail, and their letters can be dropped all the same."""
    it.write("a", "Post", amount=1)
    await it.settled()

    def bug() -> None:
        raise ValueError("no")

    it.evolving = bug
    await it.crash()
    failed = it.write("a", "Post", amount=2)
    dropped = order(it, LETTER, desk(CLERK))
    await it.covered()
    assert (["DomainError"], ["accepted"]) == (it.outbox.to(failed), it.outbox.to(dropped))
    assert [(0, 17)] == it.outbox.dropped
