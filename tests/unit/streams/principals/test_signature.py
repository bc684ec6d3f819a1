"""In whose name a command comes, and what nobody can make it say."""

from __future__ import annotations

from dataclasses import replace as replaced
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregates.principal import Kind, Principal, process
from streams.kafka.client import ProducerRecord
from streams.principals.key_ring import ContextKeys, KeyRing, encode_keys
from streams.principals.signature import (
    BEHALF,
    CLAIMS,
    PEOPLE,
    PRINCIPAL,
    PROOF,
    Forged,
    Key,
    Signed,
    UnknownKey,
    derived,
    sign,
    verified,
)

MASTER = b"m" * 32
ORDERS = derived(MASTER, "order")
COMMAND = Signed("order", "7", "c1", "CancelOrder", b'{"reason":"x"}', "application/json", "3", "2030-01-01T00:00:00Z")
ALICE = Principal("oidc", "alice ü", ("staff", "a b"), ("commander",))


class Record:
    """A record of the topic of keys."""

    def __init__(self, record: ProducerRecord) -> None:
        self.key, self.value, _ = record


def keys(id: str, signs: bool = True, opens: bool = True) -> Any:
    """What the context of orders has of a key of the system."""
    its = ContextKeys({"order": ORDERS.hex()}, {"order": {"product": "00" * 32}} if signs else {})
    return Record((id.encode(), encode_keys(its if opens else ContextKeys()), []))


@pytest.fixture
def ring() -> KeyRing:
    ring = KeyRing()
    ring.take(keys("k1"))
    return ring


PEOPLES = Key("k1", derived(ORDERS, PEOPLE))
TIMERS = Key("k1", derived(ORDERS, "process:timer"))
names = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=30)
people = st.builds(
    Principal,
    st.sampled_from(["oidc", "token", "cert"]),
    names,
    st.lists(names, max_size=3).map(tuple),
    st.lists(names, max_size=2).map(tuple),
)


@given(people)
def test_who_signs_is_believed(who: Principal) -> None:
    """A person with groups and roles, and a process for a person."""
    ring = KeyRing()
    ring.take(keys("k1"))
    assert who == verified(dict(sign(who, COMMAND, PEOPLES)), COMMAND, ring)
    timer = process("timer", who)
    assert timer == verified(dict(sign(timer, COMMAND, TIMERS)), COMMAND, ring)


@pytest.mark.parametrize(
    "other",
    [
        {"type": "product"},
        {"aggregate_id": "8"},
        {"id": "c2"},
        {"name": "PlaceOrder"},
        {"data": b"{}"},
        {"content_type": "avro/binary"},
        {"expected_sequence": ""},
        {"deadline": ""},
    ],
    ids=lambda other: next(iter(other)),
)
def test_it_is_of_no_use_for_another_command(ring: KeyRing, other: dict[str, Any]) -> None:
    """Whatever is changed, it is refused."""
    with pytest.raises(Forged):
        verified(dict(sign(ALICE, COMMAND, PEOPLES)), COMMAND._replace(**other), ring)


@pytest.mark.parametrize(
    "change",
    [
        {PRINCIPAL: b"oidc:bob"},
        {PRINCIPAL: b"token:alice \xc3\xbc"},
        {PRINCIPAL: b"process:timer"},
        {PRINCIPAL: b"nobody"},
        {PRINCIPAL: b"\xff"},
        {PRINCIPAL: b""},
        {CLAIMS: b""},
        {CLAIMS: b'{"roles":["operator"]}'},
        {CLAIMS: b"{"},
        {BEHALF: b"oidc:bob"},
        {BEHALF: b"\xff"},
        {PROOF: b""},
        {PROOF: b"k1"},
        {PROOF: b"k1:"},
        {PROOF: b"k1:\xff\xc3"},
        {PROOF: b"k2:00"},
    ],
    ids=str,
)
def test_nothing_that_is_said_can_be_changed(ring: KeyRing, change: dict[str, bytes]) -> None:
    """Not who, nor his groups and roles, nor for whom, nor the signature."""
    said = {**dict(sign(ALICE, COMMAND, PEOPLES)), **change}
    with pytest.raises(Forged):
        verified({name: value for name, value in said.items() if value}, COMMAND, ring)


