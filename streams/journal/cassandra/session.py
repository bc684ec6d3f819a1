"""Cassandra's driver for asyncio: a connection pool, and one `execute`."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

from cassandra import ConsistencyLevel, ProtocolVersion
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
from cassandra.policies import (
    DCAwareRoundRobinPolicy,
    ExponentialReconnectionPolicy,
    FallthroughRetryPolicy,
    RetryPolicy,
    TokenAwarePolicy,
)
from cassandra.query import BatchStatement, BatchType, BoundStatement, tuple_factory

from streams.concurrency.retry import retried
from streams.journal.cassandra.address import CassandraAddress
from streams.journal.cassandra.connection import OnLoop, connection_on
from streams.journal.cassandra.errors import LoginRefused, translated
from streams.journal.cassandra.hosts import Hosts, Places
from streams.journal.port import Unavailable
from streams.settings import SettingsError

Row = tuple[Any, ...]

LOGIN_PAUSES = (0.5, 1.0)
"""Before a login that was refused is tried again, in seconds."""

REQUEST_TIMEOUT = 5.0
DDL_TIMEOUT = 30.0


class CassandraSession:
    """A connection pool to the cluster, on the event loop on which it was opened: statements go out and answers come in
    there, see `connection.py`."""

    def __init__(self, address: CassandraAddress) -> None:
        self.address = address
        self._cluster: Any = None
        self._driver: Any = None
        self._prepared: dict[str, Any] = {}
        self._place: OnLoop | None = None

    async def connect(self) -> None:
        """Open the pool. Raises `Unavailable`, and `SettingsError` when login or TLS are refused.

        A login is refused also while the nodes that have the users are down, so it is tried a few times.
        """
        place = self._place = OnLoop.running()
        self._cluster, self._driver = await retried(lambda: self._pool(place), LOGIN_PAUSES, LoginRefused)

    async def _pool(self, place: OnLoop) -> tuple[Any, Any]:
        """Cluster and session of the driver. When this is cancelled, the thread that connects goes on: what it opens
        then is closed again."""
        connecting = asyncio.create_task(asyncio.to_thread(self._connect, place))
        try:
            return await asyncio.shield(connecting)
        except asyncio.CancelledError:
            connecting.add_done_callback(_shut_down)
            raise

    def _connect(self, place: OnLoop) -> tuple[Any, Any]:
        if (driver := logging.getLogger("cassandra")).level == logging.NOTSET:
            # What fails is raised here, and `Hosts` says which host; the driver would add a trace for each attempt.
            driver.setLevel(logging.CRITICAL)
        address = self.address
        places = Places(address)
        try:
            cluster = Cluster(
                places.contact_points(),
                port=address.port,
                endpoint_factory=places,
                connection_class=connection_on(place),
                # Spoken by Cassandra 3, 4 and 5. Version 5 only adds checksums, which cost client CPU.
                protocol_version=ProtocolVersion.V4,
                auth_provider=PlainTextAuthProvider(address.user, address.password) if address.user else None,
                ssl_context=address.tls.context(),
                # Without it a request of 20 KB waits for a delayed acknowledgement: 47 ms instead of 2.
                sockopts=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
                # The driver's own default waits up to ten minutes and gives a host up after 64 attempts.
                reconnection_policy=ExponentialReconnectionPolicy(0.5, 5.0, max_attempts=None),
                idle_heartbeat_interval=10,
                idle_heartbeat_timeout=10,
                connect_timeout=REQUEST_TIMEOUT,
                control_connection_timeout=REQUEST_TIMEOUT,
                execution_profiles={
                    EXEC_PROFILE_DEFAULT: ExecutionProfile(
                        load_balancing_policy=TokenAwarePolicy(DCAwareRoundRobinPolicy(address.datacenter)),
                        retry_policy=RetryPolicy(),
                        consistency_level=ConsistencyLevel.LOCAL_QUORUM,
                        serial_consistency_level=ConsistencyLevel.LOCAL_SERIAL,
                        request_timeout=REQUEST_TIMEOUT,
                        row_factory=tuple_factory,
                    )
                },
            )
        except Exception as error:
            raise translated(error, address) from None
        try:
            driver = cluster.connect()
        except Exception as error:
            present = {host.datacenter for host in cluster.metadata.all_hosts() if host.datacenter}
            cluster.shutdown()
            if address.datacenter and present and address.datacenter not in present:
                names = ", ".join(sorted(present))
                text = f"{address.setting}: datacenter={address.datacenter}: the cluster has {names}"
                raise SettingsError(text) from None
            raise translated(error, address) from None
        cluster.register_listener(Hosts(cluster, places))
        # Which of two `published` or snapshots is newer is told by the servers' clocks, not by those of the workers.
        driver.use_client_timestamp = False
        return cluster, driver

    async def close(self) -> None:
        """Close the pool."""
        cluster, self._cluster, self._driver = self._cluster, None, None
        if cluster is not None:
            await asyncio.to_thread(cluster.shutdown)

    async def prepare_all(
        self, keyspace: str, statements: Mapping[str, str], serial: Collection[str] = (), once: Collection[str] = ()
    ) -> None:
        """Prepare statements by name, with the keyspace in the place of `{k}`.

        Those in `serial` are read with a round of Paxos. Those in `once` are sent once, and the driver reports the
        outcome; the others are idempotent.
        """
        for name, cql in statements.items():
            consistency = ConsistencyLevel.LOCAL_SERIAL if name in serial else ConsistencyLevel.LOCAL_QUORUM
            statement = self._prepared[name] = await self.prepare(cql.format(k=keyspace), consistency)
            if name in once:
                statement.is_idempotent, statement.retry_policy = False, FallthroughRetryPolicy()

    async def prepare(self, cql: str, consistency: int = ConsistencyLevel.LOCAL_QUORUM) -> Any:
        """A prepared statement, which is idempotent."""
        try:
            statement = await asyncio.to_thread(self._session.prepare, cql)
        except Exception as error:
            raise translated(error, self.address) from None
        statement.consistency_level, statement.is_idempotent = consistency, True
        return statement

    def statement(self, name: str) -> Any:
        """The prepared statement of this name. Raises `Unavailable` when the pool is not open."""
        if self._driver is None:
            raise Unavailable(f"Cassandra at {self.address}: not connected")
        return self._prepared[name]

    def run(self, name: str, *parameters: object) -> asyncio.Future[Sequence[Row]]:
        """Send the prepared statement of this name now; the future gives its rows. Raises `Unavailable` when the pool
        is not open."""
        return self.execute(self.statement(name), parameters)

    async def define(self, cql: str) -> None:
        """Run a statement that changes the schema, and wait until all hosts agree on it."""
        try:
            await asyncio.to_thread(self._session.execute, cql, timeout=DDL_TIMEOUT)
        except Exception as error:
            raise translated(error, self.address) from None

    def execute(self, statement: Any, parameters: Sequence[Any] | None = None) -> asyncio.Future[Sequence[Row]]:
        """Send a statement now; the future gives its rows. `parameters` bind a prepared statement."""
        future = asyncio.get_running_loop().create_future()
        try:
            response = self._session.execute_async(statement, parameters)
        except Exception as error:
            future.set_exception(translated(error, self.address))
            return future
        response.add_callbacks(partial(self._answered, future), partial(self._failed, future))
        return future

    def execute_together(self, writes: Sequence[BoundStatement]) -> asyncio.Future[Sequence[Row]]:
        """Send idempotent writes as one request. Those to one partition are atomic, all of them together are not."""
        if len(writes) == 1:
            return self.execute(writes[0])
        batch = BatchStatement(BatchType.UNLOGGED, consistency_level=ConsistencyLevel.LOCAL_QUORUM)
        batch.is_idempotent = True
        for write in writes:
            batch.add(write)
        return self.execute(batch)

    def replica_finder(self) -> Callable[[Any], object]:
        """A function that gives the first replica of what a bound statement writes; None where there is one host."""
        metadata = self._cluster.metadata if self._cluster else None
        if metadata is None or len(metadata.all_hosts()) == 1:
            return lambda statement: None
        return lambda statement: next(iter(metadata.get_replicas(statement.keyspace, statement.routing_key)), None)

    @property
    def _session(self) -> Any:
        if self._driver is None:
            raise Unavailable(f"Cassandra at {self.address}: not connected")
        return self._driver

    # The driver calls the next two, mostly on the loop; in a thread of its own where it has tried in vain.

    def _answered(self, future: asyncio.Future[Sequence[Row]], rows: Sequence[Row] | None) -> None:
        self._on_loop(_settle, future, rows or (), None)

    def _failed(self, future: asyncio.Future[Sequence[Row]], error: Exception) -> None:
        self._on_loop(_settle, future, (), translated(error, self.address))

    @property
    def _on_loop(self) -> Callable[..., None]:
        assert self._place is not None, "it is connected"
        return self._place.call


def _shut_down(connecting: asyncio.Task[tuple[Any, Any]]) -> None:
    """Close a pool that nobody waits for any more."""
    if not connecting.cancelled() and connecting.exception() is None:
        cluster, _ = connecting.result()
        threading.Thread(target=cluster.shutdown, name="closing Cassandra's pool").start()


def _settle(future: asyncio.Future[Sequence[Row]], rows: Sequence[Row], error: Exception | None) -> None:
    if future.done():
        return  # cancelled
    if error is None:
        future.set_result(rows)
    else:
        future.set_exception(error)
