"""A start with what does not belong together is refused in one line, before anything is made."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams.cli.journal import set_up
from streams.cli.run import CliError
from streams.cli.verify import compare_with_topic
from streams.journal.layout import first_layout
from streams.journal.port import Commit, Identity, Journal, SliceHead
from streams.journal.position import Position
from streams.kafka.client_factory import ClientFactory
from streams.kafka.published_through import JournalBehind, last_positions
from streams.kafka.topics import Topic, TopicError, events_topic, replies_topic, reply_topic, type_topics
from streams.open_journal import open_journal
from streams.runtime.preparation import lay_out, prepare
from streams.settings import Settings, SettingsError

pytestmark = pytest.mark.asyncio(loop_scope="session")

BROKERS = os.environ.get("KAFKA_BROKERS", "kafka://127.0.0.1:9092")
PARTITIONS = 3


class Start:
    """A system of its own, started as a worker of the context `boxes` starts."""

    def __init__(self, folder: Path, namespace: str, admin: AIOKafkaAdminClient) -> None:
        url = f"sqlite:///{folder}/shop.db"
        self.settings = Settings(
            kafka_brokers=BROKERS, journal_url=url, namespace=namespace, partitions=PARTITIONS, setup="always"
        )
        self.admin = admin

    def topics(self) -> list[Topic]:
        settings = self.settings
        replies = reply_topic(replies_topic(settings.namespace), settings.partitions)
        return [*type_topics(settings.namespace, "box", settings.partitions), replies]

    def journal(self) -> Journal:
        return open_journal(self.settings.journal_url, "shared", "boxes")

    async def run(self, is_owner: bool = True) -> None:
        journal = self.journal()
        whose = Identity(
            context="boxes", namespace=self.settings.namespace, partitions=self.settings.partitions, cluster=""
        )
        try:
            await prepare(self.settings, journal, whose, self.topics(), ["box"], is_owner)
        finally:
            await journal.close()

    async def made(self) -> dict[str, int]:
        """The topics of this system and their numbers of partitions."""
        found = await self.admin.describe_topics()
        return {it["topic"]: len(it["partitions"]) for it in found if it["topic"].startswith(self.settings.namespace)}

    async def delete(self, names: Iterable[str]) -> None:
        """Delete topics, and wait until they are gone."""
        gone = set(names)
        await self.admin.delete_topics(list(gone))
        async with asyncio.timeout(30):
            while gone & (await self.made()).keys():
                await asyncio.sleep(0.05)

    async def publish(self, partition: int, position: str, id: str | None = None) -> None:
        """A record with this position, and with that as its id if it has no other."""
        producer = AIOKafkaProducer(bootstrap_servers=self.settings.bootstrap_servers)
        await producer.start()
        topic = events_topic(self.settings.namespace, "box")
        place = [("ce_id", (position if id is None else id).encode()), ("ce_position", position.encode())]
        headers = place if position else []
        await producer.send_and_wait(topic, b"event", key=b"A-1", partition=partition, headers=headers)
        await producer.stop()

    async def append(self, log: str, nr: int) -> None:
        """So many commits, which have events of partition 1."""
        journal = self.journal()
        await journal.open()
        await lay_out(journal, self.settings, ["box"])
        for at in range(1, nr + 1):
            commit = Commit(
                log=log,
                nr=at,
                epoch=1,
                owner="a",
                topic_id="topic",
                slices={1: SliceHead(eventful_nr=at)},
                derived_nr=0,
                recorded_at=datetime(2026, 11, 29, tzinfo=UTC),
            )
            await journal.append(commit)
        await journal.close()


@pytest_asyncio.fixture(loop_scope="session")
async def start(tmp_path: Path, namespace: str, request: pytest.FixtureRequest) -> AsyncIterator[Start]:
    """A system that nobody has started yet."""
    admin = AIOKafkaAdminClient(bootstrap_servers=Settings(kafka_brokers=BROKERS).bootstrap_servers)
    await admin.start()
    start = Start(tmp_path, f"{namespace}{abs(hash(request.node.name)) % 10_000}-", admin)
    yield start
    if names := list(await start.made()):
        await admin.delete_topics(names)
    await admin.close()


async def test_the_first_start_makes_the_journal_its_own(start: Start) -> None:
    """It writes the namespace as it is set, the partitions and the id of the Kafka cluster; a second start agrees."""
    await start.run()
    await start.run()
    journal = start.journal()
    await journal.open()
    found = await journal.identity()
    await journal.close()
    assert found is not None
    assert (start.settings.namespace, PARTITIONS, "boxes") == (found.namespace, found.partitions, found.context)
    assert found.cluster


async def test_the_first_start_lays_out_the_logs(start: Start) -> None:
    """Of each type of the journal, as many as LOGS says; a later start with another number changes nothing, whoever it
    is."""
    await start.run(is_owner=False)
    start.settings = replace(start.settings, logs=3)
    await start.run()
    journal = start.journal()
    await journal.open()
    found = await journal.layout("box")
    await journal.close()
    assert found is not None
    assert 32 == len(found.hint_key)
    assert first_layout(PARTITIONS, 2, found.hint_key) == found
    assert PARTITIONS == (await start.made())[f"{start.settings.namespace}box-logs"]


async def test_a_layout_without_a_key_for_hints(start: Start) -> None:
    """As an older version has made it: the next start makes a key, and the one behind that leaves it as it is."""
    await start.run()
    journal = start.journal()
    await journal.open()
    first = await journal.layout("box")
    assert first is not None
    await journal.change_layout("box", first.with_hint_key(""))
    keys = []
    for _ in range(2):
        await start.run()
        layout = await journal.layout("box")
        assert layout is not None
        keys.append(layout.hint_key)
    await journal.close()
    assert keys[0] == keys[1] != first.hint_key
    assert first.logs == layout.logs


async def test_namespaces_that_share_a_keyspace(start: Start) -> None:
    """The second is refused in one line with both sides, and none of its topics is made."""
    await start.run()
    ours = start.settings.namespace
    other = start.settings = replace(start.settings, namespace=ours.replace("-", "_"))
    with pytest.raises(SettingsError) as refused:
        await start.run()
    assert f"belongs to NAMESPACE={ours!r}, and here is NAMESPACE={other.namespace!r}" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert {} == await start.made()
    start.settings = replace(start.settings, namespace=ours)


async def test_another_cluster(start: Start) -> None:
    """A journal whose offsets and positions are of another Kafka cluster is refused, and no topic is made."""
    journal = start.journal()
    await journal.create()
    await journal.open()
    await journal.claim(
        Identity(context="boxes", namespace=start.settings.namespace, partitions=PARTITIONS, cluster="elsewhere")
    )
    await journal.close()
    with pytest.raises(SettingsError, match="belongs to the Kafka cluster elsewhere, and here is the Kafka cluster "):
        await start.run()
    assert {} == await start.made()


async def test_another_number_of_partitions(start: Start) -> None:
    """Refused by the topics that are there, before the one that is missing is made with a number that is wrong for
    good; `replies` may have any."""
    await start.run()
    missing = events_topic(start.settings.namespace, "box")
    await start.delete([missing])
    start.settings = replace(start.settings, partitions=PARTITIONS + 1)
    with pytest.raises(TopicError, match=f"has {PARTITIONS} partitions, PARTITIONS says {PARTITIONS + 1}"):
        await start.run()
    assert missing not in await start.made()


async def test_another_number_of_partitions_than_the_journal_has(start: Start) -> None:
    """With all topics gone the journal still says how many there were, and none is made."""
    await start.run()
    await start.delete(await start.made())
    start.settings = replace(start.settings, partitions=PARTITIONS + 1)
    with pytest.raises(SettingsError, match=f"PARTITIONS={PARTITIONS}, and here is PARTITIONS={PARTITIONS + 1}"):
        await start.run()
    assert {} == await start.made()


async def test_replies_with_another_number_of_partitions(start: Start) -> None:
    """They serve as they are."""
    replies = replies_topic(start.settings.namespace)
    await start.admin.create_topics([NewTopic(replies, 1, 1)])
    await start.run()
    assert 1 == (await start.made())[replies]


async def test_an_empty_journal_beside_full_topics(start: Start, tmp_path: Path) -> None:
    """What was published from a stream that the journal does not have is said, and no journal is made."""
    await start.run()
    await start.publish(1, "box-1:15:0")
    (tmp_path / "sharedshop_boxes.db").unlink()
    with pytest.raises(JournalBehind, match="box-1: its events are published up to 15:0, and the journal has nothing"):
        await start.run()
    assert not (tmp_path / "sharedshop_boxes.db").exists()


async def test_workers_that_start_together_for_the_first_time(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One makes the journal and publishes while the other looks at the topics: that one takes it as it is."""
    await start.run()
    await start.publish(1, "box-1:2:0")
    (tmp_path / "sharedshop_boxes.db").unlink()

    async def look(*arguments: Any) -> Any:
        if not (tmp_path / "sharedshop_boxes.db").exists():
            journal = start.journal()
            await journal.create()
            await start.append("box@1", 2)
        return await last_positions(*arguments)

    monkeypatch.setattr("streams.runtime.preparation.last_positions", look)
    await start.run()


