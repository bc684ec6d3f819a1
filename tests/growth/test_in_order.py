"""What is out of order is found, whoever has read it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.growth.in_order import in_order


def event(nr: int, previous: int, key: str = "a", sequence: int = 1, **other: Any) -> dict[str, Any]:
    """An event of the first partition, each in a commit of its own."""
    position = f"order-0:{nr}:0"
    return {
        "partition": 0, "offset": nr, "key": key, "ce_id": position, "ce_position": position,
        "ce_previous": f"order-0:{previous}:0", "ce_sequence": str(sequence), **other,
    }  # fmt: skip


FIRST, SECOND, OTHER = event(3, 0), event(5, 3, sequence=2), event(6, 5, "b")


def test_in_order() -> None:
    """Three events, one of them published again later, are three."""
    again = {**SECOND, "offset": 7}
    assert 3 == in_order("\n".join(map(json.dumps, [FIRST, SECOND, OTHER, again])), "order")


@pytest.mark.parametrize(
    "events",
    [
        [FIRST, event(6, 5, "b")],
        [FIRST, event(5, 3, sequence=3)],
        [FIRST, OTHER | {"ce_previous": FIRST["ce_position"]}, SECOND],
        [FIRST, SECOND | {"ce_position": "order-1:5:0"}],
        [SECOND | {"ce_previous": "order-0:0:0", "ce_sequence": "1"}, FIRST],
        [FIRST, SECOND, OTHER | {"offset": 4}],
        [FIRST, SECOND | {"ce_id": FIRST["ce_id"]}],
        [FIRST, SECOND, FIRST | {"offset": 7, "ce_id": "another"}],
    ],
)
def test_out_of_order(events: list[dict[str, Any]]) -> None:
    """An event is missing, of its stream or of its key; is late; is of another stream; or has another one's id."""
    with pytest.raises(AssertionError):
        in_order("\n".join(map(json.dumps, events)), "order")
