"""`POST /<type>s/{id}/commands` as it is read: nothing is produced that its owner could not read."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec
from aiohttp import hdrs

from aggregates.timer import ScheduleTimer, timer
from projections.gateway.command_data import Accepted, CommandData, DataFault, Invalid, fault, read_json
from projections.http.at_least import DEFAULT_WAIT, read_wait
from projections.http.bodies import RequestBytes, read_bytes
from projections.http.preconditions import expected_sequence
from projections.http.problems import BadRequest, HttpProblem
from projections.http.request_trace import RequestTrace
from streams.deciding.messages import JSON, MAX_ID_LENGTH, command_headers
from streams.journal.position import PATTERN
from streams.kafka.client import partition_of
from streams.observability.traces import HEADER
from streams.principals.signature import Signed
from streams.runtime.web_guard import is_json

SOURCE = "/http"

_SCHEDULES = timer.type, ScheduleTimer.__name__
"""The command that has another one sent later."""

_READABLE = re.compile(r"[\x20-\x7e]+")
_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"')
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


_OF_EVENTS = re.compile(f"{PATTERN}#[0-9]+|fire:{PATTERN}")
"""Ids of commands that events cause: `streams/processes/dispatcher.py`, `timer_watch.py`. They can be guessed, and the
first command with an id is the one that counts: who sends under one would keep a process from doing its work."""
_IS_OF_EVENTS = "is the id of a command that an event causes: use another one"


class CheckedCommand(msgspec.Struct, frozen=True):
    """A command that may go to Kafka. `fingerprint` tells it from another one with the same id."""

    id: str
    type: str
    aggregate_id: str
    name: str
    headers: list[tuple[str, bytes]]
    fingerprint: str
    trace: RequestTrace | None = None


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    type: str
    data: msgspec.Raw = msgspec.Raw(b"{}")


class CommandReader:
    """Reads requests for the commands that are `accepted`, of `most` bytes with key and headers. `sign` gives the
    headers that say in whose name a command comes; it raises `HttpProblem`."""

    def __init__(
        self,
        accepted: Accepted,
        most: int,
        reply_to: str,
        partitions: int,
        sign: Callable[[Signed], list[tuple[str, bytes]]] = lambda command: [],
    ) -> None:
        self._forms: Mapping[str, Mapping[str, CommandData]] = {
            type: {name: CommandData(class_) for name, class_ in classes.items()} for type, classes in accepted.items()
        }
        self._most = most
        self._reply_to = reply_to
        self._partitions = partitions
        self._sign = sign

    async def read(
        self, request: Any, type: str, id: str, room: RequestBytes, trace: RequestTrace | None = None
    ) -> tuple[CheckedCommand, bytes]:
        """The command of this id, and its data, as they go to Kafka, for which room is taken; in a trace, where that is
        kept. Raises `HttpProblem`."""
        aggregate_id = read_path_id(request.rel_url.raw_path, 2)
        correlation_id = _text(request.headers, "X-Correlation-ID")
        partition = partition_of(aggregate_id.encode(), self._partitions)
        expected = expected_sequence(request.headers, type, partition)
        _check_content_type(request.headers)
        name, data, value = self.parse(type, await read_bytes(request, self._most, room))
        traceparent = request.headers.get(HEADER, "") if trace is None else trace.start
        headers = command_headers(
            id,
            name,
            SOURCE,
            self._reply_to,
            correlation_id,
            # What is no traceparent is not to be passed on: https://www.w3.org/TR/trace-context/#traceparent-header
            traceparent=traceparent if _TRACEPARENT.fullmatch(traceparent) else "",
            expected_sequence=expected,
            reply_key=id if correlation_id else "",
        )
        if trace is not None:
            headers += trace.headers
        headers += self._sign(Signed(type, aggregate_id, id, name, data, JSON, expected))
        size = len(aggregate_id.encode()) + len(data) + sum(len(key) + len(text) for key, text in headers)
        if size > self._most:
            raise self._too_large()
        same = fingerprint(type, aggregate_id, name, value, expected)
        return CheckedCommand(id, type, aggregate_id, name, headers, same, trace), data

    def parse(self, type: str, body: bytes) -> tuple[str, bytes, Any]:
        """Name and data of the command in a body, the data also as plain values. Raises `HttpProblem`."""
        forms = self._forms[type]
        try:
            parsed = read_json(body, _Body)
            form = forms.get(parsed.type)
            if form is None:
                known = ", ".join(forms)
                raise Invalid([DataFault("/type", f"{type} has no command {parsed.type!r}; it has {known}")])
            data = bytes(parsed.data)
            value = form.check(data)
            if (type, parsed.type) == _SCHEDULES:
                self._check_later(**value)
            return parsed.type, data, value
        except msgspec.ValidationError as error:
            raise _not_valid([fault(error)]) from None
        except Invalid as invalid:
            raise _not_valid(invalid.faults) from None
        except ValueError as error:
            wanted = '{"type": "..", "data": {..}}'
            raise HttpProblem(400, "Not JSON", f"the body is to be a JSON object like {wanted}: {error}") from None

    def _check_later(
        self, to: str, command: str, data: str = "{}", command_id: str | None = None, **others: Any
    ) -> None:
        """What a timer is to send is such as may be sent now. Raises `Invalid`."""
        forms = self._forms.get(to)
        if not forms:
            known = ", ".join(type for type, forms_of_type in self._forms.items() if forms_of_type)
            raise Invalid([DataFault("/data/to", f"there is no type {to!r}; there are {known}")])
        if command not in forms:
            raise Invalid([DataFault("/data/command", f"{to} has no command {command!r}; it has {', '.join(forms)}")])
        if _OF_EVENTS.fullmatch(command_id or ""):
            raise Invalid([DataFault("/data/command_id", f"{command_id!r} {_IS_OF_EVENTS}")])
        try:
            value = forms[command].check(data.encode())
            if (to, command) == _SCHEDULES:
                self._check_later(**value)
        except Invalid as invalid:
            faults = [
                f"{fault.pointer.removeprefix('/data') or 'the text'}: {fault.detail}" for fault in invalid.faults
            ]
            raise Invalid([DataFault("/data/data", detail) for detail in faults]) from None
        except ValueError as error:
            raise Invalid([DataFault("/data/data", f"not JSON: {error}")]) from None

    def _too_large(self) -> HttpProblem:
        return HttpProblem(413, "Too large", f"a command has at most {self._most} bytes with key and headers")


def later(command: CheckedCommand, data: bytes) -> list[tuple[str, str, str]]:
    """The commands that a command schedules, and that those schedule in turn: of each the type, the name and the id of
    its aggregate."""
    found: list[tuple[str, str, str]] = []
    type, name = command.type, command.name
    while (type, name) == _SCHEDULES:
        fields = msgspec.json.decode(data, type=ScheduleTimer)
        type, name, data = fields.to, fields.command, fields.data.encode()
        found.append((type, name, fields.id))
    return found


def body_of(command: CheckedCommand, data: bytes) -> bytes:
    """The body of a request to send a command, for another worker."""
    return msgspec.json.encode(_Body(command.name, msgspec.Raw(data)))


def command_id(headers: Any) -> str:
    """The command id of a header `Idempotency-Key`, plain or as the string of RFC 8941 that the draft wants; a new one
    without. Raises `HttpProblem`."""
    text = _text(headers, "Idempotency-Key")
    if (quoted := _QUOTED.fullmatch(text)) is not None:
        text = re.sub(r"\\(.)", r"\1", quoted[1])
    elif not text and "Idempotency-Key" not in headers:
        return str(uuid.uuid4())
    if text in ("", ".", ".."):  # the path of its status would be another one's
        raise BadRequest(f"Idempotency-Key: {text!r} is no id; leave the header out for a new one")
    if _OF_EVENTS.fullmatch(text):
        raise BadRequest(f"Idempotency-Key: {text!r} {_IS_OF_EVENTS}")
    return text


def wait_of(headers: Any, default: float = DEFAULT_WAIT) -> float:
    """How many seconds a client wants to wait."""
    return read_wait(",".join(headers.getall("Prefer", ())), default)


def read_path_id(raw_path: str, part: int) -> str:
    """The id that is a part of a path. Raises `HttpProblem`.

    From the path as it was sent: decoded leniently `%FF` would be taken for these three characters.
    """
    try:
        id = unquote_to_bytes(raw_path.split("/")[part]).decode()
    except UnicodeError:
        raise BadRequest("the id in the path is not percent-encoded UTF-8") from None
    if not 0 < len(id) <= MAX_ID_LENGTH:
        raise BadRequest(f"the id in the path has {len(id)} characters: use 1 to {MAX_ID_LENGTH}")
    return id


def fingerprint(type: str, aggregate_id: str, name: str, value: Any, expected: str = "") -> str:
    """The same for the same command with the same precondition, however its JSON is written."""
    what = (type, aggregate_id, name, value)
    text = msgspec.json.encode((*what, expected) if expected else what, order="deterministic")
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def _text(headers: Any, name: str) -> str:
    values = headers.getall(name, [""])
    if len(values) > 1:
        raise BadRequest(f"{name}: it stands there {len(values)} times, once is allowed")
    [text] = values
    if len(text) > MAX_ID_LENGTH:
        raise BadRequest(f"{name}: it has {len(text)} characters, at most {MAX_ID_LENGTH} are allowed")
    if text and not _READABLE.fullmatch(text):
        raise BadRequest(f"{name}: use printable ASCII characters")
    return str(text)


def _check_content_type(headers: Any) -> None:
    given = headers.get(hdrs.CONTENT_TYPE, "")
    if not is_json(given):
        raise HttpProblem(415, "Not JSON", f"Content-Type: {given!r}: send {JSON}, in UTF-8", {"Accept": JSON})


def _not_valid(faults: list[DataFault]) -> HttpProblem:
    where = "; ".join(f"{each.pointer or 'the body'}: {each.detail}" for each in faults)
    return HttpProblem(422, "Not valid", where, errors=faults)
