"""What a checkout hears, decides and sends."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from aggregates.process_manager import ForeignEvent, Send
from aggregates.shop.checkout import (
    AllReserved,
    CheckoutCancelled,
    CheckoutRejected,
    CheckoutShipped,
    CheckoutStarted,
    Command,
    LateReservation,
    LineReserved,
    NoteCancelled,
    NoteRefused,
    NoteReserved,
    NoteShipped,
    PassDeadline,
    StartCheckout,
    State,
    checkout,
    checkout_within,
)
from aggregates.shop.order import order
from aggregates.shop.product import ReserveStock, product
from schemas.codec import Codec
from schemas.registry import Schemas
from tests.specification import NOW, accepted, answer, given

LINES = (("A", 2), ("B", 1))


def line(sku: str, quantity: int, price: str = "2.5500") -> dict[str, Any]:
    return {"sku": sku, "description": "", "quantity": quantity, "unit_price": price}


def placed(*lines: dict[str, Any], kind: str = "sale") -> ForeignEvent:
    sale = {"user_id": "u", "kind": kind, "country": None, "opened_at": "2026-01-01T00:00:00Z", "total": "1.0000"}
    return ForeignEvent("order", "o1", "OrderPlaced", {**sale, "lines": list(lines)})


def reserved(sku: str, quantity: int) -> ForeignEvent:
    return ForeignEvent("product", sku, "StockReserved", {"order_id": "o1", "quantity": quantity})


def refused(sku: str, reason: str = "OutOfStock") -> ForeignEvent:
    return ForeignEvent("product", sku, "StockRefused", {"order_id": "o1", "wanted": 9, "reason": reason})


PLACED = placed(*(line(*it) for it in LINES))
CANCELLED = ForeignEvent("order", "o1", "OrderCancelled", {"reason": "changed my mind"})
TURNED_DOWN = ForeignEvent("order", "o1", "OrderRejected", {"reason": "not to this address"})
SHIPPED = ForeignEvent("order", "o1", "OrderShipped")
ALL = (PLACED, reserved("A", 2), reserved("B", 1))
DEADLINE = ("o1", PassDeadline())

NO_DEADLINE = Send("timer", "checkout:o1", "CancelTimer")
CONFIRM = Send("order", "o1", "ConfirmOrder")


def stock(command: str, *skus: str) -> list[Send]:
    return [Send("product", sku, command, {"order_id": "o1"}) for sku in skus]


def reject(reason: str) -> Send:
    return Send("order", "o1", "RejectOrder", {"reason": reason})


def test_reserves() -> None:
    """A placed sale has every line reserved, and a timer of its own that ends the waiting."""
    told = {"to": "checkout", "id": "o1", "command": "PassDeadline", "data": "{}", "command_id": None}
    given(checkout, PLACED).then_sends(
        Send("product", "A", "ReserveStock", {"order_id": "o1", "quantity": 2}),
        Send("product", "B", "ReserveStock", {"order_id": "o1", "quantity": 1}),
        Send("timer", "checkout:o1", "ScheduleTimer", {"due": "2026-01-02T12:00:00.000Z", **told}),
    )


def test_lines_of_one_product() -> None:
    """What an order holds of one product at several prices is reserved together."""
    heard = checkout.hear(placed(line("A", 2), line("B", 1), line("A", 3, "1.0000")))
    assert [("o1", StartCheckout({"A": 5, "B": 1}))] == [(it.process, it.command) for it in heard]


def test_deadline() -> None:
    """The deadline counts from the placing, as long as the shop says."""
    start = StartCheckout({"A": 1}, NOW)
    given(checkout_within(timedelta(seconds=5)).decider).when(start).then(
        CheckoutStarted({"A": 1}, NOW + timedelta(seconds=5))
    )


def test_credit() -> None:
    """A credit takes no stock."""
    given(checkout, placed(line("A", 1), kind="credit")).then_sends()


def test_confirms() -> None:
    """The order is confirmed with the last line that is reserved, not before, and the timer is taken back."""
    given(checkout, *ALL[:-1]).then_sends()
    given(checkout, *ALL).then_sends(CONFIRM, NO_DEADLINE)
    given(checkout, *ALL, reserved("B", 1)).then_sends()


def test_a_repeat_reserves_nothing_else() -> None:
    """The same line reserved twice is one line; other pieces than those asked for are none of the order's."""
    given(checkout, *ALL[:-1], reserved("A", 2)).then_sends()
    given(checkout, *ALL[:-1], reserved("B", 2)).then_sends()


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("OutOfStock", "out of stock: B"),
        ("UnknownProduct", "unknown product: B"),
        ("TooManyReservations", "too many orders wait for: B"),
        ("SomethingNew", "out of stock: B"),
    ],
)
def test_refused(reason: str, text: str) -> None:
    """One line refused rejects the order and releases all lines, that which was not answered for among them."""
    given(checkout, PLACED, refused("B", reason)).then_sends(
        *stock("ReleaseStock", "A", "B"), reject(text), NO_DEADLINE
    )
    given(checkout, *ALL[:2], refused("B", reason)).then_sends(
        *stock("ReleaseStock", "A", "B"), reject(text), NO_DEADLINE
    )


