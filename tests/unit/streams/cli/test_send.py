"""`faust send` without servers: what it takes, the reply that it waits for, and what goes wrong with Kafka."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, TopicAuthorizationFailedError, UnsupportedCodecError

from streams.cli import kafka, main
from streams.cli.run import CliError
from streams.deciding.messages import AggregateRef, Reply, encode_reply
from streams.kafka.topics import TopicError
from streams.settings import Settings
from tests.unit.streams.cli.orders_context import code_of


def test_data_stays_as_typed() -> None:
    """The data of a command goes to Kafka byte by byte, so that no number is changed on the way."""
    assert '{"unit_price": "2.50", "name": "é"}'.encode() == kafka.read_data('{"unit_price": "2.50", "name": "é"}')


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", '"x"', "3", "{'a': 1}", '{"a": "\udcff"}'])
def test_data_must_be_an_object(text: str) -> None:
    """Data that is not a JSON object is wrong use, known before anything is sent."""
    assert 2 == code_of(lambda: kafka.read_data(text))


@pytest.mark.parametrize("id", ["", "x" * 513, "\udcff"])
def test_ids_that_nobody_takes(id: str) -> None:
    """An id that is empty, too long or not UTF-8 is wrong use."""
    assert 2 == code_of(lambda: kafka.check_id("aggregate id", id))


@pytest.mark.parametrize(("status", "code"), [("accepted", 0), ("rejected", 3), ("failed", 4)])
def test_exit_codes(status: Any, code: int) -> None:
    """The exit code tells what became of the command."""
    assert code == kafka.print_reply(Reply("c1", status, AggregateRef("order", "1", 1)), b"{}")


def test_unknown_type() -> None:
    """A type without topic is wrong use, and the types that there are in the namespace are named."""
    present = ["a_order-commands", "a_user-commands", "a_order-events", "b_cart-commands"]
    with pytest.raises(
        CliError, match=r"no aggregate type ordr.*types on Kafka in the namespace a_: order, user$"
    ) as stopped:
        kafka.require_topic("a_ordr-commands", "ordr", Settings(namespace="a_"), present, ["order"])
    assert 2 == stopped.value.code


def test_known_type_without_topic() -> None:
    """A type of this app whose topic is not there yet is no wrong use: the message says who makes it."""
    with pytest.raises(CliError, match="start a worker of order, or run") as stopped:
        kafka.require_topic("order-commands", "order", Settings(), [], ["order"])
    assert 1 == stopped.value.code


def test_other_namespaces_are_not_types() -> None:
    """Without a namespace, the topics of the namespaces that share the brokers are not taken for types."""
    assert ["order"] == kafka.types_on_kafka("", ["t1_order-commands", "order-commands", "order-commits"])


def test_no_reply() -> None:
    """Without reply the user learns where the command is, that it will be processed, and how to repeat it safely."""
    text = kafka.no_reply("order", "c1", 2.5, SimpleNamespace(topic="order-commands", partition=3, offset=17))
    assert "no reply within 2.5 s" in text
    assert "order-commands-3, offset 17" in text
    assert text.endswith("--id c1")


async def test_reply_of_the_command() -> None:
    """Only the reply to our command is taken; replies to others and what is no reply are passed over."""
    ours = encode_reply(Reply("c1", "accepted", AggregateRef("order", "1", 1)))
    other = encode_reply(Reply("c2", "failed", AggregateRef("order", "1", 1)))

    async def records() -> Any:
        for value in [None, b"\xff", b"{}", other, ours, other]:
            yield SimpleNamespace(value=value)

    reply, raw = await kafka._reply(records(), "c1")
    assert ("accepted", ours) == (reply.status, raw)


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KafkaConnectionError("x"), 1, "Kafka at k1:9092, k2:9092: no answer; .*KAFKA_BROKERS"),
        (TimeoutError(), 1, "Kafka at k1:9092, k2:9092: no answer; .*KAFKA_BROKERS"),
        (OSError("no route"), 1, "Kafka at k1:9092, k2:9092: no route; .*KAFKA_BROKERS"),
        (UnsupportedCodecError("lz4 not found"), 1, "k2:9092: UnsupportedCodecError: lz4 not found$"),
        (TopicAuthorizationFailedError("t"), 1, r"k2:9092: TopicAuthorizationFailedError: \[Error 29\] .*t$"),
        (TopicError("topic x has 3 partitions"), 2, "topic x has 3 partitions"),
    ],
)
async def test_errors_of_kafka(error: Exception, code: int, words: str) -> None:
    """What goes wrong with Kafka becomes one line with the brokers' addresses and the setting to look at."""
    with pytest.raises(CliError, match=words) as stopped:
        async with kafka.kafka(Settings(kafka_brokers="kafka://k1:9092;kafka://k2:9092")):
            raise error
    assert code == stopped.value.code


def test_a_release_is_not_sent() -> None:
    """It is an order, and is to be in the audit: `send` takes none."""
    sent = main.send.function(SimpleNamespace(), "order", "1", "#release", "{}", None, 1.0)
    with pytest.raises(CliError, match="quarantine release order 1") as stopped:
        asyncio.run(sent)
    assert 2 == stopped.value.code