@pytest.mark.parametrize("kind", ["oidc", "token", "cert", "process"])
def test_a_process_speaks_for_itself_alone(ring: KeyRing, kind: Kind) -> None:
    """With the key of a process nobody else can be named: no person, no other process."""
    for name in ("checkout", "timer2", PEOPLE):
        with pytest.raises(Forged):
            verified(dict(sign(Principal(kind, name), COMMAND, TIMERS)), COMMAND, ring)


def test_a_key_that_is_not_known(ring: KeyRing) -> None:
    """It may be read later; one that has ended is known no more."""
    with pytest.raises(UnknownKey, match="'k2', which is not known here"):
        verified(dict(sign(ALICE, COMMAND, Key("k2", PEOPLES.secret))), COMMAND, ring)
    ring.take(keys("k1", opens=False))
    with pytest.raises(UnknownKey):
        verified(dict(sign(ALICE, COMMAND, PEOPLES)), COMMAND, ring)


def test_the_newest_key_signs() -> None:
    """As soon as there is something to sign with, and no sooner; that stays when the rest is written anew."""
    ring = KeyRing()
    assert ring.of_process("order", "product") is None
    ring.take(keys("k1"))
    ring.take(keys("k2", signs=False))
    assert "k1" == ring.of_process("order", "product").id  # type: ignore[union-attr]
    assert ring.of_type("k2", "order") == ORDERS
    ring.take(keys("k2"))
    ring.take(keys("k2", signs=False))
    assert "k2" == ring.of_process("order", "product").id  # type: ignore[union-attr]
    assert ring.of_process("order", "user") is ring.of_process("checkout", "product") is ring.of_type("k1", "user")


@pytest.mark.parametrize("record", [(None, b"{}"), (b"", b"{}"), (b"a:b", b"{}"), (b"k", b"["), (b"\xff", b"{}")])
def test_what_is_no_key(record: tuple[Any, bytes]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (that it is one is what counts)
        KeyRing().take(Record((*record, [])))


def test_groups_and_roles_are_of_the_moment() -> None:
    """A process that works for somebody does not have them."""
    assert process("timer", ALICE).on_behalf_of == replaced(ALICE, groups=(), roles=())


def test_a_process_signs_with_the_newest_key_that_there_is_for_a_type() -> None:
    """Of several apps that hand out keys one may not know all types; a key that is ended signs no more."""
    ring = KeyRing()

    def hand_out(id: str, *types: str) -> None:
        signs = {"checkout": dict.fromkeys(types, "00" * 32)}
        ring.take(Record((id.encode(), encode_keys(ContextKeys({"checkout": "00" * 32}, signs if types else {})), [])))

    def signing(type: str) -> str | None:
        key = ring.of_process("checkout", type)
        return None if key is None else key.id

    hand_out("k1", "order", "product")
    hand_out("k2", "order")
    hand_out("k3")
    assert ["k2", "k1", None] == [signing(type) for type in ("order", "product", "user")]
    hand_out("k1", "order", "product")
    assert "k1" == signing("order")
    ring.take(Record((b"k1", encode_keys(ContextKeys()), [])))
    assert ["k2", None] == [signing(type) for type in ("order", "product")]


def test_whoever_hands_out_a_key_again_takes_nothing_back() -> None:
    """While versions run side by side, one knows types that the other does not: commands of these are not refused."""
    ring = KeyRing()
    newer = ContextKeys(
        {"order": ORDERS.hex(), "invoice": "11" * 32}, {"order": {"product": "00" * 32, "user": "22" * 32}}
    )
    ring.take(Record((b"k1", encode_keys(newer), [])))
    for signs in (False, True):
        ring.take(keys("k1", signs))
        assert (ORDERS, b"\x11" * 32) == (ring.of_type("k1", "order"), ring.of_type("k1", "invoice"))
        assert None not in (ring.of_process("order", "product"), ring.of_process("order", "user"))
    ring.take(keys("k1", opens=False))
    assert ring.of_type("k1", "invoice") is ring.of_process("order", "user") is None
