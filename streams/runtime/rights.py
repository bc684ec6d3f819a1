"""What a process needs of the servers, as its parts say: of it are made the topics, the ACLs and the grants."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from streams.journal.grants import Grant
from streams.kafka.topics import Topic


@dataclass(frozen=True)
class Rights:
    """The needs of a part of a process, or of all of them.

    topics    those that it makes where it may, each with what it needs of it
    others    topics that somebody else makes, and what it needs of them
    groups    the consumer groups that it is in, or commits the offsets of
    watched   those that it looks at: who is in them, and where these listen
    prefixes  those of the topics that it writes to besides
    grants    those of databases
    anywhere  the process managers that send commands to types which nobody can know here
    """

    topics: tuple[Topic, ...] = ()
    others: tuple[Topic, ...] = ()
    groups: tuple[str, ...] = ()
    watched: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    grants: frozenset[Grant] = field(default_factory=frozenset)
    anywhere: tuple[str, ...] = ()

    @classmethod
    def of_all(cls, parts: Iterable[Rights]) -> Rights:
        """What all of these need together."""
        parts = list(parts)
        return cls(
            tuple(topic for part in parts for topic in part.topics),
            tuple(topic for part in parts for topic in part.others),
            tuple(group for part in parts for group in part.groups),
            tuple(group for part in parts for group in part.watched),
            tuple(prefix for part in parts for prefix in part.prefixes),
            frozenset(grant for part in parts for grant in part.grants),
            tuple(type for part in parts for type in part.anywhere),
        )
