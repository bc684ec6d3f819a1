"""Cassandra's hosts: found again under another address, and logged when they go and come."""

from __future__ import annotations

import logging
import socket
from typing import Any

from cassandra.connection import DefaultEndPoint
from cassandra.policies import HostStateListener

log = logging.getLogger(__name__)


class Hosts(HostStateListener):  # type: ignore[misc]
    """Logs when a host goes and when it is back, once each. Called in the driver's threads."""

    def __init__(self) -> None:
        self._down: set[str] = set()

    def on_down(self, host: Any) -> None:
        if (where := str(host.endpoint)) not in self._down:
            self._down.add(where)
            log.warning("Cassandra: the host %s is down", where)

    def on_up(self, host: Any) -> None:
        if (where := str(host.endpoint)) in self._down:
            self._down.discard(where)
            log.warning("Cassandra: the host %s is up again", where)

    def on_add(self, host: Any) -> None:
        pass

    def on_remove(self, host: Any) -> None:
        self._down.discard(str(host.endpoint))


def contact_point(host: str, port: int) -> str | DefaultEndPoint:
    """The contact point of a host. A name with one address is resolved at each connection, since the host may come back
    under another address. A name with several is left to the driver, which resolves it once and takes each address for
    a host of its own."""
    try:
        addresses = {info[4][0] for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except OSError:  # not known yet
        return host
    return DefaultEndPoint(host, port) if len(addresses) == 1 else host
