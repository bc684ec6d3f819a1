"""What is wrong with a command that comes over HTTP is said by name, and what is right goes to Kafka as it came."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from yarl import URL

from aggregates.process_manager import ProcessManager
from aggregates.shop.checkout import checkout
from aggregates.shop.order import order
from aggregates.shop.user import user
from aggregates.timer import timer
from projections.gateway.command_data import CommandData, Invalid
from projections.gateway.command_request import (
    CheckedCommand,
    CommandReader,
    command_id,
    fingerprint,
    later,
    read_path_id,
    wait_of,
)
from projections.gateway.gateway import accepted_of
from projections.http.bodies import BodyBytes
from projections.http.problems import HttpProblem
from streams.aggregate_type import AggregateType
from streams.settings import Settings

READER = CommandReader({"order": order.commands}, 10_000, "gateway-replies", 4)
LINE = {"sku": "85123A", "description": "T-LIGHT HOLDER", "quantity": 6, "unit_price": "2.55"}


@dataclass(frozen=True)
class Part:
    sku: str
    pieces: int = 1


@dataclass(frozen=True)
class Nested:
    """A command with records in records."""

    parts: tuple[Part, ...]
    by_name: dict[str, Part] | None = None


def refused(body: str | bytes) -> HttpProblem:
    """What the reader says to a body."""
    with pytest.raises(HttpProblem) as caught:
        READER.parse("order", body.encode() if isinstance(body, str) else body)
    return caught.value


def faults(body: str) -> list[tuple[str, str]]:
    """The pointers of a 422, and what it says of each."""
    error = refused(body)
    assert 422 == error.status
    return [(fault.pointer, fault.detail) for fault in error.members["errors"]]  # type: ignore[attr-defined]


def nested(data: Any) -> list[str]:
    """The pointers of what is wrong with a `Nested`."""
    with pytest.raises(Invalid) as caught:
        CommandData(Nested).check(json.dumps(data).encode())
    return [fault.pointer for fault in caught.value.faults]


def test_good_command() -> None:
    """The data of a command go on byte for byte."""
    text = '{ "quantity":6, "sku":"85123A", "description":"A",  "unit_price":"2.55" }'
    name, data, value = READER.parse("order", f'{{"type": "AddLine", "data": {text}}}'.encode())
    assert ("AddLine", text.encode(), 6) == (name, data, value["quantity"])


def test_no_data() -> None:
    """A command without fields needs no data."""
    assert ("PlaceOrder", b"{}", {}) == READER.parse("order", b'{"type": "PlaceOrder"}')


def test_unknown_command() -> None:
    """The known commands are named."""
    [(pointer, detail)] = faults('{"type": "AddLines", "data": {}}')
    assert "/type" == pointer
    assert all(name in detail for name in order.commands)


def test_wrong_type_of_a_field() -> None:
    """A JSON pointer names the field, in the words of the decoder that the owner uses."""
    body = json.dumps({"type": "AddLine", "data": LINE | {"quantity": "6"}})
    assert [("/data/quantity", "Expected `int`, got `str`")] == faults(body)


def test_missing_field() -> None:
    """The pointer says where it should stand."""
    assert ["/data/sku"] == [pointer for pointer, _ in faults('{"type": "AddLine", "data": {}}')]


def test_unknown_fields() -> None:
    """Every field that a command does not have is named, with those that it has, and what else is wrong."""
    line = {"skuu": "1", "a/b~c": 1, **{name: value for name, value in LINE.items() if name != "sku"}}
    found = faults(json.dumps({"type": "AddLine", "data": line}))
    assert ["/data/skuu", "/data/a~1b~0c", "/data/sku"] == [pointer for pointer, _ in found]
    assert "sku, description, quantity, unit_price" in found[0][1]


def test_data_that_is_no_object() -> None:
    """The pointer names the data as a whole."""
    for data in ("5", "null", "[]", '"{}"'):
        assert ["/data"] == [pointer for pointer, _ in faults(f'{{"type": "PlaceOrder", "data": {data}}}')]


def test_body_of_another_form() -> None:
    """Fields beside `type` and `data` are refused: the command id, say, is a header."""
    assert ["/id"] == [pointer for pointer, _ in faults('{"type": "PlaceOrder", "id": "1"}')]
    assert ["/type"] == [pointer for pointer, _ in faults('{"data": {}}')]
    assert [""] == [pointer for pointer, _ in faults("[]")]


def test_nested_records() -> None:
    """Fields are found at any depth; the pointer to a wrong type ends at a mapping, whose key is unknown."""
    assert ["/data/parts/1/piece"] == nested({"parts": [{"sku": "1"}, {"sku": "2", "piece": 3}]})
    assert ["/data/parts/0/pieces"] == nested({"parts": [{"sku": "1", "pieces": "3"}]})
    assert ["/data/by_name/x/y"] == nested({"parts": [], "by_name": {"x": {"sku": "1", "y": 1}}})
    assert ["/data/by_name"] == nested({"parts": [], "by_name": {"x": {"sku": 1}}})


@pytest.mark.parametrize(
    "body",
    ["", "{", "nonsense", '{"type": "PlaceOrder", "data": {"a": NaN}}', b'{"type": "PlaceOrder", "data": {"\xff": 1}}'],
)
def test_no_json(body: str | bytes) -> None:
    """What is no JSON is 400."""
    assert 400 == refused(body).status


def test_nested_too_deeply() -> None:
    """Nor is a body that no decoder can follow."""
    deep = "[" * 100_000 + "]" * 100_000
    assert 400 == refused(f'{{"type": "PlaceOrder", "data": {{"a": {deep}}}}}').status


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda its: st.lists(its, max_size=4) | st.dictionaries(st.sampled_from([*LINE, "x"]), its, max_size=4),
        max_leaves=10,
    )
)
def test_any_data(data: Any) -> None:
    """Any data is a command, or refused."""
    with suppress(HttpProblem):
        READER.parse("order", json.dumps({"type": "AddLine", "data": data}).encode())


@given(st.binary(max_size=50))
def test_any_bytes(body: bytes) -> None:
    """Any bytes likewise."""
    with suppress(HttpProblem):
        READER.parse("order", body)


def test_fingerprint() -> None:
    """It does not depend on how JSON is written, and on everything else."""
    one = fingerprint("order", "1", "AddLine", {"a": 1, "b": [1, 2]})
    assert one == fingerprint("order", "1", "AddLine", {"b": [1, 2], "a": 1})
    others = [
        fingerprint("product", "1", "AddLine", {"a": 1, "b": [1, 2]}),
        fingerprint("order", "2", "AddLine", {"a": 1, "b": [1, 2]}),
        fingerprint("order", "1", "RemoveLine", {"a": 1, "b": [1, 2]}),
        fingerprint("order", "1", "AddLine", {"a": 1, "b": [2, 1]}),
    ]
    assert 5 == len({one, *others})


def test_a_precondition_makes_another_command() -> None:
    """It is part of what is sent; without one a fingerprint is what it was before there were any."""
    plain, five, six = (fingerprint("order", "1", "PlaceOrder", {}, expected) for expected in ("", "5", "6"))
    assert 3 == len({plain, five, six})
    assert "e4088b00a0bee8a51074fcee3a692516" == plain


async def test_a_precondition_goes_to_kafka() -> None:
    """The sequence that the sender has seen stands in a header, for the owner to decide."""
    for named, expected in (({"If-Match": "7"}, [b"7"]), ({"If-None-Match": "*"}, [b"0"]), ({}, [])):
        with BodyBytes(10_000).of_request() as room:
            command, _ = await READER.read(request(**named), "order", "c-1", room)
        assert expected == [value for name, value in command.headers if name == "ce_expectedsequence"]


class Request(SimpleNamespace):
    """A request about which nothing is noted yet."""

    def __contains__(self, key: object) -> bool:
        return False


def request(**headers: str) -> Any:
    """A request to place order 7."""
    content = asyncio.StreamReader()
    content.feed_data(b'{"type": "PlaceOrder"}')
    content.feed_eof()
    named = CIMultiDict({"Content-Type": "application/json", **headers})
    return Request(headers=named, content=content, content_length=None, rel_url=URL("/orders/7/commands"))


@pytest.mark.parametrize(
    ("text", "id"),
    [("a-1", "a-1"), ('"a-1"', "a-1"), (r'"a\"b\\c"', 'a"b\\c'), ('"', '"')],
)
def test_command_id(text: str, id: str) -> None:
    """An Idempotency-Key is taken plain, or as the quoted string that the draft of the IETF has."""
    assert id == command_id(CIMultiDict({"Idempotency-Key": text}))


@pytest.mark.parametrize("text", ["", '""', ".", "..", "x" * 513, "a\tb", "\x7f", "ä", "\udcff"])
def test_no_command_id(text: str) -> None:
    """What cannot stand in a header and a path everywhere is refused."""
    with pytest.raises(HttpProblem) as caught:
        command_id(CIMultiDict({"Idempotency-Key": text}))
    assert 400 == caught.value.status


@pytest.mark.parametrize("text", ["checkout-3:126:0#0", "fire:timer-3:126:0", "a-b-3:1:0#12", '"order-1:1:0#1"'])
def test_ids_of_commands_that_events_cause(text: str) -> None:
    """Nobody sends under the id that a process is about to use: its command would be refused as another one."""
    with pytest.raises(HttpProblem) as caught:
        command_id(CIMultiDict({"Idempotency-Key": text}))
    assert (400, True) == (caught.value.status, "an event causes" in str(caught.value))
    fields = scheduled("order", "1", "PlaceOrder", "{}") | {"command_id": text.strip('"')}
    reader = CommandReader({"order": order.commands, "timer": timer.commands}, 10_000, "gateway-replies", 4)
    with pytest.raises(HttpProblem, match="/data/command_id"):
        reader.parse("timer", msgspec.json.encode({"type": "ScheduleTimer", "data": fields}))
    for good in ("order-3:126:0", "checkout-3:126:0#x", "fire:1", "7#1"):
        assert good == command_id(CIMultiDict({"Idempotency-Key": good}))


def test_two_command_ids() -> None:
    """Which of two is meant is not guessed."""
    with pytest.raises(HttpProblem):
        command_id(CIMultiDict([("Idempotency-Key", "1"), ("Idempotency-Key", "1")]))


@pytest.mark.parametrize(("path", "id"), [("/orders/%C3%A9/commands", "é"), ("/orders/a%2Fb%25/commands", "a/b%")])
def test_path_id(path: str, id: str) -> None:
    """Ids in paths are percent-encoded UTF-8."""
    assert id == read_path_id(path, 2)


@pytest.mark.parametrize("path", ["/orders/%FF/commands", "/orders//commands", f"/orders/{'x' * 513}/commands"])
def test_no_path_id(path: str) -> None:
    """Others are refused."""
    with pytest.raises(HttpProblem) as caught:
        read_path_id(path, 2)
    assert 400 == caught.value.status


def test_wait() -> None:
    """`Prefer` may stand there more than once, and say other things too."""
    headers = CIMultiDict([("Prefer", "respond-async"), ("Prefer", "handling=lenient, wait=7")])
    assert (7, 5, 0) == (wait_of(headers), wait_of(CIMultiDict()), wait_of(CIMultiDict(), 0))


def test_what_may_be_sent() -> None:
    """All commands of an aggregate but its internal ones, and of a process manager those alone that it accepts."""
    process = ProcessManager(checkout.decider, checkout.hears, checkout.hear, checkout.sends, accepts=["PassDeadline"])
    named = {"orders": order, "users": user, "checkout": process}
    contexts = [AggregateType(name, kind, Settings(), "shop") for name, kind in named.items()]
    people = {"RegisterUser", "ChangeEmail", "DeactivateUser"}
    assert {"order": set(order.commands), "user": people, "checkout": {"PassDeadline"}} == {
        type: set(classes) for type, classes in accepted_of(contexts).items()
    }


@pytest.mark.parametrize(
    ("wrong", "pointer", "says"),
    [
        ({"to": "orders"}, "/data/to", "there are order, timer"),
        ({"to": "checkout"}, "/data/to", "no type"),
        ({"command": "AddLines"}, "/data/command", "AddLine, "),
        ({"to": "timer", "command": "FireTimer"}, "/data/command", "ScheduleTimer, CancelTimer"),
        ({"data": "{"}, "/data/data", "not JSON"),
        ({"data": "[" * 50_000}, "/data/data", "nested too deeply"),
        ({"data": '{"sku": 1}'}, "/data/data", "/sku: Expected `str`"),
        ({"data": "5"}, "/data/data", "the text: Expected `object`"),
    ],
    ids=lambda it: str(it)[:40],
)
def test_what_a_timer_sends(wrong: dict[str, str], pointer: str, says: str) -> None:
    """A timer takes over HTTP what HTTP takes now: of internal commands there is none."""
    accepted = {"order": order.commands, "checkout": {}}
    accepted["timer"] = {name: timer.commands[name] for name in timer.accepts}
    reader = CommandReader(accepted, 1_000_000, "gateway-replies", 4)
    fields = {"due": "2026-12-24T18:00:00Z", "to": "order", "id": "1", "command": "AddLine", "data": json.dumps(LINE)}
    name, _, value = reader.parse("timer", msgspec.json.encode({"type": "ScheduleTimer", "data": fields}))
    assert ("ScheduleTimer", fields) == (name, value)
    with pytest.raises(HttpProblem) as caught:
        reader.parse("timer", msgspec.json.encode({"type": "ScheduleTimer", "data": fields | wrong}))
    [fault] = caught.value.members["errors"]  # type: ignore[misc]
    assert pointer == fault.pointer
    assert says in fault.detail


def scheduled(to: str, id: str, command: str, data: str) -> dict[str, str]:
    """The fields of a `ScheduleTimer`."""
    return {"due": "2026-12-24T18:00:00Z", "to": to, "id": id, "command": command, "data": data}


def test_what_a_timer_of_a_timer_sends() -> None:
    """A timer may schedule another one: the commands of all of them are looked at, however deep, and may be sent."""
    accepted = {"order": order.commands, "timer": {name: timer.commands[name] for name in timer.accepts}}
    reader = CommandReader(accepted, 1_000_000, "gateway-replies", 4)

    def outermost(innermost: dict[str, str]) -> dict[str, str]:
        inner = scheduled("timer", "mine-3", "ScheduleTimer", json.dumps(innermost))
        return scheduled("timer", "mine-2", "ScheduleTimer", json.dumps(inner))

    good = outermost(scheduled("order", "theirs", "AddLine", json.dumps(LINE)))
    command = CheckedCommand("c-1", "timer", "mine-1", "ScheduleTimer", [], "")
    expected = [("timer", name, "mine-" + end) for name, end in (("ScheduleTimer", "2"), ("ScheduleTimer", "3"))]
    assert [*expected, ("order", "AddLine", "theirs")] == later(command, json.dumps(good).encode())
    assert reader.parse("timer", msgspec.json.encode({"type": "ScheduleTimer", "data": good}))
    for bad, says in (
        (scheduled("timer", "mine-4", "FireTimer", "{}"), "/data: /data: /command: timer has no command 'FireTimer'"),
        (scheduled("order", "theirs", "AddLine", "{}"), "/sku: Object missing required field"),
    ):
        with pytest.raises(HttpProblem) as caught:
            reader.parse("timer", msgspec.json.encode({"type": "ScheduleTimer", "data": outermost(bad)}))
        assert says in str(caught.value)


@dataclass(frozen=True)
class Timed:
    """A command with times and amounts."""

    at: datetime
    prices: tuple[Decimal, ...] = ()


@pytest.mark.parametrize(
    ("data", "pointer", "detail"),
    [
        ('{"at": "2026-11-29T10:00:00"}', "/data/at", "2026-11-29T10:00:00 has no time zone: write Z for UTC"),
        ('{"at": "2026-11-29T10:00:00Z", "prices": ["1", "2_5"]}', "/data/prices/1", "'2_5' is no decimal number"),
    ],
)
def test_what_an_owner_would_refuse_is_refused_at_the_door(data: str, pointer: str, detail: str) -> None:
    """Times without a zone and numbers that only Python reads: the same words, with the place in the body."""
    with pytest.raises(Invalid) as wrong:
        CommandData(Timed).check(data.encode())
    [fault] = wrong.value.faults
    assert pointer == fault.pointer
    assert fault.detail.startswith(detail)
