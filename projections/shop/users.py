"""One row per user."""

from __future__ import annotations

from aggregates.shop.user import EmailChanged, UserDeactivated, UserRegistered
from projections.projection import Projection, PublishedEvent, Row


def evolve(row: Row | None, key: str, published: PublishedEvent) -> Row:
    match published.event:
        case UserRegistered(country, name):
            return {"id": key, "status": "active", "country": country, "name": name, "email": None}
        case EmailChanged(address):
            return {**(row or {}), "email": address}
        case UserDeactivated():
            return {**(row or {}), "status": "deactivated"}
        case unknown:
            raise TypeError(f"no rule for {type(unknown).__name__}")


users = Projection("users", 2, "user", evolve)
