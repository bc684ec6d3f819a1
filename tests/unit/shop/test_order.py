"""What an order allows, from opening to shipping."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from aggregates.decider import Rejected
from aggregates.principal import Principal, process
from aggregates.shop.order import (
    MAX_LINE_PIECES,
    MAX_LINES,
    MAX_PIECES,
    AddLine,
    CancelOrder,
    ConfirmOrder,
    Line,
    LineAdded,
    LineRemoved,
    OpenOrder,
    OrderCancelled,
    OrderConfirmed,
    OrderOpened,
    OrderPlaced,
    OrderRejected,
    OrderShipped,
    PlaceOrder,
    RejectOrder,
    RemoveLine,
    SaleWithdrawn,
    ShipOrder,
    State,
    order,
)
from schemas.codec import Codec
from schemas.registry import Schemas
from tests.specification import accepted, answer, given

NOON = datetime(2010, 12, 1, 12, tzinfo=UTC)
PRICE = Decimal("2.5500")
LINES = (Line("85123A", "HEART", 6, PRICE),)
OPENED = OrderOpened("17850", "sale", "France", NOON)
ADDED = LineAdded("85123A", "HEART", 6, PRICE)
PLACED = OrderPlaced("17850", "sale", "France", NOON, LINES, Decimal("15.3000"))
WITHDRAWN = SaleWithdrawn("17850", "sale", "France", NOON, LINES, Decimal("15.3000"))
CREDIT = OrderOpened("17850", "credit", None, NOON)
CREDIT_PLACED = OrderPlaced("17850", "credit", None, NOON, LINES, Decimal("15.3000"))

NEW = ()
OPEN = (OPENED, ADDED)
PLACED_ = (*OPEN, PLACED)
CONFIRMED = (*PLACED_, OrderConfirmed())
REJECTED = (*PLACED_, OrderRejected("no stock"), WITHDRAWN)
CANCELLED = (*PLACED_, OrderCancelled("changed mind"), WITHDRAWN)
SHIPPED = (*CONFIRMED, OrderShipped())
CREDIT_CONFIRMED = (CREDIT, ADDED, CREDIT_PLACED, OrderConfirmed())


def test_opens() -> None:
    """An order is opened once for a user, with its kind, country and time."""
    given(order).when(OpenOrder("17850", "sale", "France", NOON)).then(OPENED)


def test_open_again() -> None:
    """Opening again with the same data changes nothing, at any later time too."""
    for history in (OPEN, PLACED_, CONFIRMED, REJECTED, CANCELLED, SHIPPED):
        given(order, *history).when(OpenOrder("17850", "sale", "France", NOON)).then_nothing()


@pytest.mark.parametrize(
    "other",
    [
        OpenOrder("1", "sale", "France", NOON),
        OpenOrder("17850", "credit", "France", NOON),
        OpenOrder("17850", "sale", None, NOON),
        OpenOrder("17850", "sale", "France", NOON + timedelta(days=1)),
    ],
)
def test_open_again_differently(other: OpenOrder) -> None:
    """Opening again with other data is rejected."""
    given(order, OPENED).when(other).then_rejected("AlreadyOpened")


@pytest.mark.parametrize(
    "opened_at",
    [
        datetime(2010, 12, 1, 12),
        datetime(2010, 12, 1, 12, 0, 0, 999),
        datetime(2010, 12, 1, 14, tzinfo=timezone(timedelta(hours=2))),
    ],
)
def test_opening_time(opened_at: datetime) -> None:
    """The time is kept in UTC to the millisecond; a naive one is taken as UTC."""
    given(order).when(OpenOrder("17850", "sale", "France", opened_at)).then(OPENED)


def test_opening_time_missing() -> None:
    """A decider has no clock: without a time the order is not opened, and the command names the field to fill."""
    with pytest.raises(Rejected) as refused:
        order.decide(OpenOrder("17850", "sale"), order.initial)
    assert "MissingTime" == refused.value.type
    assert "opened_at" == OpenOrder.time_field


@pytest.mark.parametrize("year", [1, 1899, 3000, 9999])
def test_opening_time_out_of_range(year: int) -> None:
    """A time outside 1900 to 2999 is taken as a mistake."""
    given(order).when(OpenOrder("17850", "sale", None, NOON.replace(year=year))).then_rejected("InvalidTime")


@pytest.mark.parametrize(
    ("user_id", "country"), [("", None), ("x" * 256, None), ("1", ""), ("1", "x" * 61), ("\n", None)]
)
def test_opening_text(user_id: str, country: str | None) -> None:
    """User id and country are not empty, not too long, and one line."""
    given(order).when(OpenOrder(user_id, "sale", country, NOON)).then_rejected("InvalidText")


@pytest.mark.parametrize(
    "command",
    [
        AddLine("85123A", "HEART", 6, PRICE),
        RemoveLine("85123A"),
        PlaceOrder(),
        ConfirmOrder(),
        RejectOrder("r"),
        CancelOrder("r"),
        ShipOrder(),
    ],
)
def test_unknown_order(command: object) -> None:
    """An order that was never opened takes no other command."""
    given(order).when(command).then_rejected("UnknownOrder")


@pytest.mark.parametrize("sku", ["85123A", "POST", "M", "DOT", "BANK CHARGES"])
@pytest.mark.parametrize("description", ["", "WHITE HANGING HEART T-LIGHT HOLDER "])
def test_adds_lines(sku: str, description: str) -> None:
    """Every stock code and also an empty description is taken, and the price gets 4 decimals."""
    command = AddLine(sku, description, 6, Decimal("2.55"))
    given(order, OPENED).when(command).then(LineAdded(sku, description, 6, PRICE))
    (event,) = order.decide(command, order.fold([OPENED]))
    assert isinstance(event, LineAdded)
    assert "2.5500" == str(event.unit_price)


@pytest.mark.parametrize(
    "unit_price", ["0", "-1", "0.00001", "1.23456", "1000000.0001", "NaN", "sNaN", "Infinity", "1E+99999"]
)
def test_bad_unit_price(unit_price: str) -> None:
    """A unit price is above 0, at most a million, and has at most 4 decimals."""
    given(order, OPENED).when(AddLine("M", "", 1, Decimal(unit_price))).then_rejected("InvalidPrice")


@pytest.mark.parametrize("quantity", [0, -1, MAX_LINE_PIECES + 1])
def test_bad_quantity(quantity: int) -> None:
    """The quantity of a line is from 1 to a million."""
    given(order, OPENED).when(AddLine("M", "", quantity, PRICE)).then_rejected("InvalidQuantity")


@pytest.mark.parametrize(
    ("sku", "description"), [("", ""), ("x" * 256, ""), ("M", "x" * 201), ("M", "a\x00"), ("\ud800", "")]
)
def test_bad_line_text(sku: str, description: str) -> None:
    """Stock code and description are bounded and hold no control characters."""
    given(order, OPENED).when(AddLine(sku, description, 1, PRICE)).then_rejected("InvalidText")


def test_equal_lines_merge() -> None:
    """Lines of one stock code and one price become one, in the place of the first."""
    state = order.fold([OPENED, ADDED, LineAdded("M", "", 1, PRICE), LineAdded("85123A", "", 4, PRICE)])
    assert [Line("85123A", "HEART", 10, PRICE), Line("M", "", 1, PRICE)] == list(state.lines.values())
    assert 11 == state.pieces


def test_two_prices_stay_apart() -> None:
    """Lines of one stock code at two prices stay two lines, and both are in the total."""
    cheap = LineAdded("85123A", "HEART", 1, Decimal("1.0000"))
    placed = order.decide(PlaceOrder(), order.fold([OPENED, ADDED, cheap]))[0]
    assert isinstance(placed, OrderPlaced)
    assert (*LINES, Line("85123A", "HEART", 1, Decimal(1))) == placed.lines
    assert Decimal("16.30") == placed.total


def test_too_many_lines() -> None:
    """A full order takes more of its lines, but no other line."""
    full = order.fold([OPENED, *(LineAdded(str(nr), "", 1, PRICE) for nr in range(MAX_LINES))])
    assert [LineAdded("0", "", 1, PRICE)] == order.decide(AddLine("0", "", 1, PRICE), full)
    with pytest.raises(Rejected, match="TooManyLines"):
        order.decide(AddLine("new", "", 1, PRICE), full)


def test_too_many_pieces() -> None:
    """The pieces of an order are bounded, so that its total always fits the schema."""
    most = LineAdded("M", "", MAX_PIECES, Decimal(1_000_000))
    given(order, OPENED, most).when(AddLine("N", "", 1, PRICE)).then_rejected("TooManyPieces")


def test_removes_lines() -> None:
    """Removing a stock code removes its lines at every price, and a second time there is none."""
    history = (OPENED, ADDED, LineAdded("85123A", "HEART", 1, Decimal(1)), LineAdded("M", "", 2, PRICE))
    given(order, *history).when(RemoveLine("85123A")).then(LineRemoved("85123A"))
    state = order.fold([*history, LineRemoved("85123A")])
    assert ([Line("M", "", 2, PRICE)], 2) == (list(state.lines.values()), state.pieces)
    given(order, *history, LineRemoved("85123A")).when(RemoveLine("85123A")).then_rejected("UnknownLine")


def test_places() -> None:
    """A placed order says all that others need of it."""
    given(order, *OPEN).when(PlaceOrder()).then(PLACED)


def test_places_credit() -> None:
    """A credit reserves nothing: it is confirmed as it is placed, with a positive total."""
    given(order, CREDIT, ADDED).when(PlaceOrder()).then(CREDIT_PLACED, OrderConfirmed())


def test_empty_order() -> None:
    """An order without lines is not placed, even when it had some before."""
    given(order, OPENED).when(PlaceOrder()).then_rejected("EmptyOrder")
    given(order, *OPEN, LineRemoved("85123A")).when(PlaceOrder()).then_rejected("EmptyOrder")


def test_goes_on() -> None:
    """A placed order is confirmed or rejected, a confirmed one is shipped; what was placed can be taken back."""
    given(order, *PLACED_).when(ConfirmOrder()).then(OrderConfirmed())
    given(order, *PLACED_).when(RejectOrder("no stock")).then(OrderRejected("no stock"), WITHDRAWN)
    given(order, *CONFIRMED).when(ShipOrder()).then(OrderShipped())


def test_cancels() -> None:
    """An order can be cancelled until it is shipped, and says what revenue loses by it."""
    given(order, *OPEN).when(CancelOrder("r")).then(OrderCancelled("r"))
    given(order, *PLACED_).when(CancelOrder("r")).then(OrderCancelled("r"), WITHDRAWN)
    given(order, *CONFIRMED).when(CancelOrder("r")).then(OrderCancelled("r"), WITHDRAWN)
    withdrawn = SaleWithdrawn("17850", "credit", None, NOON, LINES, Decimal("15.3"))
    given(order, *CREDIT_CONFIRMED).when(CancelOrder("r")).then(OrderCancelled("r"), withdrawn)


@pytest.mark.parametrize("reason", ["", "x" * 201, "a\nb"])
def test_reason(reason: str) -> None:
    """A reason is one line of 1 to 200 characters."""
    given(order, *PLACED_).when(RejectOrder(reason)).then_rejected("InvalidText")
    given(order, *PLACED_).when(CancelOrder(reason)).then_rejected("InvalidText")


def test_credit_does_not_ship() -> None:
    """A credit has nothing to ship."""
    given(order, *CREDIT_CONFIRMED).when(ShipOrder()).then_rejected("NothingToShip")


@pytest.mark.parametrize(
    ("command", "histories"),
    [
        (PlaceOrder(), [PLACED_, CONFIRMED, SHIPPED, CREDIT_CONFIRMED]),
        (ConfirmOrder(), [CONFIRMED, SHIPPED, CREDIT_CONFIRMED]),
        (RejectOrder("other"), [REJECTED]),
        (CancelOrder("other"), [CANCELLED]),
        (ShipOrder(), [SHIPPED]),
    ],
)
def test_honoured_before(command: object, histories: list[tuple[object, ...]]) -> None:
    """What was honoured before changes nothing when asked again."""
    for history in histories:
        given(order, *history).when(command).then_nothing()


@pytest.mark.parametrize(
    ("command", "histories"),
    [
        (AddLine("M", "", 1, PRICE), [PLACED_, CONFIRMED, REJECTED, CANCELLED, SHIPPED]),
        (RemoveLine("85123A"), [PLACED_, CONFIRMED, REJECTED, CANCELLED, SHIPPED]),
        (PlaceOrder(), [REJECTED, CANCELLED]),
        (ConfirmOrder(), [OPEN, REJECTED, CANCELLED]),
        (RejectOrder("r"), [OPEN, CONFIRMED, CANCELLED, SHIPPED, CREDIT_CONFIRMED]),
        (CancelOrder("r"), [REJECTED, SHIPPED]),
        (ShipOrder(), [OPEN, PLACED_, REJECTED, CANCELLED]),
    ],
)
def test_wrong_status(command: object, histories: list[tuple[object, ...]]) -> None:
    """A command that comes too early or too late is rejected."""
    for history in histories:
        given(order, *history).when(command).then_rejected("WrongStatus")


skus = st.sampled_from(["A", "B", "A@1.0000"]) | st.text(max_size=3)
prices = st.sampled_from([Decimal(1), Decimal("1.0"), Decimal("2.125")]) | st.decimals()
commands = st.one_of(
    st.builds(OpenOrder, st.just("1") | st.text(), st.sampled_from(["sale", "credit"]), opened_at=st.datetimes()),
    st.builds(OpenOrder, st.just("1"), st.just("sale"), st.none() | st.text(), st.just(NOON) | st.none()),
    st.builds(AddLine, skus, st.text(max_size=5), st.integers(1, 3) | st.integers(), prices),
    st.builds(RemoveLine, skus),
    st.builds(PlaceOrder),
    st.builds(ConfirmOrder),
    st.builds(RejectOrder, st.text(max_size=5)),
    st.builds(CancelOrder, st.text(max_size=5)),
    st.builds(ShipOrder),
)
histories = st.lists(commands, max_size=20).map(lambda later: [OpenOrder("1", "sale", None, NOON), *later])


@drawn(st.lists(commands, max_size=8) | histories)
def test_any_commands(sequence: list[object]) -> None:
    """Whatever comes, the answer is events or a rejection, and a repeat (AddLine apart) has no effect."""
    for command, _, state in accepted(order, sequence):
        if not isinstance(command, AddLine):
            assert not answer(order, command, state)
        assert sum(line.quantity for line in state.lines.values()) == state.pieces


@drawn(histories)
def test_journal_and_snapshot_keep_all(sequence: list[object]) -> None:
    """Events come back from their bytes, and states from their JSON, exactly as they were."""
    codec = Codec(Schemas.load("shop", "order"), order.events)
    for _, events, state in accepted(order, sequence):
        assert repr(events) == repr([codec.decode_one(codec.encode(event)) for event in events])
        assert repr(state) == repr(msgspec.json.decode(msgspec.json.encode(state), type=State))


ALICE, MALLORY = Principal("oidc", "17850"), Principal("oidc", "666")
CLERK = Principal("token", "clerk", roles=("operator",))


@pytest.mark.parametrize(
    "who", [None, ALICE, Principal("cert", "17850"), CLERK, process("timer", ALICE), process("checkout")], ids=str
)
def test_a_user_places_and_cancels_his_own_order(who: Principal | None) -> None:
    """So do an operator, a process that works for that user, and whoever is not known."""
    given(order, *OPEN).when(PlaceOrder(), by=who).then(PLACED)
    given(order, *OPEN).when(CancelOrder("no"), by=who).then(OrderCancelled("no"))


@pytest.mark.parametrize(
    "who", [MALLORY, Principal("oidc", "666", ("17850",), ("commander",)), process("timer", MALLORY)], ids=str
)
def test_nobody_places_or_cancels_the_order_of_another(who: Principal) -> None:
    """Nor by a timer; other commands are for everybody who may send them."""
    for status in (OPEN, PLACED_, CONFIRMED):
        given(order, *status).when(PlaceOrder(), by=who).then_forbidden()
        given(order, *status).when(CancelOrder("mine"), by=who).then_forbidden()
    given(order, *CONFIRMED).when(ShipOrder(), by=who).then(OrderShipped())
    given(order).when(CancelOrder("none"), by=who).then_rejected("UnknownOrder")


def test_a_principal_is_kept_as_text() -> None:
    """Who, and for a process on whose behalf; groups and roles are of the moment."""
    for who, text in (
        (Principal("oidc", "a: b", ("staff",), ("operator",)), "oidc:a: b"),
        (process("timer", process("checkout", ALICE)), "process:timer\noidc:17850"),
        (process("timer", process("timer")), "process:timer"),
        (process("timer", process("checkout")), "process:timer\nprocess:checkout"),
    ):
        assert text == who.text
        kept = Principal.parse(text)
        assert kept is not None
        assert (who.kind, who.name, who.on_behalf_of) == (kept.kind, kept.name, kept.on_behalf_of)
    assert Principal.parse("") is None
    for wrong in ("alice", "ldap:alice", "oidc:", "oidc:a\n", "oidc:a\tb", "oidc:a\noidc:b\noidc:c"):
        with pytest.raises(ValueError, match="is no principal"):
            Principal.parse(wrong)
