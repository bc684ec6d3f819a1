"""The orders context on a journal that raises what it should not, for as long as a file is there.

`faust -A tests.chaos.stumbling worker`, with the name of the file in `STUMBLES`. A call stumbles before or after it was
done, so that what it did may stand, as with a driver that fails over an answer.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aggregates.shop.order import order
from streams import aggregate_type
from streams import app as command_app
from streams.journal.commit_codec import UnreadableCommit
from streams.journal.port import Journal

SHARE = 0.1
"""Of the calls."""


class InvalidRequest(Exception):
    """As drivers have it: it is of no class that the journal knows."""


ERRORS: tuple[Callable[[], Exception], ...] = (
    lambda: RuntimeError("a bug of the driver"),
    lambda: InvalidRequest("Request is too big: length 20209199 exceeds maximum allowed length 16777216"),
    lambda: ValueError("not what was asked for"),
    lambda: UnreadableCommit("a commit's bytes are damaged"),
)
CALLS = ("append", "commits", "events", "head", "index", "save_snapshots", "snapshot")


class Stumbling:
    """A journal; all that is not among these calls is as it was."""

    def __init__(self, journal: Journal, file: Path) -> None:
        self._journal = journal
        self._file = file

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._journal, name)
        return self._stumbling(found) if name in CALLS else found

    def _stumbling(self, call: Callable[..., Any]) -> Callable[..., Any]:
        async def called(*args: Any, **kwargs: Any) -> Any:
            stumbles = self._file.exists() and random.random() < SHARE
            if stumbles and random.random() < 0.5:
                raise random.choice(ERRORS)()
            result = await call(*args, **kwargs)
            if stumbles:
                raise random.choice(ERRORS)()
            return result

        return called


_open = aggregate_type.open_journal


def _stumbling(*args: Any) -> Any:
    return Stumbling(_open(*args), Path(os.environ["STUMBLES"]))


aggregate_type.open_journal = _stumbling
app = command_app.command_app(__name__, "orders", order, schema_root="shop")
