"""The workers that have the partitions of local tables, by the assignment that Faust's leader has made."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from projections.http.problems import NotNow
from streams.kafka.client import partition_of
from streams.runtime.application import Application


class Placement:
    """The placement of partitions. `changelogs` has by projection the topic that is assigned with its tables."""

    def __init__(self, app: Application, changelogs: Mapping[str, str]) -> None:
        self._app = app
        self._changelogs = changelogs

    def partition(self, key: str) -> int:
        """The partition of an aggregate."""
        return partition_of(key.encode(), self._app.settings.partitions)

    @property
    def all_partitions(self) -> list[int]:
        """The numbers of all partitions."""
        return list(range(self._app.settings.partitions))

    @property
    def own_url(self) -> str:
        """The URL of this worker, as others know it."""
        return str(self._app.conf.canonical_url).rstrip("/")

    @property
    def others(self) -> int:
        """The number of other workers, at least one: a worker that joins just now is not known yet."""
        return max(len(self._app.router.tables_metadata()) - 1, 1)

    def here(self, projection: str) -> list[int]:
        """The partitions of a projection that this worker has. Raises `NotNow`."""
        self._require_ready()
        return self._app.assigned(self._changelog(projection))

    def _changelog(self, projection: str) -> str:
        if projection not in self._changelogs:
            raise NotNow(f"{projection} is not kept by this version")
        return self._changelogs[projection]

    def _require_ready(self) -> None:
        if not self._app.is_ready:
            raise NotNow("a rebalance or a recovery is under way")

    def workers(self, projection: str) -> dict[str, list[int]]:
        """All partitions of a projection, by the URL of their worker. Raises `NotNow`."""
        self._require_ready()
        topic = self._changelog(projection)
        workers = {
            str(url).rstrip("/"): sorted(topics[topic])
            for url, topics in self._app.router.tables_metadata().items()
            if topics.get(topic)
        }
        if sorted(p for ps in workers.values() for p in ps) != self.all_partitions:
            raise NotNow("not every partition has a worker yet")
        return workers

    def url_of(self, projection: str, partition: int) -> str:
        """The URL of the worker that has a partition of a projection. Raises `NotNow`."""
        return next(url for url, partitions in self.workers(projection).items() if partition in partitions)

    def assigned(self) -> tuple[set[int], set[int]]:
        """The partitions that the last rebalance has given to this worker: those that it has, and those whose tables it
        keeps a copy of. Known before the tables are recovered, and alike for all tables."""
        assignor, topic = self._app.assignor, self._any_changelog
        actives, standbys = (
            {tp.partition for tp in tps if tp.topic == topic}
            for tps in (assignor.assigned_actives(), assignor.assigned_standbys())
        )
        return actives, standbys

    def assigned_url(self, partition: int) -> str:
        """The URL of the worker that the last rebalance has given a partition to. Raises `NotNow`."""
        for url, topics in self._app.router.tables_metadata().items():
            if partition in topics.get(self._any_changelog, ()):
                return str(url).rstrip("/")
        raise NotNow(f"partition {partition} has no worker yet")

    @property
    def _any_changelog(self) -> str:
        return next(iter(self._changelogs.values()))

    def together(self, names: Collection[str]) -> list[list[str]]:
        """Projections in groups that are on the same workers."""
        groups: dict[str, list[str]] = {}
        for name in dict.fromkeys(names):
            groups.setdefault(self._changelogs[name], []).append(name)
        return list(groups.values())