async def test_empty_partitions_cost_no_wait(start: Start) -> None:
    """Of many partitions, one has an event. A broker keeps a request for records that are not there for 0.5 s."""
    start.settings = replace(start.settings, partitions=32)
    await start.run()
    await start.publish(31, "box-31:1:0")
    clients, topic = ClientFactory.of(start.settings), events_topic(start.settings.namespace, "box")
    began = time.monotonic()
    assert [Position("box-31", 1, 0)] == await last_positions(clients, "box", topic, 32)
    assert time.monotonic() - began < 31 * 0.5 / 2


async def test_set_up_beside_full_topics(start: Start, tmp_path: Path) -> None:
    """`setup` makes no journal where events of another one were published, as with a JOURNAL_URL that is mistyped."""
    await start.run()
    await start.publish(1, "box-1:15:0")
    (tmp_path / "sharedshop_boxes.db").unlink()
    context: Any = SimpleNamespace(
        settings=start.settings,
        decider=SimpleNamespace(type="box"),
        journal=start.journal,
        identity=lambda cluster: Identity(
            context="boxes", namespace=start.settings.namespace, partitions=PARTITIONS, cluster=cluster
        ),
    )
    with pytest.raises(CliError, match="box-1: its events are published up to 15:0, and the journal has nothing of it"):
        async for _ in set_up({"box": context}):
            pass
    assert not (tmp_path / "sharedshop_boxes.db").exists()


