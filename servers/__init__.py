"""Kafka, Cassandra, PostgreSQL and a schema registry on this machine, for development and tests:
`python3 -m servers --help`."""

from servers.control import is_ready, kill, start, stop
from servers.where import NAMES, ServersError, Where

__all__ = ["NAMES", "ServersError", "Where", "is_ready", "kill", "start", "stop"]