def test_long_reason() -> None:
    """A reason is no longer than an order takes it, however long the stock code."""
    sku = "x" * 255
    heard = [placed(line(sku, 1)), refused(sku)]
    given(checkout, *heard).then_sends(*stock("ReleaseStock", sku), reject("out of stock: " + "x" * 186), NO_DEADLINE)


@pytest.mark.parametrize("id", ["x" * 256, "o\n1"])
def test_id_that_no_product_takes(id: str) -> None:
    """An order whose id no product would answer for is rejected at once."""
    (sent,) = checkout.sends(id, CheckoutStarted({"A": 1}, NOW))
    assert ("order", id, "RejectOrder") == (sent.to, sent.id, sent.command)
    assert sent.data["reason"].startswith("the order's id h")
    assert answer(product, ReserveStock(id, 1), product.initial) is None


def test_deadline_passes() -> None:
    """What is not all reserved in time is released, and the order rejected; what is reserved in time stays."""
    late = [*stock("ReleaseStock", "A", "B"), reject("not reserved in time"), NO_DEADLINE]
    given(checkout, *ALL[:2], DEADLINE).then_sends(*late)
    given(checkout, *ALL, DEADLINE).then_sends()
    given(checkout, *ALL[:2], DEADLINE, reserved("B", 1)).then_sends(*stock("ReleaseStock", "B"))


def test_cancelled() -> None:
    """An order that is cancelled, at whatever moment of its checkout, keeps no reservation."""
    given(checkout, PLACED, CANCELLED).then_sends(*stock("ReleaseStock", "A", "B"), NO_DEADLINE)
    given(checkout, *ALL, CANCELLED).then_sends(*stock("ReleaseStock", "A", "B"), NO_DEADLINE)
    given(checkout, PLACED, CANCELLED, reserved("B", 1)).then_sends(*stock("ReleaseStock", "B"))
    given(checkout, PLACED, CANCELLED, refused("B")).then_sends()
    given(checkout, PLACED, CANCELLED, DEADLINE).then_sends()


def test_turned_down_by_somebody_else() -> None:
    """A person may reject a placed order too, and then nothing stays reserved; its own rejection tells it nothing."""
    given(checkout, *ALL, TURNED_DOWN).then_sends(*stock("ReleaseStock", "A", "B"), NO_DEADLINE)
    given(checkout, PLACED, refused("B"), TURNED_DOWN).then_sends()
    given(checkout, PLACED, refused("B"), CANCELLED).then_sends()


def test_never_placed() -> None:
    """What happens to an order that was never placed, or a reservation by hand, starts no checkout."""
    for other in (CANCELLED, SHIPPED, TURNED_DOWN, reserved("A", 2), refused("A"), DEADLINE):
        given(checkout, other).then_sends()


def test_shipped() -> None:
    """The pieces of a shipped order leave the stock, also when the confirmation is not known here yet."""
    given(checkout, *ALL, SHIPPED).then_sends(*stock("ShipStock", "A", "B"))
    given(checkout, *ALL[:2], SHIPPED).then_sends(*stock("ShipStock", "A", "B"))
    given(checkout, *ALL, SHIPPED, SHIPPED).then_sends()


def test_ends_once() -> None:
    """After the end only a late reservation has an effect: it is given back."""
    for ends in (
        CheckoutRejected("out of stock: A", ("A", "B")),
        CheckoutCancelled("changed my mind", ("A", "B")),
        CheckoutShipped(("A", "B")),
    ):
        ended = given(checkout.decider, CheckoutStarted({"A": 2, "B": 1}, NOW), ends)
        for late in (StartCheckout({"A": 2}, NOW), NoteRefused("A", "OutOfStock"), PassDeadline(), NoteShipped()):
            ended.when(late).then_nothing()
        ended.when(NoteCancelled("again")).then_nothing()
        ended.when(NoteReserved("A", 2)).then(LateReservation("A"))


