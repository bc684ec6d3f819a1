"""The parts of a worker, which its application starts, stops, and tells of rebalances."""

from __future__ import annotations

from collections.abc import Sequence

from faust.types import TP

from streams.runtime.rights import Rights


class Part:
    """A part of a worker. A method that a part does not define does nothing.

    Methods of different parts run side by side, but for `start`, `stop` and `resume`, which run one after another: in
    the order in which parts were added, and `stop` in the opposite order, so that a part ends before those it uses.
    """

    @property
    def is_ready(self) -> bool:
        """Whether it serves all that is assigned to it."""
        return True

    @property
    def partitions_served(self) -> set[int]:
        """The partitions that it serves, for `/health/ready`."""
        return set()

    @property
    def logs_served(self) -> Sequence[str] | None:
        """The logs whose commands it decides, by name; None where it decides none at all."""
        return None

    @property
    def limits(self) -> Sequence[str]:
        """What keeps it from serving all that it might, each in one line. None is a trouble: `/health/ready` shows it
        and answers 200."""
        return ()

    @property
    def rights(self) -> Rights:
        """What it needs of the servers, and nothing that it does not: topics, groups, tables."""
        return Rights()

    async def start(self) -> None:
        """Prepare, before the worker joins its consumer group."""

    async def stop(self) -> None:
        """End, after `leave`. An error is logged, and keeps no other part from ending."""

    async def assign(self, assignment: set[TP]) -> None:
        """Have these partitions, or none, from now on: a rebalance has assigned them. Cheap to repeat."""

    async def resume(self) -> None:
        """Serve: a rebalance is over, and the tables are recovered. Returns when it serves; is repeated on an error."""

    async def revoke(self) -> None:
        """A rebalance begins: let go of what cannot go on, whatever is assigned next. Or the worker ends."""

    async def leave(self) -> None:
        """The worker ends: let go of what a rebalance would have let go on."""
