"""The identity of a journal: a worker does not start with a journal that belongs to something else."""

from __future__ import annotations

import msgspec

from streams.journal.port import Identity
from streams.settings import SettingsError

FORMAT = 2
"""The newest format of a journal that this version knows."""

_SHOWN = {
    "context": "the context {!r}",
    "namespace": "NAMESPACE={!r}",
    "partitions": "PARTITIONS={}",
    "cluster": "the Kafka cluster {}",
}


def check_identity(present: Identity, ours: Identity, setting: str = "JOURNAL_URL") -> None:
    """Raise `SettingsError` with both sides where a journal is somebody else's. An empty cluster is any."""
    if present.format > FORMAT:
        raise SettingsError(
            f"{setting}: the journal of {ours.context} has format {present.format}, and this version knows {FORMAT}:"
            " deploy the version that wrote it"
        )
    if present.format < FORMAT:
        raise of_older_format(f"the journal of {ours.context}", setting)
    one, other = msgspec.structs.asdict(present), msgspec.structs.asdict(ours)
    names = [name for name in _SHOWN if one[name] != other[name] and (name != "cluster" or ours.cluster)]
    if names:
        theirs, here = (", ".join(_SHOWN[name].format(side[name]) for name in names) for side in (one, other))
        raise SettingsError(
            f"{setting}: this journal belongs to {theirs}, and here is {here}: set what it belongs to, or another"
            ' journal; see "What belongs together" in docs/operations.md'
        )


def of_older_format(journal: str, setting: str) -> SettingsError:
    """What is said of a journal whose commits this version cannot read."""
    return SettingsError(
        f"{setting}: {journal} has an older format, of a version that nobody runs in earnest, and this version writes"
        f" {FORMAT}: begin with another NAMESPACE, or remove the journal"
    )
