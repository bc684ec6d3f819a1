"""The demo without servers: `sourced dev` has all of the shop in one process, topics and journals too."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from servers.workers import Worker
from streams.dev.command import PORT
from streams.dev.whereabouts import Whereabouts
from streams.projects.project import find_project

LEFT_OUT = (
    "Without servers: one process has all of the shop, topics are in a log of its own, journals in SQLite.\n"
    "Left out: Kafka and Cassandra, and with them several workers, takeovers, and copies of what was written."
)


def places(folder: Path) -> Whereabouts:
    """Where everything of it is, below this folder."""
    project = find_project(Path.cwd())
    return Whereabouts(project.root, project.apps, PORT, folder.absolute())


def environment_for(where: Whereabouts, environment: Mapping[str, str]) -> dict[str, str]:
    """The user's settings but for those that lead to servers."""
    path = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", os.defpath)])
    foreign = where.foreign(environment)
    return {name: value for name, value in environment.items() if value and name not in foreign} | {"PATH": path}


def team(where: Whereabouts, logs: Path, pids: Path) -> list[Worker]:
    """The one that does it all, under the name of the app that is asked."""
    command = [sys.executable, "-m", "streams.projects.sourced", "dev", "--no-reload", "--data", str(where.folder)]
    return [Worker("projections", shlex.join(command), where.port, logs / "dev.log", pids / "demo-dev.pid")]
