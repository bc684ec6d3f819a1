"""What topics take on the brokers' disks: `DescribeLogDirs` (KIP-113), which aiokafka does not have."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Int16, Int32, Int64, Schema, String

_TOPICS = Array(("topic", String("utf-8")), ("partitions", Array(Int32)))
_SIZES = Array(("partition", Int32), ("size", Int64), ("offset_lag", Int64), ("is_future", Boolean))
_FOUND = Array(("topic", String("utf-8")), ("sizes", _SIZES))
_DIRS = Array(("error_code", Int16), ("dir", String("utf-8")), ("topics", _FOUND))


class _DescribeLogDirsResponse_v1(Response):
    API_KEY = 35
    API_VERSION = 1
    SCHEMA = Schema(("throttle_time_ms", Int32), ("dirs", _DIRS))


class _DescribeLogDirsRequest_v1(RequestStruct):
    API_KEY = 35
    API_VERSION = 1
    RESPONSE_TYPE = _DescribeLogDirsResponse_v1
    SCHEMA = Schema(("topics", _TOPICS))


class _DescribeLogDirs(Request[_DescribeLogDirsRequest_v1]):
    API_KEY = 35

    def __init__(self, topics: Iterable[str], partitions: int) -> None:
        self._topics = [(topic, list(range(partitions))) for topic in topics]

    def build(self, request_struct_class: type[_DescribeLogDirsRequest_v1]) -> _DescribeLogDirsRequest_v1:
        return request_struct_class(self._topics)


async def bytes_of_topics(servers: list[str], topics: Iterable[str], partitions: int) -> dict[str, int]:
    """Bytes of each topic, all replicas together."""
    sizes: defaultdict[str, int] = defaultdict(int)
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        for broker in (await admin.describe_cluster())["brokers"]:
            request = _DescribeLogDirs(topics, partitions)
            response = await admin._send_request_to_node(broker["node_id"], request)
            for _, _, found in response.dirs:
                for topic, its in found:
                    sizes[topic] += sum(size for _, size, _, _ in its)
    finally:
        await admin.close()
    return dict(sizes)
