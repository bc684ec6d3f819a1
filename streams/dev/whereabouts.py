"""Where everything of a project is while `sourced dev` runs it: files, ports, and the settings that say so."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from streams.dev.broker.server import HOST
from streams.settings import Settings

FOLDER = Path(".data/dev")
PARTITIONS, LOGS = "4", "1"
"""Of each aggregate type: few, since one process serves them all."""
ENVIRONMENT = "dev.env"
PLACES = "KAFKA_BROKERS", "JOURNAL_URL", "JOURNAL_URL_FILE", "READ_MODEL_URL", "READ_MODEL_URL_FILE", "DATA_DIR"
"""Settings that say where something is kept."""
SERVERS = "KAFKA_BROKERS", "JOURNAL_URL", "JOURNAL_URL_FILE"
"""Those of which all that is derived depends."""


def on_servers(environment: Mapping[str, str]) -> dict[str, str]:
    """The settings of a project that is on servers: those that are given, and else what a worker takes that is told
    nothing, so that `faust -A <app> worker` goes on with what is there."""
    default = Settings()
    kept = {} if environment.get("JOURNAL_URL_FILE") else {"JOURNAL_URL": default.journal_url}
    theirs = {
        "KAFKA_BROKERS": default.kafka_brokers,
        "PARTITIONS": str(default.partitions),
        "LOGS": str(default.logs),
    }
    found = theirs | kept | {name: value for name, value in environment.items() if value}
    return {"READ_MODEL_URL": found["JOURNAL_URL"], **found} if "JOURNAL_URL" in found else found


@dataclass(frozen=True)
class Whereabouts:
    """`root` is the folder of the project, `apps` are its modules, and the last one of them listens at `port`. All that
    it writes is `elsewhere`, or in `FOLDER` of the project."""

    root: Path
    apps: tuple[str, ...]
    port: int
    elsewhere: Path | None = None

    @property
    def folder(self) -> Path:
        return self.elsewhere or self.root / FOLDER

    @property
    def topics(self) -> Path:
        """The file of the broker."""
        return self.folder / "topics" / "topics.db"

    @property
    def journals(self) -> Path:
        return self.folder / "journals"

    @property
    def tables(self) -> Path:
        return self.folder / "tables"

    @property
    def keys(self) -> Path:
        """The keys of persons, without which what the journals have of them is gone."""
        return self.folder / "keys"

    @property
    def read_models(self) -> Path:
        return self.folder / "read-models"

    @property
    def derived(self) -> tuple[Path, ...]:
        """What is made anew of the journals."""
        return self.tables, self.read_models

    @property
    def broker_port(self) -> int:
        """Below the ports of all apps."""
        return self.port - len(self.apps)

    @property
    def ports(self) -> dict[str, int]:
        """By module of an app."""
        return {app: self.broker_port + number for number, app in enumerate(self.apps, 1)}

    def settings(self, environment: Mapping[str, str]) -> dict[str, str]:
        """What is not said otherwise: no servers, and all of it on this machine.

        What belongs to topics or journals elsewhere is kept apart: it does not fit those that are here."""
        folder = self.folder
        if servers := [f"{name}={environment[name]}" for name in SERVERS if environment.get(name)]:
            folder /= f"with-{hashlib.sha256(' '.join(servers).encode()).hexdigest()[:8]}"
        journals, tables, read_models = (folder / it.name for it in (self.journals, self.tables, self.read_models))
        ours = {
            "KAFKA_BROKERS": f"kafka://{HOST}:{self.broker_port}",
            "JOURNAL_URL": f"sqlite:///{journals}/journal.db",
            "READ_MODEL_URL": f"sqlite:///{read_models}/read-model.db",
            "DATA_DIR": str(tables),
            "PARTITIONS": PARTITIONS,
            "LOGS": LOGS,
        }
        if not (environment.get("JOURNAL_URL") or environment.get("JOURNAL_URL_FILE")):
            ours["KEY_MANAGEMENT"] = f"file://{self.keys}"  # not with the tables: they are made anew, and keys are not
        from_files = {name for name in ours if environment.get(f"{name}_FILE")}
        return {name: environment.get(name) or value for name, value in ours.items() if name not in from_files}

    def has_broker(self, environment: Mapping[str, str]) -> bool:
        """Whether topics are here, and not in a Kafka."""
        return not environment.get("KAFKA_BROKERS")

    def foreign(self, environment: Mapping[str, str]) -> list[str]:
        """The settings that lead elsewhere, where nothing is emptied by us."""
        return [name for name in PLACES if environment.get(name)]
