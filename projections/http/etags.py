"""ETags: what tells one representation of a row from another, and which ones a client has.

An ETag names the table, the row's position, the aggregate's sequence and a hash of the bytes:
`"orders-1/order-3:125:0/9/5f1c2ab34d5e6f70"`. So another version of a projection, and a row that was corrected without
a newer event, are other representations; and a command can be conditional on the sequence that its sender has seen.

https://www.rfc-editor.org/rfc/rfc9110.html#section-13.1
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from streams.journal.position import PATTERN

_ELEMENT = re.compile(r'[ \t]*(?:(W/)?"([\x21\x23-\x7e\x80-\U0010ffff]*)"[ \t]*)?(?:,|\Z)')
_TAG = re.compile(rf'([^/"]+)/({PATTERN})/([0-9]{{1,18}})/([0-9a-f]{{16}})')


class Tag(NamedTuple):
    """A representation of a row, `str(tag)` without the quotes of an ETag. `sequence` is that of its aggregate."""

    table: str
    position: str
    sequence: int
    digest: str

    def __str__(self) -> str:
        return f"{self.table}/{self.position}/{self.sequence}/{self.digest}"

    @property
    def etag(self) -> str:
        """The strong entity tag."""
        return f'"{self}"'


def tag_of(table: str, position: str, sequence: int, body: bytes) -> Tag:
    """The tag of a row as these bytes show it."""
    return Tag(table, position, sequence, _digest(body))


def etag_of_body(body: bytes) -> str:
    """The strong entity tag of an answer that is of no one row: these bytes, whatever they were made of."""
    return f'"{_digest(body)}"'


def _digest(body: bytes) -> str:
    return hashlib.blake2b(body, digest_size=8).hexdigest()


def read_tag(text: str) -> Tag | None:
    """The tag that `str(tag)` has written; None for any other text."""
    parts = _TAG.fullmatch(text)
    return None if parts is None else Tag(parts[1], parts[2], int(parts[3]), parts[4])


class Entity(NamedTuple):
    """An entity tag as a client sends it, without its quotes."""

    tag: str
    is_weak: bool


def read_entities(values: Iterable[str]) -> list[Entity] | None:
    """The entity tags in all headers of one name, None for `*`. Raises `ValueError` for anything but a list of tags."""
    text = ",".join(values)
    if text.strip(" \t") == "*":
        return None
    entities: list[Entity] = []
    at = 0
    while at < len(text):
        element = _ELEMENT.match(text, at)
        if element is None:
            raise ValueError(f'{text!r} is no list of entity tags like "a", W/"b"')
        if element[2] is not None:
            entities.append(Entity(element[2], element[1] is not None))
        at = element.end()
    return entities


def is_known(headers: Any, etag: str) -> bool:
    """Whether `If-None-Match` names this strong entity tag: the client has this representation, the answer is 304.

    Weak tags count, as a proxy that compresses makes them. A header that cannot be read counts as none.
    """
    try:
        known = read_entities(headers.getall("If-None-Match", ()))
    except ValueError:
        return False
    return known is None or any(f'"{entity.tag}"' == etag for entity in known)


def unless_known(view: Any, request: Any, body: bytes, headers: Mapping[str, str]) -> Any:
    """The answer with this body, as `view` makes it, or 304 where the client has it: `headers` have its `ETag`."""
    sent = {"Cache-Control": "no-cache", **headers}
    if is_known(request.headers, headers["ETag"]):
        return view.bytes(b"", status=304, headers=sent)
    return view.bytes(body, content_type="application/json", headers=sent)
