"""What follows the log of an owner beside deciding: the owner tells it when it has the log, and of each commit."""

from __future__ import annotations

from collections.abc import Sequence

from streams.journal.port import Commit


class LogFollower:
    """Follows one log for as long as one owner has it. A method that a follower does not define does nothing.

    The owner calls them in the order taken, committed .., lost. These return at once and raise nothing: work is for a
    task of the follower's own. `before_sending` is another matter.
    """

    def taken(self, head: Commit) -> None:
        """The log is taken over, and all commits up to `head` stand in the journal."""

    def committed(self, commit: Commit) -> None:
        """This commit, the next one of the log, is durable."""

    async def before_sending(self, commits: Sequence[Commit]) -> None:
        """Do what these commits are to do outside, before the commands are sent that they cause. May be called for the
        same ones again, also by the follower of the next owner. Raises `Unavailable`: then it is called again."""

    def lost(self) -> None:
        """The log is another owner's, or soon may be. Also called where it was never taken."""
