"""Everything that reads bytes from outside. To add one: a `Reader` in one of these lists."""

from __future__ import annotations

from tests.fuzz import from_kafka, from_people
from tests.fuzz.reader import Reader

READERS: list[Reader] = [*from_kafka.READERS, *from_people.READERS]
"""Each by a name of its own."""
