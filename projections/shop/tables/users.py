"""One row per user. `email` is confirmed, `email_pending` asked for; `email_refused`, which was asked for last, is
somebody else's."""

from __future__ import annotations

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
            return {"id": key, "status": "active", "country": country, "name": name, **_email(None)}
        case _ if row is None:  # an address that came to an id that nobody has registered, and was given back
            return None
        case EmailChanged(address):
            current = row["email"]
            return {**row, **_email(current, pending=None if address == current else address)}
        case EmailConfirmed(address):
            return {**row, **_email(address)}
        case EmailRefused(address):
            return {**row, **_email(row["email"], refused=address)}
        case EmailGivenUp(address):
            return {**row, "email": None} if address == row["email"] else row
        case UserDeactivated():
            return {**row, "status": "deactivated", "email_pending": None}
        case unknown:
            raise TypeError(f"no rule for {type(unknown).__name__}")


def _email(current: str | None, pending: str | None = None, refused: str | None = None) -> Row:
    return {"email": current, "email_pending": pending, "email_refused": refused}


users = Projection("users", 3, "user", evolve)
