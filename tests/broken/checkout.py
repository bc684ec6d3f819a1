"""The checkout of the shop, which cannot hear of an order that a guest has placed."""

from dataclasses import replace
from typing import Any

from aggregates.process_manager import ForeignEvent, Reaction
from aggregates.shop.checkout import checkout
from streams.app import command_app

GUEST = "guest"
ADDRESSES = {"17850": "1 Rose Lane"}


def hear_with_bug(happened: ForeignEvent) -> list[Reaction[Any]]:
    if happened.data.get("user_id") == GUEST:
        _ = ADDRESSES[GUEST]
    return checkout.hear(happened)


app = command_app(__name__, "checkout", replace(checkout, hear=hear_with_bug), schema_root="shop", database="shop")
