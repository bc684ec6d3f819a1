"""A finding: something that somebody should know of, and the one thing to do about it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

import msgspec

Severity = Literal["act", "look", "note"]
"""`act`: something stands still, or cannot be asked for; `look`: it may become so; `note`: all is as it should be."""
Kind = Literal["context", "log", "stream", "projection", "table", "type", "aggregate", "key", "worker", "subject"]
"""`subject`: whatever a worker has spoken of: a topic, a file, a host."""


class Concern(msgspec.Struct, frozen=True):
    """Whom a finding concerns. An aggregate is named by type and id: `order 536365`."""

    kind: Kind
    name: str


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A `POST` that does what is to be done.

    label    what it does, in two or three words
    about    what will happen
    reason   whether its body takes a `reason` besides
    """

    label: str
    about: str
    path: str
    body: Mapping[str, str] = {}
    reason: bool = False


class Remedy(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done: in words, as a command for the shell, and as orders of which one will do."""

    text: str
    command: str = ""
    orders: Sequence[Order] = ()


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that somebody should know of.

    id          the same for as long as it is the same
    title       what it is, in one sentence
    detail      what the system says of it, which may hold what strangers have written
    since       when it began, as far as that is known; else when it was first seen
    act_after   seconds after which what is to be looked at becomes urgent; None: never
    """

    id: str
    severity: Severity
    title: str
    remedy: Remedy
    detail: str = ""
    concerns: Sequence[Concern] = ()
    since: datetime | None = None
    act_after: float | None = None


NOT_AN_APP = "APP"


def faust(app: str, *arguments: str) -> str:
    """A command of an app's command line; `APP` stands for one that is not known.

    Ids are a stranger's: they are quoted for the shell. None is given where one has what a terminal would act on.
    """
    words = ["faust", "-A", app or NOT_AN_APP, *arguments]
    return shlex.join(words) if all(word.isprintable() for word in words) else ""


def several(count: int, noun: str) -> str:
    """`1 event`, `3 events`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def some_of(names: Sequence[str], most: int = 3) -> str:
    """The first few of some names, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
