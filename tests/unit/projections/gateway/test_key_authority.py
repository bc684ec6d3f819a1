"""The keys of the system: made once, handed out before they are used, renewed, and ended."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from aggregates.principal import Principal
from aggregates.shop.checkout import checkout
from aggregates.shop.order import order
from projections.applying.control import Control
from projections.gateway.key_authority import KEEP_SECONDS, RENEW_SECONDS, KeyAuthority
from projections.http.problems import HttpProblem, NotNow
from streams.access.grants import Grants
from streams.access.principal import Identified, asked_by
from streams.kafka.client import ProducerRecord
from streams.principals.key_ring import KeyRing
from streams.principals.signature import PROOF, Forged, Signed, sign, verified
from streams.settings import Settings
from tests.unit.control_topic import ControlTopic, following

COMMAND = Signed("order", "7", "c1", "PlaceOrder", b"{}", "application/json")
ALICE = Principal("oidc", "alice", ("staff",))
GRANTS = """
[[grants]]
to = ["group:staff"]
role = "operator"
contexts = ["orders"]

[[grants]]
to = ["*"]
role = "commander"
contexts = ["*"]
"""


class Kafka:
    """The control topic, and what was published to the others, in order."""

    def __init__(self, control: ControlTopic) -> None:
        self._control = control
        self.order: list[str] = []
        self.rings: defaultdict[str, KeyRing] = defaultdict(KeyRing)

    async def publish(self, topic: str, partition: int, records: Sequence[ProducerRecord], refuse: bool = False) -> int:
        self.order.append(topic)
        if topic == "projections-control":
            return await self._control.publish(topic, partition, records)
        for key, value, _ in records:
            self.rings[topic].take(SimpleNamespace(key=key, value=value))
        return 0

    async def last_record(self, topic: str, partition: int) -> Any:
        return await self._control.last_record(topic, partition)


def authority(kafka: Kafka, control: Control) -> KeyAuthority:
    """That of a worker with two contexts; an order's is in `orders`."""
    control._broker = kafka  # type: ignore[assignment]
    access = SimpleNamespace(grants=Grants.read(GRANTS))
    app = SimpleNamespace(settings=Settings(namespace="n_"), access=access, contexts={"order": "orders"})
    contexts = {
        "order": SimpleNamespace(name="orders", process=None, decider=order),
        "checkout": SimpleNamespace(name="checkout", process=checkout, decider=checkout.decider),
    }
    side: Any = SimpleNamespace(app=app, control=control, broker=kafka, contexts=contexts)
    return KeyAuthority(side)


ORDERS, CHECKOUT = "n_orders-keys", "n_checkout-keys"


async def test_who_sends_a_command_is_signed() -> None:
    """With groups, and the roles in the context of the command; its owner can check it, and nobody else could sign."""
    topic = ControlTopic()
    kafka = Kafka(topic)
    async with following(topic) as control:
        keys = authority(kafka, control)
        assert [] == keys.sign(COMMAND)
        with asked_by(Identified(ALICE)), pytest.raises(NotNow):
            keys.sign(COMMAND)
        await keys.start()
        with asked_by(Identified(ALICE)):
            headers = keys.sign(COMMAND)
        for name in ("a\nb", "x" * 600):
            with asked_by(Identified(Principal("cert", name))), pytest.raises(HttpProblem, match="your name"):
                keys.sign(COMMAND)
    found = verified(dict(headers), COMMAND, kafka.rings[ORDERS])
    assert ("oidc:alice", ("staff",), ("commander", "auditor", "operator")) == (
        str(found),
        found.groups,
        tuple(found.roles),
    )
    with pytest.raises(Forged):
        verified(dict(headers), COMMAND, kafka.rings[CHECKOUT])
    key = kafka.rings[CHECKOUT].of_process("checkout", "order")
    assert key is not None
    named = sign(Principal("process", "checkout"), COMMAND, key)
    assert "process:checkout" == str(verified(dict(named), COMMAND, kafka.rings[ORDERS]))
    assert kafka.rings[ORDERS].of_process("checkout", "order") is None
    assert key.secret.hex() not in repr(key) + repr(control.system_keys)


async def test_a_key_is_handed_out_before_it_signs() -> None:
    """All contexts have what they check with, then what they sign with, and then the gateway signs with it."""
    topic = ControlTopic()
    kafka = Kafka(topic)
    async with following(topic) as control:
        await authority(kafka, control).start()
    assert [{ORDERS, CHECKOUT}, {ORDERS, CHECKOUT}, {"projections-control"}] == [
        {*kafka.order[:2]},
        {*kafka.order[2:4]},
        {*kafka.order[4:]},
    ]


async def test_workers_that_start_share_a_key() -> None:
    """Whoever finds some makes none, and hands out again what there is: a context may be new."""
    topic = ControlTopic()
    kafka, late = Kafka(topic), Kafka(topic)
    async with following(topic) as one, following(topic) as other:
        first = authority(kafka, one)
        await first.start()
        await other.wait_for(one.offset)
        await authority(late, other).start()
        assert [key.id for key in one.system_keys] == [key.id for key in other.system_keys]
        with asked_by(Identified(ALICE)):
            headers = first.sign(COMMAND)
    assert ALICE.name == verified(dict(headers), COMMAND, late.rings[ORDERS]).name


