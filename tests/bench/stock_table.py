"""A stock Faust table, to compare with: a worker that keeps the rows of orders the straightforward way.

For each event it decodes the event, reads the row, applies the same `evolve` as our own table, and sets the row. It
keeps no position, so it may count an event twice after a crash; and it says its rate when the last row is set, be that
on the changelog yet or not.
"""

import os
import time

import faust
import msgspec

from aggregates.shop.order import order
from projections.projection import PublishedEvent
from projections.shop.tables.orders import evolve
from schemas.codec import Codec
from schemas.registry import Schemas

app = faust.App(
    os.environ["BENCH_GROUP"],
    broker=os.environ.get("KAFKA_BROKERS", "kafka://127.0.0.1:9092"),
    store="rocksdb://",
    key_serializer="raw",
    value_serializer="raw",
    topic_partitions=int(os.environ["PARTITIONS"]),
    topic_disable_leader=True,
    consumer_auto_offset_reset="earliest",
    worker_redirect_stdouts=False,
    datadir=os.environ["DATA_DIR"],
)
options = {"driver": "rocksdict", "block_cache_size": 8 << 20, "write_buffer_size": 4 << 20, "bloom_filter_size": 10}
table = app.Table("orders", key_type=bytes, value_type=bytes, options=options)
topic = app.topic(os.environ["BENCH_TOPIC"], key_type=bytes, value_type=bytes)
expected = int(os.environ["BENCH_COUNT"])

schemas = Schemas.load("shop", "order")
codec = Codec([s for s in schemas if s.name not in order.commands], order.events, schemas.upcasters)
decode_row = msgspec.json.Decoder(dict).decode
encode_row = msgspec.json.Encoder(decimal_format="string").encode


@app.agent(topic)
async def keep(stream):
    seen, began, cpu = 0, 0.0, 0.0
    async for event in stream.events():
        headers = dict(event.message.headers)
        time_, sequence = headers["ce_time"].decode(), int(headers["ce_sequence"])
        key = event.message.key
        value = table.get(key)
        row = None if value is None else decode_row(value)
        for happened in codec.decode(event.message.value):
            published = PublishedEvent(happened, type(happened).__name__, key.decode(), sequence, time_, "", 0, 0)
            row = evolve(row, key.decode(), published)
        table[key] = encode_row(row)
        seen += 1
        if seen == 1:
            began, cpu = time.perf_counter(), time.process_time()
        elif seen == expected:
            count = seen - 1
            rate, each = count / (time.perf_counter() - began), (time.process_time() - cpu) / count * 1e6
            print(f"bench rate {rate:.1f} {each:.1f}", flush=True)
