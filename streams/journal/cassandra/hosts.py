"""Cassandra's hosts: found again under another address, held to their certificates, logged when they go and come."""

from __future__ import annotations

import logging
import socket
from collections.abc import Collection, Mapping
from typing import Any

from cassandra.connection import DefaultEndPoint, DefaultEndPointFactory, EndPoint
from cassandra.policies import HostStateListener

from streams.journal.cassandra.address import CassandraAddress
from streams.notices import NOTICES, warn

log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
"""Between two looks whether names lead elsewhere now, while no host is up."""


class Place(DefaultEndPoint):  # type: ignore[misc]
    """Where a host is, by name or by address. Its certificate is to be for `name`, or else for the host."""

    def __init__(self, host: str, port: int, name: str = "") -> None:
        super().__init__(host, port)
        self._name = name

    @property
    def ssl_options(self) -> Mapping[str, str] | None:
        return {"server_hostname": self._name} if self._name else None


class Places(DefaultEndPointFactory):  # type: ignore[misc]
    """Where the hosts of a cluster are: those of the URL, and those that the cluster tells of by their addresses.

    A name that has one address is resolved at each connection, since the host may come back under another one. Each
    address of a name that has several is a host. The certificate of a host that the URL has a name for, whoever tells
    of it, is to be for that name, and of any other for its address; or all of them for the one that the URL says.
    """

    def __init__(self, address: CassandraAddress) -> None:
        super().__init__(port=address.port)
        self._address = address
        self._known: dict[str, Collection[str]] = {}
        """The addresses of each name when it was last resolved."""

    def contact_points(self) -> list[str | EndPoint]:
        """The hosts of the URL. A name that is not known yet stays a name, which the driver refuses if all are such."""
        found: list[str | EndPoint] = []
        for host in self._address.hosts:
            known = self._addresses(host)
            found += [self._place(host, known, address, self.port) for address in sorted(known)] or [host]
        return found

    def create(self, row: Mapping[str, Any]) -> EndPoint:
        told = super().create(row)
        for host in self._address.hosts:
            if told.address in (known := self._addresses(host)):
                return self._place(host, known, told.address, told.port)
        return Place(told.address, told.port, self._address.name)

    def _addresses(self, host: str) -> Collection[str]:
        """Those of a host of the URL. While nobody says, it is where it was: by its address alone it would be another
        one, and the driver would let go of the one that it has."""
        if found := _addresses(host, self.port):
            self._known[host] = found
        return self._known.get(host, ())

    def _place(self, host: str, known: Collection[str], address: str, port: int) -> Place:
        """The place of one address of a host of the URL, of those `known`."""
        if len(known) == 1:
            return Place(host, port, self._address.name)
        return Place(address, port, self._address.name or host)


class Hosts(HostStateListener):  # type: ignore[misc]
    """Logs when a host goes and when it is back, once each. While none is up, it looks whether the names of the URL
    lead elsewhere now, and has the driver try those. Called in the driver's threads."""

    def __init__(self, cluster: Any, places: Places) -> None:
        self._cluster = cluster
        self._places = places
        self._down: set[str] = set()

    def on_down(self, host: Any) -> None:
        if (where := str(host.endpoint)) not in self._down:
            self._down.add(where)
            warn(log, "host-down", where, "Cassandra: the host %s is down", where)
        self._look_later()

    def on_up(self, host: Any) -> None:
        if (where := str(host.endpoint)) in self._down:
            self._down.discard(where)
            NOTICES.over("host-down", where)
            log.warning("Cassandra: the host %s is up again", where)

    def on_add(self, host: Any) -> None:
        pass

    def on_remove(self, host: Any) -> None:
        self._down.discard(str(host.endpoint))
        NOTICES.over("host-down", str(host.endpoint))

    def _look_later(self) -> None:
        if not any(host.is_up for host in self._cluster.metadata.all_hosts()):
            self._cluster.scheduler.schedule_unique(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        known = {host.endpoint for host in self._cluster.metadata.all_hosts()}
        for place in self._places.contact_points():
            if isinstance(place, EndPoint) and place not in known:
                self._cluster.add_host(place, signal=True)
        self._look_later()


def _addresses(host: str, port: int) -> set[str]:
    try:
        return {str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except OSError:  # not known yet
        return set()
