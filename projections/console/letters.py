"""Dead letters and quarantines: the newest dead letters of each type in groups, read when there are new ones."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from projections.app import ReadSide
from projections.console.findings.snapshot import LetterGroup, QuarantinedAggregate
from projections.console.letter_groups import LettersAlike, alike, groups_of, last_frame, moment_of
from projections.console.shared import Shared
from streams.cli.dead_letters import DeadLetterTopic, control_headers, letter_command_id, summary, text
from streams.cli.quarantine import quarantine_of
from streams.concurrency.tasks import all_of

MOST_LETTERS = 500
"""Of a type, the newest of which are looked at."""
REACH = 5_000
"""Records of a partition that are looked through for them, where most were dropped: the topic keeps all, for ever."""
READ_SECONDS, PATIENCE = 4.0, 120.0
"""Seconds between two readings, and for which one may take; who asks waits less."""
MOST_QUARANTINED = 100
AT_ONCE = 2
"""Requests for which letters are read at once, each in so many seconds."""
SECONDS = 20.0

Place = tuple[int, int]
"""Partition and offset."""


class TypeLetters(NamedTuple):
    """The dead letters of one type: in groups by failure, and besides by the line that raised; the places of all, and
    those of the ones whose aggregates went into quarantine, by id and command."""

    groups: list[LetterGroup]
    alike: list[LettersAlike]
    places: Collection[Place]
    quarantining: Mapping[str, Mapping[str, str]]


class Letters:
    """The dead letters of all types of an app of projections."""

    def __init__(self, side: ReadSide) -> None:
        self._side = side
        self._known: dict[str, tuple[Mapping[int, int], TypeLetters]] = {}
        """By type the ends of the topic when it was read, and what was in it."""
        self._turns = asyncio.Semaphore(AT_ONCE)
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
            places = frozenset((record.partition, record.offset) for record in records)
            made = TypeLetters(grouped(type, records), alike(type, records), places, _quarantining(records))
            self._known[type] = ends, made
        return self._known[type][1]

    async def records(self, type: str, places: Collection[Place]) -> list[Any]:
        """The letters of a type at these places, as far as they are among the newest, and not dropped. Raises as
        `of`."""
        context = self._side.contexts[type]
        async with asyncio.timeout(SECONDS), self._turns:
            known = {*places} & {*(await self.of(type)).places}
            return await DeadLetterTopic(context.settings, type, self._side.contexts).some(known) if known else []

    async def alike(self) -> list[LettersAlike]:
        """Those of all types, in groups that failed alike at the same line. Raises as `of`."""
        return [group for letters in (await self._all.get()).values() for group in letters.alike]

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
                            command_id=state.poison,
                        )
                    )
        return found


def in_short(record: Any) -> Any:
    """A record of dead letters with what is shown here alone: not the command, nor a sender's headers, which may be a
    megabyte, and of the trace the last line of code."""
    type = dict(record.headers).get("ce_type") or summary(record)[3].encode(errors="replace")
    ours = control_headers(record)
    if "dl_trace" in ours:
        ours["dl_trace"] = last_frame(text(ours["dl_trace"])).encode()
    record.headers = [("ce_type", type), *ours.items()]
    record.value = None if record.value is None else b""
    return record


def grouped(type: str, records: Iterable[Any]) -> list[LetterGroup]:
    """Dead letters, newest first, by command and failure; the largest group first."""
    return [
        LetterGroup(
            type=type,
            command=command,
            failure=failure,
            count=len(letters),
            first=moment_of(letters[-1][1]),
            last=moment_of(letters[0][1]),
            example=letters[0][0],
            message=letters[0][5],
        )
        for (command, failure, _), letters in groups_of(records, by_line=False)
    ]


def _quarantining(records: Iterable[Any]) -> dict[str, dict[str, str]]:
    places: dict[str, dict[str, str]] = {}
    for record in records:
        if "dl_quarantine" in control_headers(record):
            id = (record.key or b"").decode(errors="replace")
            places.setdefault(id, {})[letter_command_id(record)] = f"{record.partition}:{record.offset}"
    return places
