"""Apicurio Registry, which answers as Confluent's schema registry does, for development and tests.

It keeps everything in memory, and is empty after each start: right for tests, which bring their schemas along, and for
development, where workers register theirs when they start. A real one has a database.
"""

from __future__ import annotations

from pathlib import Path

from servers.where import ServersError, Where


def command(where: Where, java: Path, libs: Path) -> list[str | Path]:
    """The command that starts it. Raises `ServersError` when the program is missing."""
    programs = sorted(libs.glob("apicurio-registry-app-*-runner.jar"))
    if not programs:
        raise ServersError(f"registry: no apicurio-registry-app-*-runner.jar in {libs}: delete it, then try again")
    heap = ["-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError"]
    options = [
        f"-Dquarkus.http.host={where.host}",
        f"-Dquarkus.http.port={where.registry_port}",
        "-Dquarkus.http.access-log.enabled=false",
    ]
    return [java, *heap, *options, "-jar", programs[-1]]
