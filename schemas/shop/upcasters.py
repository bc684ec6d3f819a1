"""What the shop's older events are today, where Avro's own resolution cannot say it."""

from __future__ import annotations

from collections.abc import Iterable

from schemas.upcasting import Fields, Upcasted, Upcaster, dropped


def order_rejected_1(fields: Fields) -> Iterable[Upcasted]:
    """Split: what it took back from revenue is an event of its own."""
    yield Upcasted("OrderRejected", 2, {"reason": fields["reason"]})
    yield Upcasted("RevenueWithdrawn", 1, fields["withdrawn"])


def order_cancelled_1(fields: Fields) -> Iterable[Upcasted]:
    """Split: likewise, but an order that was never placed took nothing back."""
    yield Upcasted("OrderCancelled", 2, {"reason": fields["reason"]})
    if fields["withdrawn"] is not None:
        yield Upcasted("RevenueWithdrawn", 1, fields["withdrawn"])


def user_registered_1(fields: Fields) -> Iterable[Upcasted]:
    """Moved: the email stands in the event that says of every other one too."""
    yield Upcasted("UserRegistered", 2, {"country": fields["country"], "name": fields["name"]})
    if fields["email"] is not None:
        yield Upcasted("EmailChanged", 1, {"email": fields["email"]})


def email_changed_1(fields: Fields) -> Iterable[Upcasted]:
    """Another meaning: not as it was typed, but as addresses are compared."""
    yield Upcasted("EmailChanged", 2, {"address": fields["email"].lower()})


def email_changed_2(fields: Fields) -> Iterable[Upcasted]:
    """Another meaning: not what the customer has, but what is asked for, as nobody had decided who may have it."""
    yield Upcasted("EmailChanged", 3, {"address": fields["address"], "request": 0})


def email_changed_3(fields: Fields) -> Iterable[Upcasted]:
    """Another type, as the address is personal; the id of its email was the address, and stays so."""
    address = fields["address"]
    yield Upcasted("EmailChanged", 4, {"address": address.encode(), "email_id": address, "request": fields["request"]})


UPCASTERS = {
    "order": (Upcaster("OrderRejected", 1, order_rejected_1), Upcaster("OrderCancelled", 1, order_cancelled_1)),
    "product": (Upcaster("StockLevelNoted", 1, dropped),),  # the stock is what was delivered, reserved and shipped
    "user": (
        Upcaster("UserRegistered", 1, user_registered_1),
        Upcaster("EmailChanged", 1, email_changed_1),
        Upcaster("EmailChanged", 2, email_changed_2),
        Upcaster("EmailChanged", 3, email_changed_3),
    ),
}
