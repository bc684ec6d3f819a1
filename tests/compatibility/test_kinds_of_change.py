"""Each kind of change, as the shop has made it: what older versions wrote, and what it is today (docs/evolution.md)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from aggregates.decider import Decider
from aggregates.personal import Known, blind
from aggregates.shop.order import Line, OrderCancelled, OrderRejected, SaleWithdrawn, order
from aggregates.shop.product import DefineProduct, ProductDefined, StockRefused, product
from aggregates.shop.user import ChangeEmail, ConfirmEmail, EmailChanged, EmailConfirmed, UserRegistered, user
from projections.shop.analytics.sales import revenue
from schemas.codec import Codec, Undecodable
from schemas.formats import AVRO
from schemas.registry import Schema, Schemas
from tests.specification import given
from tests.unit.shop.test_projections import fold

SAMPLES = Path(__file__).parent / "shop"


class Stored:
    """An event as a released version has written it, in both formats, and its fields."""

    def __init__(self, decider: Decider[Any, Any, Any], name: str, version: int) -> None:
        sample = json.loads((SAMPLES / decider.type / f"{name}.v{version}.json").read_text())
        self.fields: dict[str, Any] = sample["written"]
        schemas = Schemas.load("shop", decider.type)
        events = [schema for schema in schemas if schema.name not in decider.commands]
        codec = Codec(events, decider.events, schemas.upcasters)
        self.written, in_json = bytes.fromhex(sample["avro"]), sample["json"].encode()
        self.today = codec.decode(self.written)
        assert codec.decode(in_json) == self.today

    def __getattr__(self, field: str) -> Any:
        return self.fields[field]


def old_code(decider: Decider[Any, Any, Any], name: str, version: int, class_: type = dict) -> Codec:
    """A codec that knows a record up to this version, and has learned the rest from a journal."""
    known, newer = [], []
    for schema in Schemas.load("shop", decider.type):
        if schema.name == name:
            (known if schema.version <= version else newer).append(schema)
    codec = Codec(known, {name: class_})
    for schema in newer:
        codec.add(schema.fingerprint, schema.json)
    return codec


def test_add_a_field() -> None:
    """A field that is new has its default in old events: a list is empty. Old code reads new events without it."""
    old = Stored(product, "ProductDefined", 1)
    assert (ProductDefined(old.name, Decimal(old.price), ()),) == old.today
    new = Stored(product, "ProductDefined", 2)
    assert 2 == len(new.today[0].categories)
    assert [{"name", "price"}] == [set(read) for read in old_code(product, "ProductDefined", 1).decode(new.written)]
    before = Stored(product, "StockRefused", 4)
    assert (StockRefused(before.order_id, before.wanted, "OutOfStock"),) == before.today


def test_rename_a_field() -> None:
    """The old name is an alias of the new one; old code, which knows no alias, does not read it."""
    old = Stored(product, "StockRefused", 1)
    assert (StockRefused(old.order_id, old.quantity),) == old.today
    with pytest.raises(Undecodable, match="only version 1 must not read"):
        old_code(product, "StockRefused", 1).decode(Stored(product, "StockRefused", 2).written)


def test_widen_a_type() -> None:
    """What was a number may be unknown too: version 3 reads 2, and 2 does not read 3."""
    two, three = Stored(product, "StockRefused", 2), Stored(product, "StockRefused", 3)
    read_by_three = old_code(product, "StockRefused", 3).decode(two.written)
    assert ({"order_id": two.order_id, "wanted": two.wanted, "available": two.available},) == read_by_three
    with pytest.raises(Undecodable, match="only version 2 must not read"):
        old_code(product, "StockRefused", 2).decode(three.written)


def test_remove_a_field() -> None:
    """After a version that gave it a default, a field can go: code of that version reads the default."""
    three, four = Stored(product, "StockRefused", 3), Stored(product, "StockRefused", 4)
    assert (StockRefused(three.order_id, three.wanted),) == three.today
    read_by_three = old_code(product, "StockRefused", 3).decode(four.written)
    assert ({"order_id": four.order_id, "wanted": four.wanted, "available": None},) == read_by_three


def test_change_a_meaning() -> None:
    """An email as typed becomes the address as compared; under another name, so that nobody takes one for the other."""
    schemas = Schemas.load("shop", "user")
    codec = Codec([schema for schema in schemas if schema.name in user.events], user.events, schemas.upcasters)
    typed = next(schema for schema in schemas if (schema.name, schema.version) == ("EmailChanged", 1))
    data = AVRO.writer(typed)({"email": "Ada@Example.ORG"})
    ada = "ada@example.org"
    assert (EmailChanged(Known(ada), ada, 0),) == codec.decode(data)
    given(user, UserRegistered("France", None), *codec.decode(data)).when(ChangeEmail("ADA@example.org")).then(
        EmailChanged(Known(ada), blind(ada), 1)
    )
    email = Stored(user, "EmailChanged", 1).email.lower()
    assert (EmailChanged(Known(email), email, 0),) == Stored(user, "EmailChanged", 1).today
    with pytest.raises(Undecodable, match="only version 1 must not read"):
        old_code(user, "EmailChanged", 1).decode(Stored(user, "EmailChanged", 2).written)


def test_change_what_an_event_means() -> None:
    """An email that the customer had is one that is asked for; a field that old events do not have tells them apart."""
    old = Stored(user, "EmailChanged", 2)
    assert (EmailChanged(Known(old.address), old.address, 0),) == old.today
    given(user, UserRegistered("France", None), *old.today).when(ConfirmEmail(old.address, 0)).then(
        EmailConfirmed(old.address, 0)
    )
    with pytest.raises(Undecodable, match="only version 2 must not read"):
        old_code(user, "EmailChanged", 2).decode(Stored(user, "EmailChanged", 3).written)


@pytest.mark.parametrize("class_", [OrderCancelled, OrderRejected])
def test_split_an_event(class_: type) -> None:
    """What ended an order also took it back from revenue: two events now, of which the second was renamed since."""
    old = Stored(order, class_.__name__, 1)
    sale = old.withdrawn
    lines = tuple(Line(it["sku"], it["description"], it["quantity"], Decimal(it["unit_price"])) for it in sale["lines"])
    opened_at = datetime.fromisoformat(sale["opened_at"]).astimezone(UTC)
    withdrawn = SaleWithdrawn(sale["user_id"], sale["kind"], sale["country"], opened_at, lines, Decimal(sale["total"]))
    assert (class_(old.reason), withdrawn) == old.today
    [row] = fold(revenue, *old.today).values()
    assert Decimal(row["revenue"]) == -Decimal(sale["total"])


def test_split_where_there_is_one_part() -> None:
    """The cancellation of an order that was never placed took nothing back: it stays one event."""
    schemas = Schemas.load("shop", "order")
    first = next(schema for schema in schemas if (schema.name, schema.version) == ("OrderCancelled", 1))
    codec = Codec([s for s in schemas if s.name not in order.commands], order.events, schemas.upcasters)
    assert (OrderCancelled("r"),) == codec.decode(AVRO.writer(first)({"reason": "r", "withdrawn": None}))


def test_move_a_field() -> None:
    """The email of a registration is in the event that follows it, where there was one."""
    old = Stored(user, "UserRegistered", 1)
    email = old.email.lower()
    registered = UserRegistered(old.country, Known(old.fields["name"]))
    assert (registered, EmailChanged(Known(email), email, 0)) == old.today
    first = next(s for s in Schemas.load("shop", "user") if (s.name, s.version) == ("UserRegistered", 1))
    none = AVRO.writer(first)({"country": "France", "name": None, "email": None})
    schemas = Schemas.load("shop", "user")
    codec = Codec([s for s in schemas if s.name in user.events], user.events, schemas.upcasters)
    assert (UserRegistered("France", None),) == codec.decode(none)
    [read] = old_code(user, "UserRegistered", 1).decode(Stored(user, "UserRegistered", 2).written)
    assert read["email"] is None


def test_seal_a_field() -> None:
    """What becomes personal is read as it was written, in the clear; old code must not take what is sealed for text."""
    old = Stored(user, "UserRegistered", 2)
    assert (UserRegistered(old.country, Known(old.fields["name"])),) == old.today
    with pytest.raises(Undecodable, match="only version 2 must not read"):
        old_code(user, "UserRegistered", 2).decode(Stored(user, "UserRegistered", 3).written)


def test_rename_an_event_type() -> None:
    """What was written under the old name is read under the new one."""
    old = Stored(order, "RevenueWithdrawn", 1)
    [today] = old.today
    assert (SaleWithdrawn, old.user_id, Decimal(old.total)) == (type(today), today.user_id, today.total)


def test_drop_an_event_type() -> None:
    """An event that only said what others say is nothing any more."""
    assert () == Stored(product, "StockLevelNoted", 1).today


def test_old_commands() -> None:
    """A command as old clients send it, in JSON or in Avro, is read as the newest version."""
    schemas = Schemas.load("shop", "product")
    commands = Codec([schema for schema in schemas if schema.name in product.commands], product.commands)
    first: Schema = next(s for s in schemas if (s.name, s.version) == ("DefineProduct", 1))
    data = AVRO.writer(first)({"name": "HEART", "price": Decimal("2.55")})
    assert DefineProduct("HEART", Decimal("2.5500"), ()) == commands.decode_one(data)
    assert DefineProduct("HEART", Decimal("2.55")) == DefineProduct("HEART", Decimal("2.55"), ())
