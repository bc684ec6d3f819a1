"""The topics of the simulated world."""

from __future__ import annotations

from tests.simulation.account import TYPE

HINT_KEY = "key"
"""That the layout of the type has."""
COMMANDS_TOPIC = f"{TYPE}-commands"
COMMITS_TOPIC = f"{TYPE}-commits"
LOGS_TOPIC = f"{TYPE}-logs"
EVENTS_TOPIC = f"{TYPE}-events"
DEAD_LETTERS_TOPIC = f"{TYPE}-dead-letters"
REPLIES_TOPIC = "answers"
CHANGELOG = f"projections-{TYPE}-rows-changelog"
CONTROL_TOPIC = "projections-control"
PROJECTION_LETTERS_TOPIC = "projections-dead-letters"
PARTITIONED = (
    COMMANDS_TOPIC,
    COMMITS_TOPIC,
    LOGS_TOPIC,
    EVENTS_TOPIC,
    DEAD_LETTERS_TOPIC,
    REPLIES_TOPIC,
    CHANGELOG,
    PROJECTION_LETTERS_TOPIC,
)
"""All but the one of control, which has one partition."""
