"""The users context: `faust -A streams.shop.users worker`."""

from aggregates.shop.email import email
from aggregates.shop.user import user
from streams.app import command_app

app = command_app(__name__, "users", user, email, schema_root="shop", database="shop")
