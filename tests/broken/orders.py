"""The orders of the shop, whose domain raises over a line that costs nothing."""

from dataclasses import replace
from functools import wraps

from aggregates.shop.order import AddLine, Command, Event, State, decide, order
from streams.app import command_app


@wraps(decide)
def decide_with_bug(command: Command, state: State) -> list[Event]:
    if isinstance(command, AddLine):
        _ = command.quantity / command.unit_price  # somebody wanted to know how many there are for a pound
    return decide(command, state)


app = command_app(__name__, "orders", replace(order, decide=decide_with_bug), schema_root="shop", database="shop")
