"""The bounds of an owner's work."""

from __future__ import annotations

import msgspec

KIB = 1024


class Limits(msgspec.Struct, frozen=True):
    """What an owner takes on at once, and what it takes from one command.

    commands, bytes     of a group: commands, and bytes of what they write, after which it takes no further command
    linger              seconds of waiting for company
    snapshot_every      events between snapshots
    queue_bytes         of the messages that wait before a group; as many may be in the group itself
    command_bytes       of one command's message: key, value and headers
    command_events, command_event_bytes    that one command may cause
    attempts            at deciding a command when the domain raises
    quarantine          whether a command that makes the domain raise quarantines its aggregate
    waiting, waiting_bytes                 of the commands that wait behind one aggregate in quarantine
    """

    commands: int = 500
    bytes: int = 512 * KIB
    linger: float = 0.005
    snapshot_every: int = 100
    queue_bytes: int = 4096 * KIB
    command_bytes: int = 256 * KIB
    command_events: int = 1_000
    command_event_bytes: int = 256 * KIB
    attempts: int = 3
    quarantine: bool = False
    waiting: int = 1_000
    waiting_bytes: int = 4096 * KIB
