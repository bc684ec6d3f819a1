"""The bounds of an owner's work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

KIB = 1024
MIB = 1024 * KIB
RECORD_BYTES = 1_000_000
"""The largest record that a topic takes as brokers are set (`max.message.bytes`), less some room for Kafka's own bytes
around it. A larger command could not be sent, and a larger event not be published."""


@dataclass(frozen=True)
class Limits:
    """What an owner takes on at once, and what it takes from one command.

    The setting of each has the same name in capitals. Beyond its range a worker would stand still, or end for want of
    memory.
    """

    group_commands: Annotated[int, Meta(ge=1, le=100_000)] = 500
    """The most commands that share a commit."""
    group_bytes: Annotated[int, Meta(ge=1, le=64 * MIB)] = 512 * KIB
    """Bytes of events after which a commit takes no further command."""
    group_linger: Annotated[float, Meta(ge=0, le=10)] = 0.005
    """Seconds that an owner waits for company when commands come fast; one that comes alone does not wait."""
    snapshot_every: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 100
    """Events between two snapshots of an aggregate, at least."""
    queue_bytes: Annotated[int, Meta(ge=1, le=1024 * MIB)] = 4 * MIB
    """Bytes of the messages that wait before a group, per log; as many may be in the group itself."""
    command_bytes: Annotated[int, Meta(ge=1, le=RECORD_BYTES)] = 256 * KIB
    """The most bytes of a command's message: its data, key and headers."""
    events_per_command: Annotated[int, Meta(ge=1, le=1_000_000)] = 1_000
    """The most events that one command may cause."""
    event_bytes_per_command: Annotated[int, Meta(ge=1, le=RECORD_BYTES)] = 256 * KIB
    """The most bytes of events that one command may cause."""
    principal_required: bool = False
    """Whether commands of nobody who is known are rejected, before the rule of their type is asked."""
    quarantine: bool = False
    """Whether the later commands of an aggregate wait behind one that made the domain raise; else they go on."""
    quarantine_limit: Annotated[int, Meta(ge=1, le=1_000_000)] = 1_000
    """The most commands that wait behind one aggregate in quarantine."""
    quarantine_bytes: Annotated[int, Meta(ge=1, le=1024 * MIB)] = 4 * MIB
    """The most bytes of such commands."""
