"""The events of the audit, in JSON of an Avro schema (`schemas/engine/audit`), as CloudEvents.

An action is two records under one key: that it is requested, and how it ended.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import msgspec

from schemas.codec import Codec, content_type_of
from schemas.formats import JSON
from schemas.registry import Schemas
from streams.kafka.client import ProducerRecord
from streams.moments import in_utc, now
from streams.text import one_line, printable

NOBODY = "nobody"
"""Where nobody need say who he is."""
MOST_TEXT = 2_000
"""Characters of a text; of a longer one the end is left out."""
MOST_PARAMETERS = 50
MOST_OF_ALL = 20_000
"""Characters of all parameters: whoever reads the audit has a thousand of them in memory at once."""
_SECRET = re.compile("password|secret|token|credential", re.IGNORECASE)


class Outcome(StrEnum):
    """What came of an action. Accepted: it is done, or will be. Refused: nothing is changed. Failed: it is not known
    how much was done."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class ActionRequested:
    """Somebody wants to change how the system works.

    action      what is to be done, as `dead-letters drop`
    app         the app that is asked
    who         `token:`, `oidc:` or `cert:` and a name that was proved; `os:user@host` of a command line; or `NOBODY`
    address     where it comes from
    client      the program that asks, as it calls itself
    parameters  what it is about; an aggregate is `type` and `id`
    reason      why; empty for none
    """

    action: str
    app: str
    who: str
    address: str
    client: str
    parameters: Mapping[str, str]
    reason: str = ""


@dataclass(frozen=True)
class ActionEnded:
    """What came of an action: the effect or the problem is the `detail`."""

    outcome: Outcome
    detail: str


CODEC = Codec(
    Schemas.load("engine", "audit"),
    {"ActionRequested": ActionRequested, "ActionEnded": ActionEnded},
    format=JSON,
)


def new_id() -> str:
    """The key of an action's records."""
    return uuid.uuid4().hex


def parameters_of(values: Mapping[str, object]) -> dict[str, str]:
    """Values as the audit has them: text as it is, all else as JSON, without what is not given; of many the last are
    left out. What is called a secret is not shown."""
    given = [(name, value) for name, value in values.items() if value is not None]
    shown: dict[str, str] = {}
    room = MOST_OF_ALL
    for name, value in given[:MOST_PARAMETERS]:
        short, text = in_short(name), _shown(name, value)
        room -= len(short) + len(text)
        if room < 0:
            break
        shown[short] = text
    return shown


def _shown(name: str, value: object) -> str:
    if _SECRET.search(name):
        return "(not shown)"
    return in_short(value if isinstance(value, str) else msgspec.json.encode(value).decode())


def in_short(text: str) -> str:
    """On one line, and of bounded length. What is no character of UTF-8 is replaced."""
    first = text[: 2 * MOST_TEXT]  # what becomes of each character takes its time, and there may be a million
    plain = printable(one_line(first) if first.strip() else "").encode(errors="replace").decode()
    is_whole = len(first) == len(text) and len(plain) <= MOST_TEXT
    return plain if is_whole else f"{plain[:MOST_TEXT]}.."


def record(id: str, event: ActionRequested | ActionEnded, source: str, at: datetime | None = None) -> ProducerRecord:
    """An event of the action `id` as it goes to Kafka. `source` is the app that writes it."""
    value, name = CODEC.encode(event), type(event).__name__
    schema = CODEC.schema_of(value)
    headers = {
        "ce_specversion": "1.0",
        "ce_id": f"{id}:{name}",
        "ce_type": name,
        "ce_source": source,
        "ce_time": in_utc(at or now()),
        "ce_correlationid": id,
        "ce_dataschema": f"urn:avro:{schema.full_name}:{schema.version}:{schema.fingerprint}",
        "content-type": content_type_of(value),
    }
    return id.encode(), value, [(header, text.encode()) for header, text in headers.items()]
