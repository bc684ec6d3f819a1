"""Dead letters that failed alike: of one type and command, for one reason, at one line of code."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from streams.cli.dead_letters import control_headers, summary, text

MOST_GROUPS = 50
_LINE = re.compile(r'File "([^"\n]*)", line ([0-9]+), in (\S+)')


class LettersAlike(msgspec.Struct, frozen=True, kw_only=True):
    """A group of dead letters.

    line         where the code raised, as `order.py:81 in decide`; empty where nothing did
    message      what the newest says of its failure
    first, last  the times of the oldest and the newest
    places       of all, the newest first, as `3:17`
    """

    type: str
    command: str
    failure: str
    line: str
    message: str
    first: datetime | None
    last: datetime | None
    places: Sequence[str]


def alike(type: str, records: Iterable[Any]) -> list[LettersAlike]:
    """Dead letters, newest first, in groups; the largest group first."""
    return [
        LettersAlike(
            type=type,
            command=command,
            failure=failure,
            line=line,
            message=letters[0][5],
            first=moment_of(letters[-1][1]),
            last=moment_of(letters[0][1]),
            places=[letter[0] for letter in letters],
        )
        for (command, failure, line), letters in groups_of(records, by_line=True)
    ]


def groups_of(records: Iterable[Any], by_line: bool) -> list[tuple[tuple[str, str, str], list[tuple[str, ...]]]]:
    """The summaries of dead letters by command, failure, and the line that raised if that is to tell them apart; in the
    order of the records, the largest group first."""
    groups: dict[tuple[str, str, str], list[tuple[str, ...]]] = {}
    for record in records:
        letter = summary(record)
        _, _, _, command, failure, _ = letter
        line = line_of(text(control_headers(record).get("dl_trace"))) if by_line else ""
        groups.setdefault((command, failure.removesuffix(", quarantine"), line), []).append(letter)
    return sorted(groups.items(), key=lambda group: -len(group[1]))[:MOST_GROUPS]


def last_frame(trace: str) -> str:
    """Of a trace what says where it ends; empty where nothing does."""
    found = [frame.group() for frame in _LINE.finditer(trace)]
    return found[-1] if found else ""


def line_of(trace: str) -> str:
    """The line that raised: the last one of a trace."""
    found = _LINE.findall(trace)
    if not found:
        return ""
    path, number, function = found[-1]
    return f"{path.replace(chr(92), '/').rpartition('/')[2]}:{number} in {function}"


def moment_of(text: str) -> datetime | None:
    """The time of a letter; None for a text that is none. One without a zone, which nobody of ours writes, is UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
