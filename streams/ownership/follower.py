"""What follows the log of an owner beside deciding: the owner tells it when it has the log, and of each commit."""

from __future__ import annotations

from streams.journal.port import Commit


class LogFollower:
    """Follows one log for as long as one owner has it. A method that a follower does not define does nothing.

    The owner calls all of them, in the order taken, committed .., lost. They return at once and raise nothing: work is
    for a task of the follower's own.
    """

    def taken(self, head: Commit) -> None:
        """The log is taken over, and all commits up to `head` stand in the journal."""

    def committed(self, commit: Commit) -> None:
        """This commit, the next one of the log, is durable."""

    def lost(self) -> None:
        """The log is another owner's, or soon may be. Also called where it was never taken."""
