"""The checkout context: `faust -A streams.shop.checkout worker`."""

from aggregates.shop.checkout import checkout
from streams.command_app import command_app

app = command_app(__name__, "checkout", checkout)
