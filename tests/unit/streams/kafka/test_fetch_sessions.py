"""Fetch sessions: what a broker is told, and when everything is said again."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.fetch import FetchRequest, FetchRequest_v4, FetchRequest_v11, FetchResponse_v4, FetchResponse_v11

from streams.kafka.fetching.sessions import FIRST, LAST_EPOCH, NOT_FOUND, FetchingFailed, FetchSession, SessionFetcher

BYTES = 1 << 20
INVALID_EPOCH, NOT_LEADER, STORAGE_ERROR = 71, 6, 56


def wish(**offsets: int) -> FetchRequest:
    """For records of partitions of the topic `t` from these offsets on: `p0=7`."""
    return FetchRequest(500, 1, BYTES, 1, [("t", [(int(name[1:]), offset, BYTES) for name, offset in offsets.items()])])


def told(session: FetchSession, **offsets: int) -> tuple[int, int, dict[int, int], list[int]]:
    """What the broker is told when these are wanted: id and epoch of the session, offsets, partitions not wanted."""
    struct: Any = session.next_request(wish(**offsets)).build(FetchRequest_v11)
    assert struct.encode()
    asked = {partition: offset for _, of in struct.topics for partition, _, offset, _, _ in of}
    return struct.session_id, struct.session_epoch, asked, [it for _, of in struct.forgotten_topics_data for it in of]


def answer(session: FetchSession, id: int = 9, error: int = 0) -> None:
    session.answered(FetchResponse_v11(0, error, id, []))


def test_what_has_changed_is_said() -> None:
    """First everything, then what is read from elsewhere, what is new, and what is wanted no more."""
    session = FetchSession()
    assert (0, 0, {0: 5, 1: 6}, []) == told(session, p0=5, p1=6)
    answer(session)
    assert (9, 1, {}, []) == told(session, p0=5, p1=6)
    answer(session)
    assert (9, 2, {1: 7}, []) == told(session, p0=5, p1=7)
    answer(session)
    assert (9, 3, {2: 0}, [0]) == told(session, p1=7, p2=0)
    answer(session)
    assert (9, 4, {0: 5}, []) == told(session, p0=5, p1=7, p2=0)


@pytest.mark.parametrize(("error", "id"), [(NOT_FOUND, 0), (INVALID_EPOCH, 9)])
def test_a_session_that_the_broker_does_not_know(error: int, id: int) -> None:
    """All is said again, in a new one; one that the broker still has is named, so that it is let go of."""
    session = FetchSession()
    told(session, p0=5)
    answer(session)
    told(session, p0=6)
    answer(session, 0, error)
    assert (id, FIRST, {0: 6}, []) == told(session, p0=6)


def test_a_broker_that_has_no_room_for_a_session() -> None:
    """Each request says everything."""
    session = FetchSession()
    for _ in range(2):
        assert (0, FIRST, {0: 5}, []) == told(session, p0=5)
        answer(session, 0)


def test_an_answer_that_is_lost() -> None:
    """All is said again, whether or not the broker had the request."""
    session = FetchSession()
    told(session, p0=5, p1=6)
    answer(session)
    told(session, p0=6, p1=6)
    session.give_up(session.id)
    assert (9, FIRST, {0: 6, 1: 6}, []) == told(session, p0=6, p1=6)


def test_the_last_epoch() -> None:
    """Behind it comes the second one: the first begins a session."""
    session = FetchSession()
    told(session, p0=5)
    answer(session)
    session.epoch = LAST_EPOCH
    told(session, p0=5)
    answer(session)
    assert 1 == session.epoch


def test_a_broker_of_before_sessions() -> None:
    """It is asked for everything, each time."""
    session = FetchSession()
    for _ in range(2):
        struct: Any = session.next_request(wish(p0=5, p1=6)).build(FetchRequest_v4)
        assert [("t", [(0, 5, BYTES), (1, 6, BYTES)])] == struct.topics
        session.answered(FetchResponse_v4(0, []))
    assert FIRST == session.epoch


class Broker:
    """A client of one broker, which fails, or says nothing, or answers with an error for the partition."""

    _metadata_max_age_ms = 1_000

    def __init__(self, fails: bool = False, error: int = 0, leader: int = 1) -> None:
        self.cluster = SimpleNamespace(leader_for_partition=lambda tp: leader)
        self._loop = asyncio.get_running_loop()
        self._fails = fails
        self._error = error
        self.asked = asyncio.Event()
        self.requests = 0
        self.looks = 0

    async def send(self, node_id: int, request: Any) -> Any:
        self.requests += 1
        self.asked.set()
        if self._fails:
            raise KafkaConnectionError("it is down")
        if self._error:
            return FetchResponse_v11(0, 0, 9, [("t", [(0, self._error, -1, -1, -1, [], -1, b"")])])
        await asyncio.Event().wait()

    def force_metadata_update(self) -> asyncio.Future[bool]:
        self.looks += 1
        return asyncio.ensure_future(asyncio.sleep(0.001, True))


async def fetching(broker: Broker) -> tuple[SessionFetcher, SubscriptionState]:
    """A fetcher that has asked the broker for a partition."""
    subscription = SubscriptionState()
    fetcher = SessionFetcher(broker, subscription)
    assign(subscription)
    await broker.asked.wait()
    return fetcher, subscription


def assign(subscription: SubscriptionState) -> None:
    tp = TopicPartition("t", 0)
    subscription.assign_from_user({tp})
    subscription.seek(tp, 0)


async def test_closing_while_a_broker_fails() -> None:
    """It is not taken for a cancellation of whoever closes."""
    fetcher, _ = await fetching(Broker(fails=True))
    await fetcher.close()
    assert not fetcher._pending_tasks


@pytest.mark.parametrize("turns", range(6))
async def test_closing_just_after_an_assignment(turns: int) -> None:
    """It ends, in whichever turn of the loop it comes."""
    fetcher, subscription = await fetching(Broker())
    assign(subscription)
    for _ in range(turns):
        await asyncio.sleep(0)
    _, waiting = await asyncio.wait([asyncio.create_task(fetcher.close())], timeout=20)
    assert not waiting


@pytest.mark.parametrize("error", [NOT_LEADER, STORAGE_ERROR])
async def test_a_partition_that_a_broker_does_not_answer_for(error: int) -> None:
    """It is asked for again after a pause, not at once and without end."""
    broker = Broker(error=error)
    fetcher, _ = await fetching(broker)
    await asyncio.sleep(0.25)
    assert broker.requests <= 3
    await fetcher.close()


async def test_fetching_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for records is told at once, and whoever asks later, by one record or by many: there will be none."""
    fetcher, _ = await fetching(Broker())
    waiting = [
        asyncio.create_task(fetcher.fetched_records((), timeout=60)),
        asyncio.create_task(fetcher.next_record(())),
    ]
    await asyncio.sleep(0)
    monkeypatch.setattr(fetcher, "_get_actions_per_node", lambda assignment: 1 / 0)
    fetcher._notify(fetcher._wait_consume_future)
    for task in waiting:
        async with asyncio.timeout(20):
            with pytest.raises(FetchingFailed, match="division by zero"):
                await task
    with pytest.raises(FetchingFailed):
        await fetcher.fetched_records((), timeout=60)
    with pytest.raises(FetchingFailed):
        await fetcher.next_record(())
    await fetcher.close()


async def test_a_partition_without_a_leader() -> None:
    """One is looked for at once, and then with pauses. Nothing is left of it when the consumer is closed."""
    broker, subscription = Broker(leader=-1), SubscriptionState()
    fetcher = SessionFetcher(broker, subscription)
    assign(subscription)
    await asyncio.sleep(0.05)
    assert 1 == broker.looks
    await asyncio.sleep(0.2)
    assert broker.looks <= 3
    await fetcher.close()
    await asyncio.sleep(0)
    assert {asyncio.current_task()} == asyncio.all_tasks()
