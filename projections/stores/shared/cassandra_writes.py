"""The writes of a batch to one table in Cassandra."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from cassandra.query import UNSET_VALUE, BoundStatement

from projections.stores.listings import Spot
from projections.stores.shared.cassandra_tables import bigint, bucket_of, int_

_ROW_OVERHEAD = 120

_encode_spots = msgspec.json.Encoder().encode
_decode_spots = msgspec.json.Decoder(dict[str, Spot]).decode


def read_spots(listed: str | None) -> Mapping[str, Spot]:
    """Where a row is listed, from its column `listed`."""
    return _decode_spots(listed) if listed else {}


def bucket_written(row: BoundStatement) -> object:
    """The bucket of one of the `rows`."""
    return row.values[2]


class Writes:
    """Statements by the step that they belong to, each with its approximate size. The values are encoded here: the
    driver's own `bind` takes longer than all the rest together."""

    def __init__(self, statement: Callable[[str], Any], table: str, partition: int, has_listings: bool) -> None:
        self.entries: list[tuple[int, BoundStatement]] = []
        self.left: list[tuple[int, BoundStatement]] = []
        self.rows: list[tuple[int, BoundStatement]] = []
        self.quarantined: list[tuple[int, BoundStatement]] = []
        self._statement = statement
        self._table = table.encode()
        self._partition = int_(partition)
        self._has_listings = has_listings

    def add(self, key: str, value: bytes, now: Mapping[str, Spot], before: Mapping[str, Spot], at: int) -> None:
        """Write a row, encoded, with the spots at which it is listed now and was listed before."""
        name, when = key.encode(), bigint(at)
        for listing, (group, sort) in now.items():
            entry = [self._table, listing.encode(), group.encode(), sort.encode(), name, self._partition, value, when]
            self.entries.append(self._bound("list", entry, len(value)))
        self.leave(key, {listing: spot for listing, spot in before.items() if now.get(listing) != spot}, at)
        listed = _encode_spots(now) if self._has_listings else UNSET_VALUE  # not null: that would be a tombstone
        values = [self._table, self._partition, int_(bucket_of(name)), name, value, listed, when]
        self.rows.append(self._bound("save_row", values, len(value)))

    def leave(self, key: str, spots: Mapping[str, Spot], at: int) -> None:
        """Remove a row from these spots."""
        for listing, (group, sort) in spots.items():
            entry = [bigint(at), self._table, listing.encode(), group.encode(), sort.encode(), key.encode()]
            self.left.append(self._bound("unlist", entry))

    def quarantine(self, key: str, value: bytes, at: int) -> None:
        """Write a key in quarantine, or a released one."""
        values = [self._table, self._partition, key.encode(), value, bigint(at)]
        self.quarantined.append(self._bound("quarantine", values, len(value)))

    def entries_by_group(self) -> list[tuple[int, BoundStatement]]:
        """The entries, those of one group together: that is one write to Cassandra, if it is in one request."""
        return sorted(self.entries, key=lambda entry: entry[1].values[1:3])

    def _bound(self, name: str, values: list[Any], size: int = 0) -> tuple[int, BoundStatement]:
        bound = BoundStatement(self._statement(name))
        bound.values = values
        return _ROW_OVERHEAD + size, bound
