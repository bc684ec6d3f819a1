"""Whether the events that a reader in whatever language has printed are what the contract promises."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

Place = tuple[int, int]
Event = Mapping[str, Any]


def in_order(printed: str, type: str) -> int:
    """Hold what was printed, a line of JSON an event, in the order in which it was read: how many events there are.

    Offsets of a partition rise; positions of its stream rise, each event naming the one before it; the sequences of a
    key are dense. What is not newer is a repeat of an event that came before, under its id.
    """
    streams: defaultdict[int, list[Event]] = defaultdict(list)
    for line in printed.splitlines():
        event = json.loads(line)
        streams[event["partition"]].append(event)
    return sum(_stream_in_order(events, f"{type}-{partition}") for partition, events in streams.items())


def _stream_in_order(events: Sequence[Event], stream: str) -> int:
    offsets = [event["offset"] for event in events]
    assert offsets == sorted(set(offsets)), f"{stream}: read in another order than it was written in"
    ids, last, newest = dict[Place, str](), f"{stream}:0:0", (0, 0)
    sequences: defaultdict[str, int] = defaultdict(int)
    for event in events:
        place = place_of(event["ce_position"], stream)
        if place <= newest:
            assert ids.get(place) == event["ce_id"], f"{event} is older than what came before, and had not come"
            continue
        assert event.get("ce_previous", last) == last, f"{event} does not follow {last}"
        sequences[event["key"]] += 1
        assert int(event["ce_sequence"]) == sequences[event["key"]], f"{event}: an event of its key is missing"
        ids[place], last, newest = event["ce_id"], event["ce_position"], place
    assert len(set(ids.values())) == len(ids), f"{stream}: two events have one id"
    return len(ids)


def place_of(position: str, stream: str) -> Place:
    """The commit and the index of a position, which is of this stream."""
    name, nr, index = position.rsplit(":", 2)
    assert stream == name, position
    return int(nr), int(index)