async def test_a_worker_signs_with_what_its_own_contexts_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """The leader may be of a version before that does not know all of them: until this worker has handed out the new
    key, too, it signs with the one before."""
    topic = ControlTopic()
    kafka, of_leader = Kafka(topic), Kafka(topic)
    async with following(topic) as one, following(topic) as other:
        keys, leader = authority(kafka, one), authority(of_leader, other)
        await keys.start()
        await other.wait_for(one.offset)
        pass_by(other, RENEW_SECONDS, monkeypatch)
        await leader.renew()
        await one.wait_for(other.offset)
        assert 2 == len(one.system_keys)
        for _ in range(2):
            with asked_by(Identified(ALICE)):
                verified(dict(keys.sign(COMMAND)), COMMAND, kafka.rings[ORDERS])
            await keys.pass_on()
        with asked_by(Identified(ALICE)):
            assert dict(keys.sign(COMMAND))[PROOF].startswith(one.system_keys[-1].id.encode())
        before = len(kafka.order)
        await keys.pass_on()
        assert before == len(kafka.order)


async def test_renewal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A day later there is a new key, with which is signed; the one before goes on to count until it has been kept for
    long enough."""
    topic = ControlTopic()
    kafka = Kafka(topic)
    async with following(topic) as control:
        keys = authority(kafka, control)
        await keys.start()
        with asked_by(Identified(ALICE)):
            first = keys.sign(COMMAND)
        note = keys.note_headers("c1", b"{}")
        await keys.renew()
        assert 1 == len(control.system_keys)
        original = control.system_keys[0].id
        for seconds, is_kept in ((RENEW_SECONDS, True), (KEEP_SECONDS - 60, True), (60, False)):
            pass_by(control, seconds, monkeypatch)
            await keys.renew()
            assert is_kept == (original in [key.id for key in control.system_keys])
            record = SimpleNamespace(key=b"c1", value=b"{}", headers=note)
            assert is_kept == keys.is_note(record)
            with asked_by(Identified(ALICE)):
                newest = keys.sign(COMMAND)
            assert newest != first
            verified(dict(newest), COMMAND, kafka.rings[ORDERS])
            if is_kept:
                verified(dict(first), COMMAND, kafka.rings[ORDERS])
    with pytest.raises(Forged):
        verified(dict(first), COMMAND, kafka.rings[ORDERS])


def pass_by(control: Control, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    made = {id: key._replace(made=key.made - seconds) for id, key in control._keys.items()}
    monkeypatch.setattr(control, "_keys", made)


async def test_a_key_is_kept_from_when_it_signed_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has renewed it for long, as the read side was down, and process managers have signed with it until now."""
    topic = ControlTopic()
    kafka = Kafka(topic)
    async with following(topic) as control:
        keys = authority(kafka, control)
        await keys.start()
        key = kafka.rings[CHECKOUT].of_process("checkout", "order")
        assert key is not None
        pass_by(control, 2 * KEEP_SECONDS, monkeypatch)
        headers = sign(Principal("process", "checkout"), COMMAND, key)
        for _ in range(2):
            await keys.renew()
        assert 2 == len(control.system_keys)
        verified(dict(headers), COMMAND, kafka.rings[ORDERS])


async def test_a_key_that_ends_while_it_is_handed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that starts hands it out behind its end: it ends it, too, when it reads that."""
    topic = ControlTopic()
    kafka = Kafka(topic)
    async with following(topic) as control, following(topic) as other:
        leader, late = authority(kafka, control), authority(kafka, other)
        await leader.start()
        first = control.system_keys[0].id
        pass_by(control, RENEW_SECONDS, monkeypatch)
        await leader.renew()
        pass_by(control, KEEP_SECONDS, monkeypatch)
        await other.wait_for(control.offset)
        await topic.let_read(len(topic.records))
        ending = asyncio.create_task(leader.renew())
        await asyncio.sleep(0)
        await late.start()
        await topic.let_read()
        await ending
        await other.wait_for(control.offset)
        assert first in kafka.rings[ORDERS]._keys
        await late.pass_on()
        assert first not in kafka.rings[ORDERS]._keys
        assert [key.id for key in control.system_keys] == list(kafka.rings[ORDERS]._keys)


async def test_what_fails_half_way_is_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that the control topic does not take is the same at the next attempt: the room that contexts have for keys
    is bounded. One that the contexts could not be told to forget is ended later."""
    topic = ControlTopic()
    kafka = Kafka(topic)
    async with following(topic) as control:
        keys, publish = authority(kafka, control), kafka.publish
        broken = "projections-control"

        async def fails(name: str, partition: int, records: Sequence[ProducerRecord], refuse: bool = False) -> int:
            if name == broken:
                raise TimeoutError
            return await publish(name, partition, records, refuse)

        kafka.publish = fails  # type: ignore[method-assign]
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await keys.start()
        assert 1 == len(kafka.rings[ORDERS]._keys)
        broken = ""
        await keys.start()
        first = control.system_keys[0].id
        assert [first] == list(kafka.rings[ORDERS]._keys)

        pass_by(control, RENEW_SECONDS, monkeypatch)
        await keys.renew()
        pass_by(control, KEEP_SECONDS, monkeypatch)
        broken = ORDERS
        with pytest.raises(TimeoutError):
            await keys.renew()
        broken = ""
        await keys.renew()
        assert first not in kafka.rings[ORDERS]._keys
        assert first not in [key.id for key in control.system_keys]


async def test_notes() -> None:
    """They are of a worker of the read side, for this id, with this text."""
    topic = ControlTopic()
    async with following(topic) as control:
        keys = authority(Kafka(topic), control)
        await keys.start()
        headers = keys.note_headers("c1", b"{}")
        assert keys.is_note(SimpleNamespace(key=b"c1", value=b"{}", headers=headers))
        [(name, proof)] = headers
        for key, value, its in (
            (b"c2", b"{}", headers),
            (b"c1", b"{ }", headers),
            (b"c1", b"{}", []),
            (None, None, headers),
            (b"c1", b"{}", [(name, proof[:-1])]),
            (b"c1", b"{}", [(name, b"\xff")]),
        ):
            assert not keys.is_note(SimpleNamespace(key=key, value=value, headers=its))
