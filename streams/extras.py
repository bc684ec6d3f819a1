"""What is installed only where it is needed: the extras of the distribution, as in `sourced-streams[postgres]`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from streams.settings import SettingsError

DISTRIBUTION = "sourced-streams"
EXTRAS = {"cassandra": ("cassandra",), "oidc": ("jwt", "cryptography"), "postgres": ("asyncpg",)}
"""By extra the modules that it brings."""


@contextmanager
def needs(extra: str, setting: str) -> Iterator[None]:
    """Around imports of what an extra brings, which `setting` asks for. Raises `SettingsError` without it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in EXTRAS[extra]:
            raise
        raise SettingsError(f"{setting}: pip install '{DISTRIBUTION}[{extra}]' first") from None
