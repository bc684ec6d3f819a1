"""What TLS and a login cost: commands a second over a secured listener of Kafka, beside those over one in the clear.

Both listeners are those of one broker, which runs for this alone: the same JVM, the same disk. Two workers of orders
stay up and have something to do in turn. One connects by TLS and SCRAM-SHA-512, as a user whose rights are looked up;
the other one in the clear, as nobody, who may do all there. Each load goes the way of its worker, so that the broker
pays for what comes in, too; what the load itself pays stands apart. The journal is that of `make up` for both.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from servers import process
from servers.secured.grants import grant
from servers.secured.kafka import SecuredKafka
from servers.where import HOST, Where
from tests.bench.load import Load
from tests.bench.report import Row
from tests.bench.rivals.pekko import IN_FLIGHT
from tests.bench.space import NAMESPACES, orders_worker
from tests.bench.usage import Spent, Usage, servers
from tests.bench.worker import Worker, say
from tests.chaos.servers import server_port

SECURED, CLEAR = "TLS and SCRAM", "in the clear"
USER, MECHANISM = "orders", "SCRAM-SHA-512"
HEAP = "512m"
"""As that of `make up`."""
WARM_UP = 20_000


@contextlib.contextmanager
def broker() -> Iterator[SecuredKafka]:
    """With a listener in the clear besides, whose port is `clear_port`."""
    port = server_port()
    ports = {"LOGIN": port, "CONTROLLER": port + 1, "MUTUAL": port + 2, "CLEAR": clear_port(port)}
    listeners = {name: f"{name}://{HOST}:{port}" for name, port in ports.items()}
    more = (
        f"listeners={','.join(listeners.values())}\n"
        f"advertised.listeners={','.join(url for name, url in listeners.items() if name != 'CONTROLLER')}\n"
        "listener.security.protocol.map=LOGIN:SASL_SSL,MUTUAL:SSL,CONTROLLER:PLAINTEXT,CLEAR:PLAINTEXT\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        jars = Where.from_environment().jars_of("kafka")
        kafka = SecuredKafka(Path(folder) / "kafka", port, jars, heap=HEAP, is_brief=False, more=more)
        kafka.prepare()
        try:
            kafka.start(say)
            yield kafka
        finally:
            kafka.stop()


def clear_port(port: int) -> int:
    """Of a broker whose listener with logins has this one."""
    return port + 3


def settings(kafka: SecuredKafka) -> dict[str, dict[str, str]]:
    """Those of the workers and their loads."""
    return {
        SECURED: {
            "KAFKA_BROKERS": f"kafka://{HOST}:{kafka.port}",
            "KAFKA_SECURITY": "sasl_ssl",
            "KAFKA_SASL_MECHANISM": MECHANISM,
            "KAFKA_CA_FILE": str(kafka.ca),
            "KAFKA_USER": USER,
            "KAFKA_PASSWORD_FILE": str(kafka.password_file(USER)),
        },
        CLEAR: {"KAFKA_BROKERS": f"kafka://{HOST}:{clear_port(kafka.port)}"},
    }


async def measure_secured(count: int, orders: int, rounds: int) -> list[Row]:
    """Rounds of `count` commands over each listener in turn, all sent at once, then with some without a reply."""
    rates: defaultdict[tuple[str, int], list[float]] = defaultdict(list)
    spent: defaultdict[tuple[str, int], list[Spent]] = defaultdict(list)
    with broker() as kafka:
        await grant(kafka.administrator(), USER, "All", f"topic:{NAMESPACES}*", f"group:{NAMESPACES}*")
        pids = {**servers(), "Kafka": [pid for one in kafka.brokers if (pid := process.running(one.pid_file))]}
        async with contextlib.AsyncExitStack() as stack:
            sides: dict[str, tuple[Load, Worker]] = {}
            for side, how in settings(kafka).items():
                _, load, running = await stack.enter_async_context(orders_worker(orders, **how))
                await load.round(WARM_UP)
                sides[side] = load, running
            for in_flight in (0, IN_FLIGHT):
                for number in range(1, rounds + 1):
                    for side, (load, running) in sides.items():
                        usage = Usage({**pids, "the worker": [running.pid], "the load": [os.getpid()]})
                        rate = (await load.round(count, in_flight=in_flight)).rate
                        rates[side, in_flight].append(rate)
                        spent[side, in_flight].append(usage.spent(count))
                        say(f"{side}, {in_flight or 'all'} at once, round {number}: {rate:,.0f} commands/s")
    rows = []
    for in_flight in (0, IN_FLIGHT):
        kind = f"{in_flight:,} in flight" if in_flight else "open load"
        ours, theirs = ([*spent[side, in_flight]] for side in (SECURED, CLEAR))
        rows.append(Row(f"commands/s by {SECURED}, {kind}", rates[SECURED, in_flight], CLEAR, rates[CLEAR, in_flight]))
        for name in ours[0].each:
            costs = [[one.each[name] for one in side] for side in (ours, theirs)]
            rows.append(Row(f"CPU us/command of {name}, {kind}", costs[0], CLEAR, costs[1], less=True))
    return rows
