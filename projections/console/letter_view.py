"""`/dead-letters`: what failed, in groups; the original; what would be said to it now; and sent again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection, Sequence
from typing import Annotated, Any, TypeVar

import msgspec
from aiokafka.errors import KafkaError

from projections.app import ReadSide
from projections.console.dry_run import handler_of
from projections.console.findings.snapshot import QuarantinedAggregate
from projections.console.letter_groups import LettersAlike
from projections.console.letter_trial import (
    Again,
    NotSent,
    Tried,
    envelope_of,
    not_tried,
    open_letter,
    place_of,
    tried,
)
from projections.console.letters import MOST_LETTERS, Place
from projections.console.observer import Observer
from projections.gateway.command_data import Accepted
from projections.http.bodies import Post, Reason, read_body
from projections.http.parameters import EXAMPLE, read_query
from projections.http.problems import BadRequest, HttpProblem, NotNow
from projections.views.history import state_at
from streams.access.principal import Role
from streams.cli.dead_letters import letter_details, parse_position, text
from streams.cli.run import CliError
from streams.deciding.cache import Aggregate
from streams.deciding.command_handler import SUBJECT_ERASED
from streams.deciding.decided_group import failure_over
from streams.deciding.messages import Failure
from streams.deciding.personal_commands import CannotOpen
from streams.journal.port import LAST_SEQUENCE, Unavailable
from streams.kafka.topics import commands_topic
from streams.text import one_line
from streams.web.health import json_response
from streams.web.operation import describe

T = TypeVar("T")

MOST = 20
"""Letters that are tried or sent again at once."""
_PLACE = "[0-9]{1,9}:[0-9]{1,18}"
PlaceText = Annotated[str, msgspec.Meta(pattern=f"^{_PLACE}$", max_length=30)]


class DeadLetters(msgspec.Struct, frozen=True, kw_only=True):
    """The newest dead letters of each type in groups, and the aggregates in quarantine.

    looked_at  so many of each type are looked at; older ones the command line has
    apps       by type the app that decides its commands, as far as a worker of it has said so
    retried    the types whose letters can be sent again here
    dropped    the types whose letters can be dropped here, and whose aggregates be released; others on the command line
    """

    looked_at: int
    groups: Sequence[LettersAlike]
    quarantined: Sequence[QuarantinedAggregate]
    apps: dict[str, str]
    retried: Sequence[str]
    dropped: Sequence[str]


class LetterFailure(msgspec.Struct, frozen=True, kw_only=True):
    """Why it failed; `position` is its place on Kafka, `trace` where the code raised."""

    type: str
    message: str
    time: str
    position: str
    quarantine: bool = False
    trace: Sequence[str] = ()


class Letter(msgspec.Struct, frozen=True):
    """A dead letter: its failure, and the command as it came."""

    position: str
    failure: LetterFailure
    key: str | None
    headers: dict[str, str]
    value: Any


class TrialQuery(msgspec.Struct):
    """Which letters."""

    places: Annotated[
        str,
        msgspec.Meta(
            pattern=f"^{_PLACE}(,{_PLACE}){{0,{MOST - 1}}}$",
            max_length=MOST * 30,
            description=f"Up to {MOST} places of letters, with commas between",
            extra={EXAMPLE: "3:17,3:18"},
        ),
    ]


class Trial(msgspec.Struct, frozen=True):
    """What would be said to each letter that is there; each is tried by itself."""

    letters: Sequence[Tried]


class RetryOrder(msgspec.Struct, forbid_unknown_fields=True):
    """Which letters are sent again."""

    places: Annotated[list[PlaceText], msgspec.Meta(min_length=1, max_length=MOST)]
    reason: Reason


class Retried(msgspec.Struct, frozen=True):
    """The places of those that were sent again, and those that were not, with the reason."""

    sent: Sequence[str]
    refused: Sequence[NotSent]


def add_letters(side: ReadSide, observer: Observer, accepted: Accepted, dropped: Sequence[str]) -> None:
    """Serve `/dead-letters`. `accepted` are the commands that clients may send: letters of these types are sent
    again. Those of the types `dropped` can be dropped over HTTP."""
    settings = side.app.settings
    retried = [type for type in side.journals if accepted.get(type)]
    topics = {commands_topic(settings.namespace, type) for type in retried}
    _add_list(side, observer, retried, dropped)
    for type in side.journals:
        _add_letter(side, observer, type)
        _add_trial(side, observer, type)
        if type in retried:
            _add_retry(side, observer, type, topics)


def _add_list(side: ReadSide, observer: Observer, retried: Sequence[str], dropped: Sequence[str]) -> None:
    @side.app.page("/dead-letters", name="dead-letters")
    @describe(
        "dead letters", "What failed, in groups that failed alike, and what waits for that", DeadLetters,
        problems=(503,), role=Role.AUDITOR,
    )  # fmt: skip
    async def dead_letters(view: Any, request: Any) -> Any:
        looks = observer.alike.get(), observer.quarantined.get(), observer.contexts.get()
        groups, quarantined, contexts = await answered(asyncio.gather(*looks))
        apps = {type: context.app for context in contexts for type in context.types}
        letters = DeadLetters(
            looked_at=MOST_LETTERS,
            groups=groups,
            quarantined=quarantined,
            apps=apps,
            retried=retried,
            dropped=dropped,
        )
        return json_response(view, letters)


def _add_letter(side: ReadSide, observer: Observer, type: str) -> None:
    @side.app.page(f"/dead-letters/{type}/at/{{place}}", name=f"{type}-dead-letter")
    @describe(
        "dead letters", f"One dead letter of {type}: why it failed, and the command as it came", Letter,
        path={"place": "Its place, as `3:17`"}, problems=(400, 404, 503), role=Role.READER, of=(type,),
    )  # fmt: skip
    async def dead_letter(view: Any, request: Any, place: str) -> Any:
        [record] = await found(observer, type, [place])
        return json_response(view, msgspec.convert(letter_details(record), Letter))


def _add_trial(side: ReadSide, observer: Observer, type: str) -> None:
    context = side.contexts[type]
    handler = handler_of(context)

    async def one(record: Any, request: Any) -> Tried:
        try:
            await open_letter(record, type, context.keys)
            envelope = envelope_of(record)
        except CannotOpen as why:
            return not_tried(record, text(record.key), Failure(SUBJECT_ERASED, str(why)))
        except Failure as failure:
            return not_tried(record, failure.envelope.aggregate_id if failure.envelope else "", failure)
        id = envelope.aggregate_id
        try:
            state, sequence = await state_at(context, side.journals[type], id, LAST_SEQUENCE, request)
        except (HttpProblem, Unavailable):
            raise
        except Exception as error:  # the domain raised over an event: its owner could not load it, either
            return not_tried(record, id, failure_over(error, is_discreet=handler.is_discreet))
        return tried(handler, record, envelope, Aggregate(state, sequence))

    @side.app.page(f"/dead-letters/{type}/dry-run", name=f"{type}-dead-letters-dry-run")
    @describe(
        "dead letters", f"What would be said to dead letters of {type} now; nothing is written", Trial,
        query=TrialQuery, problems=(400, 404, 503), role=Role.READER, of=(type,),
    )  # fmt: skip
    async def dry_run(view: Any, request: Any) -> Any:
        records = await found(observer, type, read_query(request.query, TrialQuery).places.split(","))
        return json_response(view, Trial([await one(record, request) for record in records]))


def _add_retry(side: ReadSide, observer: Observer, type: str, topics: Collection[str]) -> None:
    settings, keys = side.contexts[type].settings, side.contexts[type].keys

    @side.app.page(f"/dead-letters/{type}/retry", base=Post, name=f"{type}-dead-letters-retry")
    @describe(
        "dead letters", f"Send dead letters of {type} again, as they first came, with the same ids", Retried,
        body=RetryOrder, problems=(404, 503), role=Role.OPERATOR, of=(type,),
    )  # fmt: skip
    async def retry(view: Any, request: Any) -> Any:
        records = await found(observer, type, (await read_body(request, RetryOrder)).places)
        again = Again(type, settings.namespace, settings.partitions, topics)
        for record in records:
            try:
                await open_letter(record, type, keys)
                again.add([record])
            except CannotOpen as why:
                again.refused.append(NotSent(place_of(record), str(why)))
        try:
            for (topic, partition), commands in again.records.items():
                await side.broker.send(topic, partition, commands)
        except (KafkaError, TimeoutError, OSError) as error:
            raise NotNow("Kafka has not taken all of them: sending them again is harmless") from error
        return json_response(view, Retried(again.sent, again.refused))


async def found(observer: Observer, type: str, places: Sequence[str]) -> list[Any]:
    """The letters of a type at these places. Raises `HttpProblem` where there is none."""
    records = await answered(observer.letters.records(type, [place_in(text) for text in places]))
    if not records:
        detail = f"none of them is among the newest {MOST_LETTERS} dead letters of {type}, or they were dropped"
        raise HttpProblem(404, "Not found", detail)
    return records


def place_in(text: str) -> Place:
    try:
        return parse_position(text, "this route")
    except CliError as error:
        raise BadRequest(str(error)) from None


async def answered(answer: Awaitable[T]) -> T:
    """An answer. Raises `NotNow` where Kafka, or a journal, gives none."""
    try:
        return await answer
    except (CliError, KafkaError, OSError) as error:  # also where the time is up
        raise NotNow(f"the dead letters cannot be read: {one_line(error) or 'no answer in time'}") from error
