"""Dead letters and quarantines for the verdict: the newest dead letters of each type in groups, read when there are
new ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from projections.app import ReadSide
from projections.console.findings.snapshot import LetterGroup, QuarantinedAggregate
from projections.console.shared import Shared
from streams.cli.dead_letters import DeadLetterTopic, control_headers, letter_command_id, summary
from streams.cli.quarantine import quarantine_of
from streams.concurrency.tasks import all_of

MOST_LETTERS = 500
"""Of a type, the newest of which are looked at."""
REACH = 5_000
"""Records of a partition that are looked through for them, where most were dropped: the topic keeps all, for ever."""
READ_SECONDS, PATIENCE = 4.0, 120.0
"""Seconds between two readings, and for which one may take; who asks waits less."""
MOST_GROUPS = 50
MOST_QUARANTINED = 100


class TypeLetters(NamedTuple):
    """The dead letters of one type: in groups, and the places of those whose aggregates went into quarantine, by id and
    command."""

    groups: list[LetterGroup]
    quarantining: Mapping[str, Mapping[str, str]]


class Letters:
    """The dead letters of all types of an app of projections."""

    def __init__(self, side: ReadSide) -> None:
        self._side = side
        self._known: dict[str, tuple[Mapping[int, int], TypeLetters]] = {}
        """By type the ends of the topic when it was read, and what was in it."""
        self._all = Shared(self._read, seconds=READ_SECONDS, patience=PATIENCE)

    async def _read(self) -> dict[str, TypeLetters]:
        """Those of all types, read side by side: groups and quarantines are made of the same."""
        types = list(self._side.journals)
        return dict(zip(types, await all_of(self.of(type) for type in types), strict=True))

    async def of(self, type: str) -> TypeLetters:
        """The dead letters of a type. Raises `CliError`, `KafkaError`, `TimeoutError`."""
        context, side = self._side.contexts[type], self._side
        ends = await side.broker.end_offsets(context.dead_letters_topic, range(context.settings.partitions))
        if type not in self._known or self._known[type][0] != ends:
            records, _ = await DeadLetterTopic(context.settings, type, side.contexts).newest(
                MOST_LETTERS, REACH, in_short
            )
            self._known[type] = ends, TypeLetters(grouped(type, records), _quarantining(records))
        return self._known[type][1]

    async def groups(self) -> list[LetterGroup]:
        """Those of all types, in groups. Raises as `of`."""
        return [group for letters in (await self._all.get()).values() for group in letters.groups]

    async def quarantined(self) -> list[QuarantinedAggregate]:
        """The aggregates in quarantine. Raises as `of`, and `Unavailable`."""
        found: list[QuarantinedAggregate] = []
        for type, letters in (await self._all.get()).items():
            for id, places in list(letters.quarantining.items())[:MOST_QUARANTINED]:
                state = await quarantine_of(self._side.journals[type], type, id)
                if state is not None:
                    found.append(
                        QuarantinedAggregate(
                            type=type,
                            id=id,
                            since=state.reason.since,
                            waiting=len(state.waiting),
                            reason=f"{state.reason.type}: {state.reason.message}",
                            letter=places.get(state.poison, ""),
                        )
                    )
        return found


def in_short(record: Any) -> Any:
    """A record of dead letters with what is shown here alone: not the command, nor a sender's headers, which may be a
    megabyte."""
    type = dict(record.headers).get("ce_type") or summary(record)[3].encode(errors="replace")
    ours = [(name, value) for name, value in control_headers(record).items() if name != "dl_trace"]
    record.headers = [("ce_type", type), *ours]
    record.value = None if record.value is None else b""
    return record


def grouped(type: str, records: Iterable[Any]) -> list[LetterGroup]:
    """Dead letters, newest first, by command and failure; the largest group first."""
    groups: dict[tuple[str, str], list[tuple[str, ...]]] = {}
    for record in records:
        letter = summary(record)
        _, _, _, command, failure, _ = letter
        groups.setdefault((command, failure.removesuffix(", quarantine")), []).append(letter)
    made = [
        LetterGroup(
            type=type,
            command=command,
            failure=failure,
            count=len(letters),
            first=_moment(letters[-1][1]),
            last=_moment(letters[0][1]),
            example=letters[0][0],
            message=letters[0][5],
        )
        for (command, failure), letters in groups.items()
    ]
    return sorted(made, key=lambda group: -group.count)[:MOST_GROUPS]


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)  # nobody of ours has written it


def _quarantining(records: Iterable[Any]) -> dict[str, dict[str, str]]:
    places: dict[str, dict[str, str]] = {}
    for record in records:
        if "dl_quarantine" in control_headers(record):
            id = (record.key or b"").decode(errors="replace")
            places.setdefault(id, {})[letter_command_id(record)] = f"{record.partition}:{record.offset}"
    return places
