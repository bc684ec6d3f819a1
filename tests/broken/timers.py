"""The timers of the engine, whose owners decide as ever, and whose time nobody watches: all of them come to be late."""

from aggregates.timer import timer
from streams.app import command_app

app = command_app(__name__, "timers", timer, schema_root="engine")
