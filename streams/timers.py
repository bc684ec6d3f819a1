"""The context of the engine's own aggregates: `faust -A streams.timers worker`. Its timers send to every type, and its
subjects are the persons who were forgotten."""

from typing import Any

from aggregates.subject import subject
from aggregates.timer import timer
from streams.aggregate_type import AggregateType
from streams.app import command_app
from streams.journal.layout import LogSpan
from streams.journal.port import Journal
from streams.ownership.follower import LogFollower
from streams.processes.erasures import Erasures
from streams.processes.timer_watch import TimerWatch


def follower(context: AggregateType, span: LogSpan, journal: Journal, *of_worker: Any) -> LogFollower:
    """What follows a log of one of them."""
    if context.decider.type == subject.type:
        return Erasures(context, journal)
    return TimerWatch(context, span, journal, *of_worker)


app = command_app(__name__, "timers", timer, subject, schema_root="engine", new_follower=follower)
