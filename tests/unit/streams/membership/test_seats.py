"""Where a consumer group has its logs: spread evenly, where they were if they can be, whoever joins and leaves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from hypothesis import given
from hypothesis import strategies as st

from streams.membership.seats import SeatAssignor, spread

TOPICS = {"order-logs": [0, 1, 2, 3], "stock-logs": [0, 1], "checkout-logs": [5]}


def everywhere(members: Collection[str], topics: Mapping[str, Collection[int]] = TOPICS) -> dict[str, list[str]]:
    return {topic: sorted(members) for topic in topics}


def counts(placed: Mapping[tuple[str, int], str], members: Collection[str], topic: str = "") -> list[int]:
    held = Counter(member for (of, _), member in placed.items() if topic in ("", of))
    return sorted(held[member] for member in members)


def is_even(numbers: Collection[int]) -> bool:
    return max(numbers) - min(numbers) <= 1


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_spread(count: int) -> None:
    """Each seat has one worker; neither of one type nor of all has one worker two logs more than another."""
    members = [f"worker-{number}" for number in range(count)]
    placed = spread(TOPICS, everywhere(members), {})
    assert {(topic, seat) for topic, seats in TOPICS.items() for seat in seats} == placed.keys()
    assert is_even(counts(placed, members))
    assert all(is_even(counts(placed, members, topic)) for topic in TOPICS)


@given(st.lists(st.sets(st.sampled_from("abcde"), min_size=1), min_size=1, max_size=8))
def test_workers_come_and_go(groups: list[set[str]]) -> None:
    """After each rebalance all is even; only as many seats move as must: none when nobody came or went."""
    placed: dict[tuple[str, int], str] = {}
    for members in groups:
        before = placed
        placed = spread(TOPICS, everywhere(members), before)
        assert is_even(counts(placed, members))
        assert all(is_even(counts(placed, members, topic)) for topic in TOPICS)
        assert placed == spread(TOPICS, everywhere(members), placed)


def test_one_that_joins() -> None:
    """It takes its share of those that are there, and no seat moves between the others."""
    before = spread(TOPICS, everywhere("ab"), {})
    after = spread(TOPICS, everywhere("abc"), before)
    moved = [after[seat] for seat, member in before.items() if after[seat] != member]
    assert {"c"} == set(moved)
    assert 2 == len(moved)


def test_one_that_leaves() -> None:
    """Its seats go to the others, and those keep theirs."""
    before = spread(TOPICS, everywhere("abc"), {})
    after = spread(TOPICS, everywhere("ab"), before)
    assert all(after[seat] == member for seat, member in before.items() if member != "c")


def test_who_does_not_know_a_type_gets_none_of_its_seats() -> None:
    """As while a version with a new type is deployed."""
    members = {"order-logs": ["a", "b"], "stock-logs": ["b"]}
    placed = spread({"order-logs": [0, 1], "stock-logs": [0, 1]}, members, {})
    assert {"b"} == {member for (topic, _), member in placed.items() if topic == "stock-logs"}


class Cluster:
    """Of topics with so many partitions."""

    def __init__(self, **topics: int) -> None:
        self.topics = {name.replace("_", "-"): count for name, count in topics.items()}

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return set(range(self.topics[topic])) if topic in self.topics else None


class Group:
    """A consumer group whose leader is any of its members."""

    def __init__(self, **open_seats: Collection[int]) -> None:
        self.layouts = {topic.replace("_", "-"): SimpleNamespace(seats=seats) for topic, seats in open_seats.items()}
        self.topics = [*self.layouts]
        self.members: dict[str, SeatAssignor] = {}

    def join(self, name: str) -> None:
        app: Any = SimpleNamespace(
            layouts={topic: SimpleNamespace(layout=layout) for topic, layout in self.layouts.items()},
            conf=SimpleNamespace(canonical_url=f"http://{name}"),
            tables=SimpleNamespace(changelog_topics=set(), data={}),
            tracer=None,
            sensors=SimpleNamespace(
                on_assignment_start=lambda it: None, on_assignment_completed=lambda it, state: None
            ),
        )
        self.members[name] = SeatAssignor(app, replicas=1)

    def rebalance(self, cluster: Cluster) -> dict[str, dict[str, list[int]]]:
        """What each member has, by topic; each has heard it."""
        metadata: dict[str, ConsumerProtocolMemberMetadata] = {
            name: member.metadata(set(self.topics)) for name, member in self.members.items()
        }
        leader = min(self.members)
        assigned = self.members[leader].assign(cluster, metadata)  # type: ignore[arg-type]
        for name, assignment in assigned.items():
            self.members[name].on_assignment(assignment)
        return {name: dict(assignment.assignment) for name, assignment in sorted(assigned.items())}


def test_the_seats_of_a_group() -> None:
    """The open ones are even, of all types together; every partition has somebody; who stays keeps what it has."""
    group, cluster = Group(order_logs=[0, 1], stock_logs=[0, 1]), Cluster(order_logs=8, stock_logs=8)
    group.join("a")
    assert {"a": {"order-logs": [*range(8)], "stock-logs": [*range(8)]}} == group.rebalance(cluster)
    group.join("b")
    two = group.rebalance(cluster)
    for topic in group.topics:
        assert [*range(8)] == sorted(partition for has in two.values() for partition in has[topic])
        assert [1, 1] == [len({0, 1} & set(has[topic])) for has in two.values()]
    assert two == group.rebalance(cluster)
    group.join("c")
    three = group.rebalance(cluster)
    assert is_even([sum(len({0, 1} & set(has[topic])) for topic in group.topics) for has in three.values()])
    del group.members["b"]
    again = group.rebalance(cluster)
    for name in ("a", "c"):
        for topic in group.topics:
            assert {0, 1} & set(three[name][topic]) <= set(again[name][topic])


def test_a_log_that_begins_is_where_its_seat_was() -> None:
    """All workers have idle seats of each type, so none has to move for it."""
    group, cluster = Group(order_logs=[0]), Cluster(order_logs=8)
    group.join("a")
    group.join("b")
    before = group.rebalance(cluster)
    idle = next(name for name, has in before.items() if 0 not in has["order-logs"])
    seat = before[idle]["order-logs"][0]
    group.layouts["order-logs"].seats = [0, seat]
    assert seat in group.rebalance(cluster)[idle]["order-logs"]


def test_other_topics_are_placed_as_ever() -> None:
    """Seats are not placed with the topics of tables: these would follow them."""
    group, cluster = Group(order_commits=[0, 1]), Cluster(order_commits=4, rows=4)
    group.topics.append("rows")
    for name in "ab":
        group.join(name)
    placed = group.rebalance(cluster)
    for topic in ("order-commits", "rows"):
        assert [0, 1, 2, 3] == sorted(partition for has in placed.values() for partition in has[topic])
    assert [1, 1] == [len({0, 1} & set(has["order-commits"])) for has in placed.values()]


def test_a_topic_that_is_missing() -> None:
    """It has no seats, and keeps no other from being placed."""
    group = Group(order_logs=[0], stock_logs=[0])
    group.join("a")
    assert {"a": {"stock-logs": [0, 1]}} == group.rebalance(Cluster(stock_logs=2))
