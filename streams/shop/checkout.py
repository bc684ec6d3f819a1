"""The checkout context: `faust -A streams.shop.checkout worker`."""

from datetime import timedelta

from aggregates.shop.checkout import checkout_within
from streams.app import command_app
from streams.runtime.preparation import stop_on_user_error
from streams.settings import whole_number

DAY = 86_400

with stop_on_user_error():
    deadline = timedelta(seconds=whole_number("CHECKOUT_DEADLINE", DAY, 365 * DAY))

app = command_app(__name__, "checkout", checkout_within(deadline), schema_root="shop", database="shop")