async def test_a_journal_that_is_older_than_its_topics(start: Start) -> None:
    """Yesterday's copy is refused; the right one, and one that nothing was published of yet, are taken."""
    await start.run()
    await start.append("box@1", 2)
    await start.publish(1, "box-1:2:1")
    await start.run()
    await start.publish(1, "box-1:15:0")
    with pytest.raises(JournalBehind, match="up to 15:0, and the journal ends at commit 2: is JOURNAL_URL"):
        await start.run()
    await start.run(is_owner=False)  # the read side says it of its own accord, and answers


async def test_what_others_have_put_behind_the_last_event(start: Start) -> None:
    """A heartbeat at the end of the topic does not hide a journal that is older than it."""
    await start.run()
    await start.append("box@1", 2)
    await start.publish(1, "box-1:15:0")
    for _ in range(3):
        await start.publish(1, "")
    with pytest.raises(JournalBehind, match="up to 15:0, and the journal ends at commit 2: is JOURNAL_URL"):
        await start.run()


async def test_records_that_the_tailer_has_not_written(start: Start) -> None:
    """A foreign record on the events topic says nothing about the journal."""
    await start.run()
    await start.publish(0, "")
    await start.publish(1, "other-1:15:0")
    await start.publish(2, "nonsense")
    await start.publish(2, "box-2:999999999:0", id="copied")
    await start.run()


async def test_a_journal_of_an_older_version(start: Start, tmp_path: Path) -> None:
    """The log is there and does not say whose it is: whoever starts first with the new version has it."""
    await start.run()
    await start.append("box@1", 2)
    await start.publish(1, "box-1:2:0")
    with sqlite3.connect(tmp_path / "sharedshop_boxes.db") as file:
        file.execute("DROP TABLE identity")
    await start.run()
    journal = start.journal()
    await journal.open()
    assert await journal.identity() is not None
    await journal.close()


async def test_verify_looks_at_the_topic(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    """`journal verify` prints the streams that end before what was published from them, and counts them as wrong."""
    await start.run()
    await start.append("box@1", 2)
    await start.publish(1, "box-1:2:0")
    await start.publish(2, "box-2:7:0")
    context: Any = SimpleNamespace(settings=start.settings, decider=SimpleNamespace(type="box"))
    journal = start.journal()
    await journal.open()
    assert [0, 1, 1] == [await compare_with_topic(journal, context, partition) for partition in (1, 2, None)]
    await journal.close()
    assert "box-2: its events are published up to 7:0, and the journal has nothing of it" in capsys.readouterr().out
    context.settings = replace(start.settings, kafka_brokers="kafka://127.0.0.1:1")
    assert 0 == await compare_with_topic(journal, context, None)
    assert "note: " in capsys.readouterr().out
