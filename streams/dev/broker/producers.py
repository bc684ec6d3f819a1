"""Which batches of numbering producers a partition has: one that is sent again is not written again (KIP-98)."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from streams.dev.broker.batches import NO_PRODUCER, Batch

REMEMBERED = 5
"""Batches of each producer; none has more of one partition on their way."""
MOST_PRODUCERS = 1_000
"""Of a partition; the one that was silent for longest is forgotten."""
_NUMBERS = 2**31


class OutOfOrder(Exception):
    """A batch before this one has not come."""


class Superseded(Exception):
    """A newer instance of this producer has begun."""


class Written(NamedTuple):
    sequence: int
    records: int
    first: int
    """Its first offset."""


@dataclass
class _Producer:
    epoch: int
    batches: deque[Written] = field(default_factory=lambda: deque(maxlen=REMEMBERED))


class Producers:
    """Those that have written to one partition."""

    def __init__(self, newest: Iterable[Batch] = ()) -> None:
        """`newest`: the last batches of the partition, in order."""
        self._known: OrderedDict[int, _Producer] = OrderedDict()
        for batch in newest:
            self.wrote(batch)

    def check(self, batch: Batch) -> Written | None:
        """What was written of this very batch before; None where it is new, and next. Raises `OutOfOrder`,
        `Superseded`."""
        if batch.producer == NO_PRODUCER or (known := self._known.get(batch.producer)) is None:
            return None
        if batch.epoch < known.epoch:
            raise Superseded
        if batch.epoch > known.epoch:
            if batch.sequence:
                raise OutOfOrder
            return None
        for written in known.batches:
            if (written.sequence, written.records) == (batch.sequence, batch.records):
                return written
        last = known.batches[-1]
        if batch.sequence != (last.sequence + last.records) % _NUMBERS:
            raise OutOfOrder
        return None

    def wrote(self, batch: Batch) -> None:
        """A batch was checked, and written."""
        if batch.producer == NO_PRODUCER:
            return
        known = self._known.get(batch.producer)
        if known is None or known.epoch != batch.epoch:
            known = self._known[batch.producer] = _Producer(batch.epoch)
        known.batches.append(Written(batch.sequence, batch.records, batch.first))
        self._known.move_to_end(batch.producer)
        if len(self._known) > MOST_PRODUCERS:
            self._known.popitem(last=False)
