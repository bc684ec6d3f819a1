"""What holds in every world that the shop can come to, and the search through all of them."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from tests.unit.shop_model import Shop, World

OUTCOMES = ("confirmed", "rejected", "cancelled", "shipped")


class Broken(AssertionError):
    """The shop has come where it must not, by these steps."""


def check(shop: Shop, world: World) -> str:
    """What is wrong at any moment; nothing when all is well."""
    for sku in shop.plan.stock:
        ledger = shop.content(world, f"product/{sku}")
        stock = ledger.state
        if stock.available < 0:
            return f"{sku} has {stock.available} pieces"
        if ledger.restocked != stock.available + sum(stock.reservations.values()) + ledger.shipped:
            return f"pieces of {sku} are lost or doubled"
    for id in shop.plan.orders:
        if shop.content(world, f"order/{id}").state.status == "confirmed" and (missing := _missing(shop, world, id)):
            return f"{id} is confirmed without its pieces of {missing}"
    return ""


def check_at_rest(shop: Shop, world: World) -> str:
    """What is wrong when everything was delivered and every deadline has passed; nothing when all is well."""
    for id in shop.plan.orders:
        status = shop.content(world, f"order/{id}").state.status
        if status not in OUTCOMES:
            return f"{id} is {status} for ever"
        held = {sku: shop.content(world, f"product/{sku}").state.reservations.get(id) for sku in shop.plan.stock}
        if (status != "confirmed" or id in shop.plan.credits) and any(held.values()):
            return f"{id} is {status} and holds {held}"
        pending = shop.content(world, f"timer/checkout:{id}").state.status == "pending"
        if pending and not shop.plan.repeats:  # a schedule that comes again behind its cancelling fires in vain
            return f"the timer of {id} goes on"
    for sku in shop.plan.stock:
        shipped = sum(
            pieces
            for id, lines in shop.plan.orders.items()
            if shop.content(world, f"order/{id}").state.status == "shipped"
            for line, pieces in lines
            if line == sku
        )
        if shipped != shop.content(world, f"product/{sku}").shipped:
            return f"of {sku} other pieces left the stock than were shipped"
    return ""


def _missing(shop: Shop, world: World, id: str) -> list[str]:
    """Of which products an order has not exactly its pieces. A credit needs none."""
    if id in shop.plan.credits:
        return []
    wanted: dict[str, int] = {}
    for sku, pieces in shop.plan.orders[id]:
        wanted[sku] = wanted.get(sku, 0) + pieces
    stocks: dict[str, Any] = {sku: shop.content(world, f"product/{sku}").state for sku in wanted}
    return [sku for sku, stock in stocks.items() if stock.reservations.get(id, 0) != wanted[sku]]


@dataclass
class Explored:
    """How many worlds there are, in how many ways everything can happen, and with which outcomes of the orders."""

    worlds: int
    interleavings: int
    outcomes: set[tuple[str, ...]]


def explore(shop: Shop, most: int = 10_000_000) -> Explored:
    """Every world that can be reached, each looked at. Breadth first, a step at a time; every step uses something up,
    so it ends. A world that is reached after more than one number of steps is gone on from each time, with the number
    of ways that lead there, which so come out exactly. Raises `Broken`, `MemoryError`."""
    came: dict[World, World | None] = {shop.start: None}
    well: set[tuple[int, ...]] = set()
    watched = [slot for name, slot in shop.slots.items() if name.startswith(("order/", "product/"))]
    layer, ended, outcomes = {shop.start: 1}, 0, set()
    while layer:
        next_layer: dict[World, int] = {}
        for world, ways in layer.items():
            at_rest = True
            for kind in (shop.steps, shop.choices):
                for _, after in kind(world):
                    at_rest = at_rest and kind != shop.steps
                    if after not in came:
                        came[after] = world
                        look = tuple(after[slot] for slot in watched)
                        if look not in well:
                            if wrong := check(shop, after):
                                raise Broken(f"{wrong}: {_way(shop, came, after)}")
                            well.add(look)
                    next_layer[after] = next_layer.get(after, 0) + ways
            if at_rest:
                if wrong := check_at_rest(shop, world):
                    raise Broken(f"{wrong}: {_way(shop, came, world)}")
                ended += ways
                outcomes.add(tuple(shop.content(world, f"order/{id}").state.status for id in shop.plan.orders))
        layer = next_layer
        if len(came) > most:
            raise MemoryError(f"more than {most} worlds")
    return Explored(len(came), ended, outcomes)


def _way(shop: Shop, came: dict[World, World | None], world: World) -> list[str]:
    steps: list[str] = []
    after: World = world
    while (before := came[after]) is not None:
        steps.append(next(step for kind in (shop.steps, shop.choices) for step, it in kind(before) if it == after))
        after = before
    return steps[::-1]


def walk(shop: Shop, rng: random.Random, steps: int) -> None:
    """One way through: for a while anything, with some services standing still for long, and then all that is left.
    Raises `Broken`."""
    world, way = shop.start, list[str]()
    types = ["order/", "product/", "checkout/", "timer/"]
    still: list[str] = []
    for nr in range(100_000):
        if nr % 8 == 0:
            still = rng.sample(types, rng.choice((0, 0, 1, 2)))
        open_ = list(shop.steps(world))
        moving = [it for it in open_ if not any(f" {type_}" in it[0] for type_ in still)] if nr < steps else open_
        if nr < steps and (not moving or rng.random() < 0.3):
            moving = list(shop.choices(world)) or open_
        if not moving:
            if open_:
                continue
            break
        step, world = rng.choice(moving)
        way.append(step)
        if wrong := check(shop, world):
            raise Broken(f"{wrong}: {way}")
    if wrong := check_at_rest(shop, world):
        raise Broken(f"{wrong}: {way}")
