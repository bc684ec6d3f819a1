"""`If-Match` and `If-None-Match` of a command: which sequence its aggregate must have, for its owner to decide.

The owner is the only one who knows, so nothing is compared here: the command carries the sequence that its sender has
seen in the header `ce_expectedsequence`, and is rejected with `UnexpectedSequence` when the aggregate has another.
"""

from __future__ import annotations

import re
from typing import Any

from projections.http.etags import Entity, read_entities, read_tag
from projections.http.problems import BadRequest, HttpProblem
from streams.journal.position import Position, stream_name

UNEXPECTED_SEQUENCE = "UnexpectedSequence"
"""The type of the error with which the owner rejects a command whose precondition does not hold."""
ANY, NONE = "*", "0"

_NUMBER = re.compile(r"[0-9]{1,18}")
_WANTED = 'If-Match: "<the ETag of a row>", a sequence as a reply has it, or *'


def expected_sequence(headers: Any, type: str, partition: int) -> str:
    """What the headers of a command expect of its aggregate, which is of this type and in this partition: its sequence,
    `0` if it is not to exist, `*` if it is; empty without a precondition.

    Raises `HttpProblem`: 400 for headers that cannot be read, 412 for a precondition that can never hold.
    """
    match, none_match = headers.getall("If-Match", ()), headers.getall("If-None-Match", ())
    if none_match:
        if match:
            raise BadRequest("If-Match and If-None-Match: one of them, they exclude each other")
        if ",".join(none_match).strip(" \t") != "*":
            raise BadRequest("If-None-Match: a command takes * alone: the aggregate is not to exist")
        return NONE
    if not match:
        return ""
    text = ",".join(match).strip(" \t")
    if _NUMBER.fullmatch(text):
        return str(int(text))
    try:
        entities = read_entities([text])
    except ValueError:
        raise BadRequest(f"If-Match: {text[:100]!r} cannot be read: {_WANTED}") from None
    if entities is None:
        return ANY
    # The comparison is strong: a weak tag matches nothing, nor does one of what can be no row of this aggregate.
    stream = stream_name(type, partition)
    sequences = {sequence for entity in entities if (sequence := _sequence(entity, stream)) is not None}
    if not sequences:
        detail = f"If-Match: {text[:100]!r} names not this {type} by a strong ETag; nothing was sent. {_WANTED}"
        raise HttpProblem(412, "Precondition failed", detail)
    if len(sequences) > 1:
        raise BadRequest(f"If-Match: sequences {', '.join(map(str, sorted(sequences)))}: name one of them")
    return str(sequences.pop())


def _sequence(entity: Entity, stream: str) -> int | None:
    if entity.is_weak:
        return None
    if _NUMBER.fullmatch(entity.tag):
        return int(entity.tag)
    tag = read_tag(entity.tag)
    return tag.sequence if tag is not None and Position.parse(tag.position).stream == stream else None
