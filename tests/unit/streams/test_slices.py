"""Keys are placed as Kafka's clients place them."""

from __future__ import annotations

from aiokafka import partitioner
from hypothesis import given
from hypothesis import strategies as st

from streams.slices import murmur2


@given(st.binary(max_size=100))
def test_the_hash_is_that_of_the_client_library(key: bytes) -> None:
    assert partitioner.murmur2(key) & 0xFFFFFFFF == murmur2(key)


def test_the_hash_is_that_of_kafka_itself() -> None:
    # From org.apache.kafka.common.utils.UtilsTest.
    of_kafka = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536}
    of_kafka |= {
        b"a-little-bit-longer-string": -1486304829,
        b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    }
    assert {key: hash & 0xFFFFFFFF for key, hash in of_kafka.items()} == {key: murmur2(key) for key in of_kafka}
