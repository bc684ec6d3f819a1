"""Where the logs of a consumer group are: their seats, partitions of a topic, are spread evenly over its workers.

Faust keeps the numbers of partitions even, of which a topic of seats has many without a log. Here the seats of open
logs are even, of each topic and of all topics together, and as many as can be stay where they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

from faust.assignor.client_assignment import ClientAssignment
from faust.assignor.partition_assignor import PartitionAssignor

Seat = tuple[str, int]
"""Topic and partition."""


def spread(
    seats: Mapping[str, Collection[int]], members: Mapping[str, Collection[str]], before: Mapping[Seat, str]
) -> dict[Seat, str]:
    """Which member has which seat. `seats` are the partitions of each topic, `members` those that may have them.

    Of one topic, and of all together where all members know all topics, no member has two more than another.
    """
    placing = _Placing(members)
    wanted = [(topic, seat) for topic in sorted(seats) for seat in sorted(seats[topic]) if members.get(topic)]
    for seat in wanted:
        if before.get(seat) in members[seat[0]]:
            placing.put(seat, before[seat])
    for seat in wanted:
        if seat not in placing.placed:
            placing.put(seat, placing.least(seat[0]))
    while placing.levels_a_topic() or placing.levels_all():
        pass
    return placing.placed


class _Placing:
    """Seats that are being placed, and how many each member has: of a topic, and of all."""

    def __init__(self, members: Mapping[str, Collection[str]]) -> None:
        self.placed: dict[Seat, str] = {}
        self._members = {topic: sorted(of_topic) for topic, of_topic in members.items() if of_topic}
        self._of: dict[str, Counter[str]] = {topic: Counter() for topic in self._members}
        self._all: Counter[str] = Counter()

    def put(self, seat: Seat, member: str) -> None:
        """Have a member have a seat, in the place of the one that has it."""
        if (former := self.placed.get(seat)) is not None:
            self._of[seat[0]][former] -= 1
            self._all[former] -= 1
        self.placed[seat] = member
        self._of[seat[0]][member] += 1
        self._all[member] += 1

    def least(self, topic: str) -> str:
        """The member that has the fewest of a topic, and among those the fewest of all."""
        return min(self._members[topic], key=lambda member: (self._of[topic][member], self._all[member]))

    def levels_a_topic(self) -> bool:
        """Move a seat between two members of which one has two more of its topic. False where there are none."""
        for topic, members in self._members.items():
            least = self.least(topic)
            most = max(members, key=lambda member: (self._of[topic][member], self._all[member]))
            if self._of[topic][most] - self._of[topic][least] > 1:
                self._move(topic, most, least)
                return True
        return False

    def levels_all(self) -> bool:
        """Move a seat between two members of which one has two more of all, and one more of the topic."""
        pairs = sorted(
            ((self._all[least] - self._all[most], topic, most, least) for topic, members in self._members.items()
             for most in members for least in members if self._of[topic][most] > self._of[topic][least]),
        )  # fmt: skip
        if not pairs or pairs[0][0] > -2:
            return False
        _, topic, most, least = pairs[0]
        self._move(topic, most, least)
        return True

    def _move(self, topic: str, most: str, least: str) -> None:
        self.put(max(seat for seat, member in self.placed.items() if member == most and seat[0] == topic), least)


class SeatAssignor(PartitionAssignor):  # type: ignore[misc]
    """Faust's, which places the topics in the app's `layouts` as above, and all others as ever.

    Seats without a log are spread too, among themselves: a log may begin on one at any time.
    """

    _before: Mapping[str, ClientAssignment]
    _subscriptions: Mapping[str, Collection[str]]
    _partitions: Mapping[str, Collection[int]]

    def _perform_assignment(self, cluster: Any, member_metadata: Any) -> Any:
        self._before = {
            member: self._get_client_metadata(metadata).assignment for member, metadata in member_metadata.items()
        }
        self._subscriptions = {member: metadata.subscription for member, metadata in member_metadata.items()}
        return super()._perform_assignment(cluster, member_metadata)

    def _get_copartitioned_groups(self, topics: set[str], cluster: Any, subscriptions: Any) -> Any:
        ours = topics & self.app.layouts.keys()
        self._partitions = {topic: cluster.partitions_for_topic(topic) or () for topic in ours}
        return super()._get_copartitioned_groups(topics - ours, cluster, subscriptions)

    def _global_table_standby_assignments(self, assignments: Any, partitions_by_topic: Any) -> Any:
        assignments = super()._global_table_standby_assignments(assignments, partitions_by_topic)
        members = {
            topic: [member for member, topics in self._subscriptions.items() if topic in topics]
            for topic in self._partitions
        }
        before = {
            (topic, seat): member
            for member, assignment in sorted(self._before.items())
            for topic in self._partitions
            for seat in assignment.actives.get(topic, ())
        }
        layouts = self.app.layouts
        opened = {topic: set(layouts[topic].layout.seats) & set(has) for topic, has in self._partitions.items()}
        idle = {topic: set(has) - opened[topic] for topic, has in self._partitions.items()}
        for seats in (opened, idle):
            for (topic, seat), member in spread(seats, members, before).items():
                assignments[member].actives.setdefault(topic, []).append(seat)
        return assignments