skus = st.sampled_from(["A", "B", "C"])
commands: st.SearchStrategy[Any] = st.one_of(
    st.builds(StartCheckout, st.dictionaries(skus, st.integers(1, 3), min_size=1), st.just(NOW)),
    st.builds(NoteReserved, skus, st.integers(1, 3)),
    st.builds(NoteRefused, skus, st.sampled_from(["OutOfStock", "UnknownProduct"])),
    st.just(PassDeadline()),
    st.builds(NoteCancelled, st.just("why")),
    st.just(NoteShipped()),
)
started = st.lists(commands, max_size=12).map(lambda later: [StartCheckout({"A": 1, "B": 2}, NOW), *later])


@drawn(started, st.data())
def test_any_order_and_repeats(sequence: list[Command], data: st.DataObject) -> None:
    """In any order and however often: each end comes once and releases every line, and what was heard already has no
    second effect, except that a late reservation is given back again."""
    state, ended, first = State(), 0, sequence[0]
    assert isinstance(first, StartCheckout)
    for nr, command in enumerate(sequence):
        for told in (command, data.draw(st.sampled_from(sequence[: nr + 1]))):
            events = answer(checkout.decider, told, state)
            assert events is not None
            again = state
            state = checkout.decider.fold(events, state)
            for event in events:
                if isinstance(event, CheckoutRejected | CheckoutCancelled | CheckoutShipped):
                    ended += 1
                    assert set(first.lines) == set(event.skus)
                    assert again.status in ("reserving", "reserved")
                if isinstance(event, AllReserved):
                    assert first.lines == state.reserved
            repeated = answer(checkout.decider, told, state) or []
            assert [event for event in repeated if not isinstance(event, LateReservation)] == []
    assert ended == (state.status in ("rejected", "cancelled", "shipped"))


@drawn(started)
def test_journal_and_snapshot_keep_all(sequence: list[object]) -> None:
    """Events come back from their bytes, and states from their JSON, exactly as they were."""
    codec = Codec(Schemas.load("shop", "checkout"), checkout.events)
    for _, events, state in accepted(checkout.decider, sequence):
        assert repr(events) == repr([codec.decode_one(codec.encode(event)) for event in events])
        assert repr(state) == repr(msgspec.json.decode(msgspec.json.encode(state), type=State))


def test_what_it_hears_and_sends_exists() -> None:
    """Every event that it hears is one of its type's, and every command that it sends can be read there."""
    deciders: dict[str, Any] = {"order": order, "product": product}
    for type_, names in checkout.hears.items():
        assert set() == set(names) - deciders[type_].events.keys()
    events: Sequence[Any] = (
        CheckoutStarted({"A": 1}, NOW),
        AllReserved(),
        CheckoutRejected("why", ("A",)),
        CheckoutShipped(("A",)),
    )
    sent = [send for event in events for send in checkout.sends("o1", event) if send.to != "timer"]
    for send in sent:
        class_ = deciders[send.to].commands[send.command]
        assert send.data == msgspec.to_builtins(msgspec.convert(send.data, class_))
    assert {"ReserveStock", "ConfirmOrder", "ReleaseStock", "RejectOrder", "ShipStock"} == {it.command for it in sent}


def test_five_thousand_lines() -> None:
    """The largest order: what it is told and what it says fit in a command's limits, and its state holds each line
    once."""
    lines = {f"{nr:0>20}": 1_000 for nr in range(5_000)}
    codec, most = Codec(Schemas.load("shop", "checkout"), checkout.events), 256 * 1024
    state, largest = State(), len(msgspec.json.encode(StartCheckout(lines, NOW)))
    told = [StartCheckout(lines, NOW), *(NoteReserved(sku, pieces) for sku, pieces in lines.items())]
    for command in told:
        events = answer(checkout.decider, command, state) or []
        state = checkout.decider.fold(events, state)
        largest = max(largest, *(len(codec.encode(event)) for event in events))
    assert ("reserved", 5_000) == (state.status, len(state.waiting) + len(state.reserved))
    end = CheckoutCancelled("changed my mind", state.skus)
    assert most > max(largest, len(codec.encode(end)))
    assert [LineReserved("A", 1), AllReserved()] == answer(
        checkout.decider, NoteReserved("A", 1), State("reserving", {"A": 1}, state.reserved)
    )
