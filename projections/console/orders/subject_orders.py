"""`/subjects/{id}`: what is known of a person's key; `POST /subjects/{id}/forget`: the order to forget him.

The order is on Kafka before anything is done. So whatever ends then, it is done: the owner of the subject puts the
fence where this worker has not, and tells process managers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from aggregates.subject import ForgetSubject, subject
from projections.app import ReadSide
from projections.console.orders.owner_orders import OwnerOrders, until
from projections.http.bodies import Post, Reason, read_body
from projections.http.problems import BadRequest, HttpProblem, NotNow, reading_from
from projections.views.history import state_at
from streams.access.principal import Role
from streams.deciding.messages import MAX_ID_LENGTH
from streams.journal.port import LAST_SEQUENCE, JournalMissing
from streams.kafka import topics
from streams.keys.keys import Keys
from streams.keys.management.port import KeyDestroyed
from streams.keys.receipt import Receipt, receipt
from streams.keys.records import next_erasure
from streams.moments import now
from streams.runtime.part import Part
from streams.runtime.rights import Rights
from streams.settings import SettingsError
from streams.web.health import json_response
from streams.web.operation import describe

TYPE = subject.type
TAG = "persons"


class ForgetOrder(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`dry_run`: do nothing, and say what would be done."""

    reason: Reason
    dry_run: bool = False


class ForgetOrderData(msgspec.Struct, frozen=True):
    """The data of `ForgetSubject`."""

    erasure: int


class Subjects(Part):
    """What orders about persons need of the servers."""

    def __init__(self, side: ReadSide) -> None:
        self._settings = side.app.settings
        self.orders = OwnerOrders(side, [TYPE] if TYPE in side.contexts else [])
        self._side = side

    @property
    def rights(self) -> Rights:
        settings = self._settings
        if TYPE not in self.orders.types:
            return Rights()
        return Rights(tuple(topics.type_topics(settings.namespace, TYPE, settings.partitions, topics.SENDS)))

    @property
    def keys(self) -> Keys:
        """The keys of the namespace. Raises `HttpProblem`."""
        keys = next((context.keys for context in self._side.contexts.values() if context.keys is not None), None)
        if keys is None:
            raise HttpProblem(409, "Nothing personal", "no event that is known here has a personal field")
        return keys

    async def forget(self, request: Any, id: str, order: ForgetOrder) -> Receipt:
        """Forget a subject, and say what was done. Raises `HttpProblem`, `Unavailable`."""
        keys = self.keys
        key = await keys.look(id)
        if order.dry_run:
            return await receipt(keys, id, key, at=now() if key is None or key.state != "erased" else key.at)
        erasure = next_erasure(key)
        if TYPE in self.orders.types:
            await self.orders.send(TYPE, [(id, ForgetSubject.__name__, ForgetOrderData(erasure))])
        key = await keys.erase(id, order.reason, erasure)

        async def is_told() -> bool:
            context, journal = self._side.contexts[TYPE], self._side.journals[TYPE]
            state, _ = await state_at(context, journal, id, LAST_SEQUENCE, request)
            return bool(state.forgotten >= erasure)

        return await receipt(keys, id, key, told=TYPE in self.orders.types and await until(is_told))


def add_subjects(side: ReadSide) -> None:
    """Serve them. Where `subject` is among the types of the app process managers are told, too."""
    subjects = Subjects(side)
    side.app.add(subjects)

    @side.app.page("/subjects/{id:[^/]+}", name="subject")
    @describe(
        TAG, "What is known of a person's key, by the id of the subject", Receipt, problems=(400, 409, 503),
        role=Role.AUDITOR,
    )  # fmt: skip
    async def show(view: Any, request: Any, id: str) -> Any:
        with _answering():
            return json_response(view, await receipt(subjects.keys, checked(id), await subjects.keys.look(id)))

    @side.app.page("/subjects/{id:[^/]+}/forget", base=Post, name="subject-forget")
    @describe(
        TAG, "Forget a person for ever: nothing that was sealed for the subject is ever read again, in no copy",
        Receipt, body=ForgetOrder, problems=(400, 409, 503), role=Role.OPERATOR,
    )  # fmt: skip
    async def forget(view: Any, request: Any, id: str) -> Any:
        order = await read_body(request, ForgetOrder)
        with _answering():
            return json_response(view, await subjects.forget(request, checked(id), order))


@contextmanager
def _answering() -> Iterator[None]:
    """Raise `NotNow` where the store of keys does not answer, or is not there."""
    try:
        with reading_from("the store of keys"):
            yield
    except (JournalMissing, SettingsError, KeyDestroyed) as error:
        raise NotNow(f"keys of persons: {error}") from None


def checked(id: str) -> str:
    """The id of a subject, which is that of an aggregate. Raises `HttpProblem`."""
    if len(id) > MAX_ID_LENGTH or not id.isprintable():
        raise BadRequest(f"an id has 1 to {MAX_ID_LENGTH} characters, and none of them is a control character")
    return id
