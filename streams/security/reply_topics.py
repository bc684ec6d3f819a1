"""Which topics a command may name for its reply: whoever may send commands must not make a worker write elsewhere."""

from __future__ import annotations

import re
from dataclasses import dataclass

_LEGAL = re.compile(r"[a-zA-Z0-9._-]{1,249}")
_READ_BY_SYSTEMS = re.compile(
    r"(-(commands|logs|commits|events|dead-letters|changelog|control|keys|audit)|gateway-replies)$"
)


@dataclass(frozen=True)
class ReplyTopics:
    """The `own` ones of this system, and those whose names begin with one of the `prefixes`, or any where there are
    none. Never another one that a system of this kind reads, whoever's it is. `are_made`: a worker makes those that are
    missing, if Kafka lets it."""

    own: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    are_made: bool = True

    def allow(self, topic: str) -> bool:
        """Whether replies may go there."""
        return not self.refusal(topic)

    def refusal(self, topic: str) -> str:
        """Why no replies may go there; empty where they may."""
        if topic in self.own:
            return ""
        if not _LEGAL.fullmatch(topic) or topic in (".", "..") or topic.startswith("__"):
            return "it is not a legal name"
        if _READ_BY_SYSTEMS.search(topic):
            return "a system itself reads it"
        return "" if topic.startswith(self.prefixes or "") else "REPLY_TOPICS does not allow it"


ANYWHERE = ReplyTopics()
"""Wherever it can do no harm to systems of this kind."""
