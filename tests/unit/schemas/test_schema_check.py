"""A change of the schemas that would break somebody is refused, and the message says what to do; others pass.

Each case changes a copy of the shop's own schemas.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, make_dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import pytest
from msgspec import Meta

from aggregates.decider import Decider
from aggregates.shop.order import Line, order
from aggregates.shop.product import product
from aggregates.shop.user import user
from aggregates.timer import timer
from schemas.registry import Schema, SchemaError, Schemas
from schemas.release import check, lock
from schemas.release.contract import Contract
from schemas.release.samples import example
from streams.aggregate_type import AggregateType
from streams.cli.schemas import run_check, run_lock
from streams.settings import Settings

SHOP = Path(__file__).parents[3] / "schemas" / "shop"
MONEY = {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 4}


@dataclass
class Shop:
    """A copy of the shop's schemas; the classes of a type may be others."""

    folder: Path
    deciders: dict[str, Decider[Any, Any, Any]]

    def file(self, name: str) -> Path:
        """By `<type>/<Name>.v<N>`."""
        return self.folder / f"{name}.avsc"

    def change(self, name: str, change: Callable[[dict[str, Any]], object], to: str = "") -> None:
        """Change a schema in place, or into a new version."""
        record = json.loads(self.file(name).read_text())
        change(record)
        self.file(to or name).write_text(json.dumps(record))

    def upcaster(self, text: str) -> None:
        """Add to upcasters.py: Python text that changes `UPCASTERS`."""
        with (self.folder / "upcasters.py").open("a") as file:
            file.write(f"\nUPCASTERS = {{type: list(them) for type, them in UPCASTERS.items()}}\n{text}\n")

    def unlike(self, type: str, name: str, class_: type | None) -> None:
        """Another class in the place of a command's or an event's, or none."""
        decider = self.deciders[type]
        changed = replace(decider)
        for kind, classes in (("commands", dict(decider.commands)), ("events", dict(decider.events))):
            if name in classes or (kind == "events" and name not in decider.commands):
                classes.pop(name, None)
                classes.update({name: class_} if class_ else {})
            changed.__dict__[kind] = classes
        self.deciders[type] = changed

    def problems(self) -> list[str]:
        """What is wrong, but for what is not released yet."""
        contracts = [Contract(it, Schemas.load(self.folder, type)) for type, it in self.deciders.items()]
        return [str(it) for it in check.may_be_locked(contracts, lock.read_lock(self.folder / lock.FILE))]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """The shop as it is, with nothing wrong."""
    folder = tmp_path / "shop"
    shutil.copytree(SHOP, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return Shop(folder, {decider.type: decider for decider in (order, product, user)})


def field(name: str, type: Any, **attributes: Any) -> dict[str, Any]:
    return {"name": name, "type": type, "doc": "A field.", **attributes}


def typed(name: str, of: Any = None, **types: Any) -> type:
    """The class of an order's event, or another, with fields of other types, or with more."""
    hints = {**get_type_hints(of or order.events[name]), **types}
    return make_dataclass(name, hints.items(), frozen=True)


def with_state(decider: Decider[Any, Any, Any], other: Decider[Any, Any, Any]) -> Decider[Any, Any, Any]:
    """A decider whose state is another's."""

    def evolve(state: Any, event: Any) -> Any:
        return state

    evolve.__annotations__ = {**get_type_hints(decider.evolve), "state": type(other.initial)}
    return replace(decider, initial=other.initial, evolve=evolve)


def fields(*names: str, of: Any = Any) -> type:
    """A class with these fields."""
    return dataclass(type("Changed", (), {"__annotations__": dict.fromkeys(names, of)}))


ALL = ("sku", "description", "quantity", "unit_price")


def added(shop: Shop, change: Callable[[dict[str, Any]], object], *names: str) -> None:
    """A second version of LineAdded, and a class that has its fields."""
    shop.change("order/LineAdded.v1", change, "order/LineAdded.v2")
    shop.unlike("order", "LineAdded", fields(*(names or ALL)))


def set_type(name: str, type_: Any) -> Callable[[dict[str, Any]], object]:
    def change(record: dict[str, Any]) -> None:
        next(it for it in record["fields"] if it["name"] == name)["type"] = type_

    return change


def test_as_it_is(shop: Shop) -> None:
    """Nothing is wrong with the shop's schemas."""
    assert [] == shop.problems()


def test_each_folder_has_its_lock(capsys: pytest.CaptureFixture[str]) -> None:
    """What an app has of the shop and of the engine's own is held against the lock of its folder."""
    of = (("orders", order, "shop"), ("timers", timer, "engine"))
    contexts = {kind.type: AggregateType(name, kind, Settings(), shop) for name, kind, shop in of}
    assert 0 == run_check(contexts) == run_lock(contexts)
    events = len(order.events) + len(timer.events)
    assert 2 == capsys.readouterr().out.count(f" of {events} events, ")


BAD: dict[str, tuple[Callable[[Shop], object], str, str]] = {
    "a new field without a default": (
        lambda shop: added(shop, lambda it: it["fields"].append(field("colour", "string")), *ALL, "colour"),
        r"LineAdded\.v2 cannot read LineAdded\.v1: the field colour is missing there, and has no default",
        r"give it a default, or add an upcaster for LineAdded\.v1 to upcasters\.py",
    ),
    "a field removed that older code needs": (
        lambda shop: added(shop, lambda it: it["fields"].pop(1), "sku", "quantity", "unit_price"),
        r"only version 1 cannot read it: the field description is missing there",
        r'declare "compatibility": "BACKWARD"',
    ),
    "a field renamed without an alias": (
        lambda shop: added(shop, lambda it: it["fields"][2].update(name="pieces"), "sku", "description", "pieces",
                           "unit_price"),
        r"LineAdded\.v2 cannot read LineAdded\.v1: the field pieces is missing there",
        r"give it a default, or add an upcaster",
    ),
    "a type narrowed": (
        lambda shop: added(shop, set_type("quantity", "int")),
        r"LineAdded\.v2 cannot read LineAdded\.v1: a type is another one there",
        r"add an upcaster for LineAdded\.v1",
    ),
    "a type widened, not declared": (
        lambda shop: added(shop, set_type("quantity", ["null", "long"])),
        r"code that knows only version 1 cannot read it",
        r'if older workers are to stop at it and wait for newer ones, declare "compatibility": "BACKWARD"',
    ),
    "money of another scale": (
        lambda shop: added(shop, lambda it: (set_type("unit_price", {**MONEY, "scale": 2})(it),
                                             it["fields"].append(field("tax", "int", default=0))), *ALL, "tax"),
        r"unit_price is decimal \(precision 18, scale 4\) there and decimal \(precision 18, scale 2\) here",
        r"add an upcaster for LineAdded\.v1",
    ),
    "money as a float": (
        lambda shop: added(shop, lambda it: it["fields"].append(field("tax", "double", default=0)), *ALL, "tax"),
        r"the field tax is a float, which no amount of money is",
        r'use bytes with "logicalType": "decimal"',
    ),
    "an enum symbol added, unknown to older code": (
        lambda shop: (
            shop.change("order/OrderOpened.v1", lambda it: it["fields"][1]["type"]["symbols"].append("gift"),
                        "order/OrderOpened.v2"),
            shop.change("order/OrderPlaced.v1", lambda it: it["fields"][1]["type"]["symbols"].append("gift"),
                        "order/OrderPlaced.v2"),
        ),
        r"only version 1 cannot read it: the enum has other symbols there: \{'gift'\}",
        r'declare "compatibility": "BACKWARD"',
    ),
    "a released file changed": (
        lambda shop: shop.change("order/LineRemoved.v1", lambda it: it["fields"].append(field("why", "string"))),
        r"order/LineRemoved\.v1\.avsc: is released, and is not what it was$",
        r"put it back, and make the change in LineRemoved\.v2\.avsc",
    ),
    "a default changed in a released file": (
        lambda shop: shop.change("product/ProductDefined.v2", lambda it: it["fields"][2].update(default=["all"])),
        r"is not what it was \(a default, an alias, a logical type or its declaration\)",
        r"put it back, and make the change in ProductDefined\.v3\.avsc",
    ),
    "a released file gone": (
        lambda shop: shop.file("user/UserRegistered.v1").unlink(),
        r"user/UserRegistered\.v1\.avsc: is released, and is gone",
        r"put it back from the history of this repository: events in journals need it",
    ),
    "another default than before": (
        lambda shop: (
            shop.change("product/ProductDefined.v2", lambda it: (
                it["fields"][2].update(default=["all"]), it["fields"].append(field("maker", "string", default=""))),
                "product/ProductDefined.v3"),
            shop.unlike("product", "ProductDefined", fields("name", "price", "categories", "maker")),
        ),
        r"the default of categories is not that of version 2: older events would say something else than before",
        r"keep the default",
    ),
    "a field that comes back": (
        lambda shop: (
            shop.change("product/StockRefused.v5", lambda it: it["fields"].extend(
                [field("available", ["null", "long"], default=None), field("why", "string", default="")]),
                "product/StockRefused.v6"),
            shop.unlike("product", "StockRefused", fields("order_id", "wanted", "reason", "available", "why")),
        ),
        r"the field available comes back, which version 4 had removed: what version 1 wrote there would be read as",
        r"give the new field another name",
    ),
    "a version left out": (
        lambda shop: (
            shop.change("order/LineAdded.v1", lambda it: it["fields"].append(field("tax", "int", default=0)),
                        "order/LineAdded.v3"),
            shop.unlike("order", "LineAdded", fields(*ALL, "tax")),
        ),
        r"there is no version 2 of LineAdded",
        r"name this file LineAdded\.v2\.avsc",
    ),
    "the namespace of another type": (
        lambda shop: shop.change("user/EmailChanged.v1", lambda it: (it.update(namespace="shop.order", name="Mailed"),
                                                                    it["fields"].append(field("x", "int", default=0))),
                                 "user/Mailed.v1"),
        r"user/Mailed\.v1\.avsc: the namespace is shop\.order",
        r'write "namespace": "<project>\.user"',
    ),
    "no documentation": (
        lambda shop: added(shop, lambda it: it["fields"].append({"name": "tax", "type": "int", "default": 0}), *ALL,
                           "tax"),
        r"the field tax of LineAdded has no doc",
        r'say in "doc" what it means',
    ),
    "a class that says something else": (
        lambda shop: shop.unlike("order", "LineAdded", fields(*ALL, "colour")),
        r"the class LineAdded has the fields .*, colour, this schema has the fields sku, ",
        r"give both the same fields .* add LineAdded\.v2\.avsc with those of the class",
    ),
    "a class with a field of another type": (
        lambda shop: shop.unlike("order", "LineRemoved", fields("sku", of=int)),
        r"the class LineRemoved does not hold what this schema says: Expected `int`, got `str`",
        r"give its fields the types of the schema, or add a version",
    ),
    "a class without the null of its schema": (
        lambda shop: shop.unlike("order", "OrderOpened", typed("OrderOpened", country=str)),
        r"order/OrderOpened\.v1\.avsc: the class OrderOpened is narrower than this schema: country: Expected `str`",
        r"an event of it may have been written: let the class hold it",
    ),
    "a class without a symbol of its schema": (
        lambda shop: shop.unlike("order", "OrderOpened", typed("OrderOpened", kind=Literal["sale"])),
        r"the class OrderOpened is narrower than this schema: kind: Invalid enum value 'credit'",
        r"an event of it may have been written",
    ),
    "a class that ends before its schema does": (
        lambda shop: shop.unlike("order", "LineAdded", typed("LineAdded", quantity=Annotated[int, Meta(le=10**9)])),
        r"the class LineAdded is narrower than this schema: quantity: Expected `int` <= 1000000000",
        r"an event of it may have been written",
    ),
    "a class that takes no empty list": (
        lambda shop: shop.unlike("order", "OrderPlaced",
                                 typed("OrderPlaced", lines=Annotated[tuple[Line, ...], Meta(min_length=1)])),
        r"the class OrderPlaced is narrower than this schema: lines: Expected `array` of length >= 1",
        r"an event of it may have been written",
    ),
    "a class that takes no long text, within a list": (
        lambda shop: shop.unlike("order", "OrderPlaced", typed("OrderPlaced", lines=tuple[
            typed("Line", of=Line, sku=Annotated[str, Meta(max_length=20)]), ...])),  # type: ignore[misc]
        r"the class OrderPlaced is narrower than this schema: lines\[\]\.sku: Expected `str` of length <= 20",
        r"an event of it may have been written",
    ),
    "a class that may be None": (
        lambda shop: shop.unlike("order", "LineAdded", typed("LineAdded", sku=str | None)),
        r"the class LineAdded is wider than this schema: sku may be None",
        r'say \["null", \.\.\] in a new version, or take None out of the class',
    ),
    "a class with a symbol more": (
        lambda shop: shop.unlike("order", "OrderOpened", typed("OrderOpened", kind=Literal["sale", "credit", "gift"])),
        r"the class OrderOpened is wider than this schema: kind may be gift",
        r"add it to the symbols in a new version",
    ),
    "a class that takes any text for a symbol": (
        lambda shop: shop.unlike("order", "OrderOpened", typed("OrderOpened", kind=str)),
        r"the class OrderOpened is wider than this schema: kind may be any text",
        r'make it a Literal\["sale", "credit"\]',
    ),
    "an int of Python in an int of Avro": (
        lambda shop: (added(shop, lambda it: it["fields"].append(field("boxes", "int", default=0))),
                      shop.unlike("order", "LineAdded", typed("LineAdded", boxes=int))),
        r"LineAdded\.v2\.avsc: the class LineAdded is wider than this schema: boxes is an int of Python",
        r"make it a long in a new version, or bound the class",
    ),
    "a time without a zone": (
        lambda shop: added(shop, lambda it: it["fields"].append(
            field("at", {"type": "long", "logicalType": "local-timestamp-millis"}, default=0)), *ALL, "at"),
        r"the field at is a local-timestamp-millis, a time without a zone",
        r'use "logicalType": "timestamp-millis"',
    ),
    "upcasters in a circle": (
        lambda shop: shop.upcaster(
            "UPCASTERS['order'] += [Upcaster('RevenueWithdrawn', 1, lambda it: [Upcasted('OrderCancelled', 1, "
            "{'reason': '', 'withdrawn': it})])]"
        ),
        r"order/\w+\.v1\.avsc: cannot be read: the upcaster of \w+\.v1 leads in a circle",
        r"follow it through upcasters\.py",
    ),
    "an event type gone without a word": (
        lambda shop: shop.unlike("order", "LineAdded", None),
        r"no command or event of order is a LineAdded",
        r'drop it with Upcaster\("LineAdded", 1, dropped\)',
    ),
    "one name for two things": (
        lambda shop: (
            shop.change("order/OrderPlaced.v1", lambda it: it["fields"][4]["type"]["items"]["fields"].append(
                field("tax", "int", default=0)), "order/OrderPlaced.v2"),
        ),
        r"shop\.order\.Line is not what it is in order/\w+\.v\d\.avsc",
        r"code made from both would clash: say the same in both",
    ),
    "an older version declared unreadable for nothing": (
        lambda shop: added(shop, lambda it: (it.update(compatibility="BACKWARD"),
                                             it["fields"].append(field("tax", "int", default=0))), *ALL, "tax"),
        r"older workers would stop at it for nothing: they can read it as version 1",
        r'remove "compatibility": "BACKWARD"; if it means something else, it needs an upcaster too',
    ),
    "an alias of an event gone": (
        lambda shop: (
            shop.change("order/SaleWithdrawn.v1", lambda it: (
                it.pop("aliases"), it["fields"].append(field("tax", "int", default=0))), "order/SaleWithdrawn.v2"),
            shop.unlike("order", "SaleWithdrawn", fields("user_id", "kind", "country", "opened_at", "lines", "total",
                                                         "tax")),
        ),
        r"the alias shop\.order\.RevenueWithdrawn of version 1 is gone",
        r"keep it: events of that name are read by it",
    ),
    "an upcaster to a version that is not there": (
        lambda shop: shop.upcaster(
            "UPCASTERS['product'][0:1] = [Upcaster('StockLevelNoted', 1, lambda it: [Upcasted('Restocked', 9, {})])]"
        ),
        r"upcaster of StockLevelNoted\.v1: makes a Restocked\.v9, of which there is no schema",
        r"name a version that exists",
    ),
    "an upcaster that does not fit": (
        lambda shop: shop.upcaster(
            "UPCASTERS['product'][0:1] = [Upcaster('StockLevelNoted', 1, lambda it: [Upcasted('Restocked', 1, {})])]"
        ),
        r"upcaster of StockLevelNoted\.v1: makes a Restocked\.v1 that does not fit its schema",
        r"give it all fields of that version, in their types",
    ),
    "an upcaster that raises": (
        lambda shop: shop.upcaster(
            "UPCASTERS['product'][0:1] = [Upcaster('StockLevelNoted', 1, lambda it: [it['free']])]"
        ),
        r"upcaster of StockLevelNoted\.v1: raises KeyError\('free'\)",
        r"an upcaster takes whatever its version could hold",
    ),
    "an upcaster of what is written": (
        lambda shop: shop.upcaster("UPCASTERS['order'].append(Upcaster('LineAdded', 1, lambda it: []))"),
        r"upcaster of LineAdded\.v1: this is the newest version, which is still written",
        r"add LineAdded\.v2\.avsc, which it leads to",
    ),
    "two upcasters of one version": (
        lambda shop: shop.upcaster("UPCASTERS['user'] *= 2"),
        r"upcaster of UserRegistered\.v1: there are two",
        r"keep one",
    ),
    "an upcaster of nothing": (
        lambda shop: shop.upcaster("UPCASTERS['user'].append(Upcaster('UserGreeted', 1, lambda it: []))"),
        r"there is no UserGreeted\.v1\.avsc",
        r"correct its name or version",
    ),
    "a state that changed under its version": (
        lambda shop: shop.deciders.update(order=with_state(order, user)),
        r"state of order: its shape has changed, and state_version is still 1",
        r"raise state_version of the decider to 2",
    ),
    "a state version that falls": (
        lambda shop: shop.deciders.update(product=replace(product, state_version=1)),
        r"state of product: state_version 2 is released",
        r"state_version only rises",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_change_is_refused(shop: Shop, name: str) -> None:
    """It is found, and the message says what to do."""
    change, what, do = BAD[name]
    change(shop)
    assert any(_says(problem, what, do) for problem in shop.problems()), "\n".join(shop.problems())


def _says(problem: str, what: str, do: str) -> bool:
    first, _, second = problem.partition("\n")
    return bool(re.search(what, first) and re.search(do, second))


GOOD: dict[str, Callable[[Shop], object]] = {
    "a field with a default": lambda shop: added(
        shop, lambda it: it["fields"].append(field("tags", {"type": "array", "items": "string"}, default=[])), *ALL,
        "tags"),
    "a measure that says that it is approximate": lambda shop: added(
        shop, lambda it: it["fields"].append(field("weight", "double", default=0, approximate=True)), *ALL, "weight"),
    "a type widened, and declared": lambda shop: added(
        shop, lambda it: (set_type("quantity", ["null", "long"])(it), it.update(compatibility="BACKWARD"))),
    "a field renamed with an alias, and declared": lambda shop: added(
        shop, lambda it: (it["fields"][2].update(name="pieces", aliases=["quantity"]),
                          it.update(compatibility="BACKWARD")), "sku", "description", "pieces", "unit_price"),
    "a field removed that had a default": lambda shop: (
        shop.change("user/RegisterUser.v1", lambda it: it["fields"].pop(2), "user/RegisterUser.v2"),
        shop.unlike("user", "RegisterUser", fields("country", "name")),
    ),
    "an event split": lambda shop: (
        added(shop, lambda it: (it["fields"].pop(1), it.update(compatibility="BACKWARD")), "sku", "quantity",
              "unit_price"),
        shop.upcaster(
            "UPCASTERS['order'].append(Upcaster('LineAdded', 1, lambda it: [Upcasted('LineAdded', 2, "
            "{n: v for n, v in it.items() if n != 'description'}), Upcasted('LineRemoved', 1, {'sku': it['sku']})]))"
        ),
    ),
    "an event dropped": lambda shop: (
        shop.unlike("order", "LineAdded", None),
        shop.upcaster("from schemas.upcasting import dropped\n"
                      "UPCASTERS['order'].append(Upcaster('LineAdded', 1, dropped))"),
    ),
    "an event renamed": lambda shop: (
        shop.change("order/LineRemoved.v1", lambda it: it.update(name="LineTaken", aliases=["LineRemoved"]),
                    "order/LineTaken.v1"),
        shop.unlike("order", "LineRemoved", None),
        shop.unlike("order", "LineTaken", fields("sku")),
    ),
    "a state of a newer version": lambda shop: shop.deciders.update(
        order=replace(with_state(order, user), state_version=2)),
    "documentation of a released file": lambda shop: shop.change(
        "order/LineRemoved.v1", lambda it: it.update(doc="Said better.")),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_a_good_change_passes(shop: Shop, name: str) -> None:
    """Nobody would be broken by it."""
    GOOD[name](shop)
    assert [] == shop.problems()


def test_what_is_not_released_is_said(shop: Shop) -> None:
    """A version that is not in the lock is for the command that releases it; then it is as fixed as the others."""
    added(shop, lambda it: it["fields"].append(field("tax", "int", default=0)), *ALL, "tax")
    contracts = [Contract(it, Schemas.load(shop.folder, type)) for type, it in shop.deciders.items()]
    released = lock.read_lock(shop.folder / lock.FILE)
    [problem] = check.check(contracts, released)
    assert ("order/LineAdded.v2.avsc", "is not released") == (problem.where, problem.what)
    assert "schemas lock" in problem.do
    locked, new = check.release(contracts, released)
    assert (["order/LineAdded.v2.avsc"], []) == (new, check.check(contracts, locked))
    lock.write_lock(shop.folder / lock.FILE, locked)
    assert locked == lock.read_lock(shop.folder / lock.FILE)
    shop.change("order/LineAdded.v2", lambda it: it["fields"][4].update(default=1))
    assert any("is released, and is not what it was" in problem for problem in shop.problems())


def test_two_versions_with_one_fingerprint(shop: Shop) -> None:
    """A meaning that changed under an unchanged form could not be told apart: there is nothing to load then."""
    shop.change("order/LineRemoved.v1", lambda it: it.update(doc="Means something else."), "order/LineRemoved.v2")
    with pytest.raises(SchemaError, match="one fingerprint"):
        shop.problems()


def test_an_example_fills_every_field() -> None:
    """A sample's fields are no defaults: it would not show whether a field is read."""
    schema = Schema.parse(
        json.dumps(
            {
                "type": "record", "name": "R", "fields": [
                    field("n", "long", default=0), field("text", ["null", "string"], default=None),
                    field("price", MONEY), field("at", {"type": "long", "logicalType": "timestamp-millis"}),
                    field("lines", {"type": "array", "items": "long"}, default=[]),
                    field("by", {"type": "map", "values": "long"}),
                ],
            }
        )
    )  # fmt: skip
    filled = example(schema)
    assert {"n": 1, "text": "text 2", "price": Decimal("3.2345"), "lines": [5, 6], "by": {"by a": 7, "by b": 8}} == {
        name: value for name, value in filled.items() if name != "at"
    }
    assert 123_000 == filled["at"].microsecond
