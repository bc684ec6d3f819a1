"""One row per user. `email` is confirmed, `email_pending` asked for; `email_refused`, which was asked for last, is
somebody else's. Names and addresses stand in it sealed: `email_id` and `email_pending_id` tell them apart."""

from __future__ import annotations

from typing import Any

from aggregates.shop.user import (
    EmailChanged,
    EmailConfirmed,
    EmailGivenUp,
    EmailRefused,
    UserDeactivated,
    UserRegistered,
)
from projections.projection import Projection, PublishedEvent, Row


def evolve(row: Row | None, key: str, published: PublishedEvent) -> Row | None:
    match published.event:
        case UserRegistered(country, name):
            return {"id": key, "status": "active", "country": country, "name": name, **_confirmed(None, None)}
        case _ if row is None:  # an address that came to an id that nobody has registered, and was given back
            return None
        case EmailChanged(address, id):
            has_it = id == row["email_id"]
            pending = {"email_pending": None if has_it else address, "email_pending_id": None if has_it else id}
            return {**row, **pending, "email_refused": None}
        case EmailConfirmed():
            return {**row, **_confirmed(row["email_pending"], row["email_pending_id"])}
        case EmailRefused():
            refused = {"email_refused": row["email_pending"]}
            return {**row, **_confirmed(row["email"], row["email_id"]), **refused}
        case EmailGivenUp(id):
            return {**row, "email": None, "email_id": None} if id == row["email_id"] else row
        case UserDeactivated():
            return {**row, "status": "deactivated", "email_pending": None, "email_pending_id": None}
        case unknown:
            raise TypeError(f"no rule for {type(unknown).__name__}")


def _confirmed(email: Any, id: str | None) -> Row:
    nothing = {"email_pending": None, "email_pending_id": None, "email_refused": None}
    return {"email": email, "email_id": id, **nothing}


users = Projection("users", 4, "user", evolve)
