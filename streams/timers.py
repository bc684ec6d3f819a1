"""The timers context: `faust -A streams.timers worker`. It belongs to the engine, and sends to every type."""

from aggregates.timer import timer
from streams.app import command_app
from streams.processes.timer_watch import TimerWatch

app = command_app(__name__, "timers", timer, schema_root="engine", new_follower=TimerWatch)
