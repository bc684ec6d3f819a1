"""Faust's bare intake, to compare with: a worker that only counts what a topic holds.

It prints messages a second, and its processor time for each in microseconds."""

import os
import time

import faust

app = faust.App(
    os.environ["BENCH_GROUP"],
    broker=os.environ.get("KAFKA_BROKERS", "kafka://127.0.0.1:9092"),
    key_serializer="raw",
    value_serializer="raw",
    topic_disable_leader=True,
    consumer_auto_offset_reset="earliest",
    worker_redirect_stdouts=False,
    datadir=os.environ["DATA_DIR"],
)
topic = app.topic(os.environ["BENCH_TOPIC"], key_type=bytes, value_type=bytes)
expected = int(os.environ["BENCH_COUNT"])


@app.agent(topic)
async def count(stream):
    seen, began, used = 0, 0.0, 0.0
    async for _ in stream:
        seen += 1
        if seen == 1:
            began, used = time.perf_counter(), time.process_time()
        elif seen == expected:
            rate, used = (seen - 1) / (time.perf_counter() - began), time.process_time() - used
            print(f"rate {rate:.1f} {used / (seen - 1) * 1e6:.1f}", flush=True)
