"""A worker's place in its consumer group, written down in its own folder.

Kafka misses a killed worker only after the session time-out, and until then its partitions stand still; so do those of
all others once a worker joins, since a rebalance waits for every member. A worker that is started again in the same
folder knows better: whoever had the folder before is dead, and it takes that member out of the group at once.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
from pathlib import Path
from typing import IO

from aiokafka.errors import KafkaError

from streams.concurrency.retry import retried
from streams.membership.group import Group
from streams.settings import SettingsError

log = logging.getLogger(__name__)

LEAVE_SECONDS = 3.0
END_SECONDS, LOOK_SECONDS = 3.0, 0.1


class Membership:
    """The member id of this worker in its group, kept in `file` for whoever comes after it.

    The file is locked for as long as the process lives: one who shares the folder is not taken for dead. Where the
    folder has tables, whoever comes second is refused; elsewhere nothing is written down for it.
    """

    def __init__(self, file: Path, group: Group) -> None:
        self._path = file
        self._group = group
        self._file: IO[str] | None = None

    async def succeed(self, alone: bool = False) -> None:
        """Take the dead predecessor out of the group, if there is one. Only saves time: that it fails does no harm.

        Raises `SettingsError` when somebody else has the folder, and one is to be `alone` in it: whoever was there is
        given a few seconds to end.
        """
        try:
            file = self._path.open("a+")
        except OSError as error:  # no room on the disk
            log.info("%s: %s", self._path, error)
            return

        async def lock() -> None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

        try:
            await retried(lock, [LOOK_SECONDS] * round(END_SECONDS / LOOK_SECONDS) if alone else [], OSError)
        except OSError:
            file.close()
            if alone:
                raise SettingsError(
                    f"datadir {self._path.parent} is in use by another worker: each needs a folder of its own, see"
                    " --datadir and DATA_DIR"
                ) from None
            return
        self._file = file
        file.seek(0)
        if member_id := file.read().strip():
            try:
                async with asyncio.timeout(LEAVE_SECONDS):
                    await self._group.remove(member_id)
            except (KafkaError, OSError) as error:
                log.info("the predecessor %s stays in the group until its session ends: %r", member_id, error)
            self.record("")

    def record(self, member_id: str) -> None:
        """This worker is in the group by that name now."""
        if self._file is None:
            return
        try:
            self._file.truncate(0)
            self._file.write(member_id)
            self._file.flush()
        except OSError as error:  # no room on the disk
            log.info("%s: %s", self._path, error)
