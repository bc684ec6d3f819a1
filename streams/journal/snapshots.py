"""The content of snapshots, and the states that a snapshot can hold.

A snapshot only saves reading: an aggregate without one is read from its events. So a state that cannot be written, that
would come back as another state, or that is too large for a store has no snapshot, and its aggregate goes on.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from functools import lru_cache, partial
from typing import Any, get_origin

import msgspec

from aggregates.decider import Decider
from schemas.sealing import Sealer, from_plain, plain
from streams.notices import warn

log = logging.getLogger(__name__)

MOST_BYTES = 8 * 1024 * 1024
"""Of a snapshot. Cassandra takes no mutation of more than half a commit log segment, 16 MB by default."""
_MOST_SAID = 1_000

_said: OrderedDict[tuple[str, str], None] = OrderedDict()
"""The latest aggregates of which it was logged that they have no snapshot."""


class FirstReply(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The content of the first reply to an accepted command, kept so that a repeat gets it again.

    `command` is the command's type and the digest of its data, empty where that was not kept.
    """

    nr: int
    sequence: int
    events: tuple[str, ...]
    command: str = ""


class _Content(msgspec.Struct):
    """The bytes of a snapshot: the state as JSON, its class where there are several, and the outcomes by command id,
    oldest first."""

    state: msgspec.Raw
    outcomes: dict[str, FirstReply]
    type: str = ""


_encode_state = msgspec.json.Encoder(enc_hook=plain).encode
_decode_content = msgspec.json.Decoder(_Content).decode


class StateForm:
    """The form of a decider's states in its snapshots: JSON, with the name of the class where the state is a union.

    What is personal in a state stands there sealed, as the event had it, and is opened with the keys of `sealer`.
    Raises `TypeError` when no snapshot can be read as one of its types.
    """

    def __init__(self, types: tuple[Any, ...], sealer: Sealer | None = None) -> None:
        self._tagged = len(types) > 1
        self._decoders = {
            name_of(type_): msgspec.json.Decoder(type_, dec_hook=partial(from_plain, sealer=sealer)) for type_ in types
        }
        self._classes = {get_origin(type_) or type_: name_of(type_) for type_ in types}
        if min(len(self._decoders), len(self._classes)) < len(types):
            raise TypeError(
                f"two of {', '.join(map(name_of, types))} have one name or class, which nobody could tell apart"
            )

    def encode(self, state: Any, outcomes: dict[str, FirstReply]) -> tuple[bytes, int]:
        """The content of a snapshot, and the bytes that the state takes. Raises `TypeError`, `ValueError`, or what the
        state itself raises, for one that would not come back as it is."""
        name = self._classes.get(type(state))
        if name is None:
            if self._tagged:
                raise TypeError(f"a {type(state).__name__} is none of {', '.join(self._decoders)}")
            [name] = self._decoders
        raw = _encode_state(state)
        if len(raw) <= MOST_BYTES and not _same(self._decoders[name].decode(raw), state):
            raise ValueError("it would come back as another: is each field annotated as what it holds?")
        content = msgspec.json.encode(_Content(msgspec.Raw(raw), outcomes, name if self._tagged else ""))
        return content, len(raw)

    def decode(self, content: bytes) -> tuple[Any, int, dict[str, FirstReply]]:
        """The state, the bytes that it took, and the outcomes. Raises `msgspec.DecodeError`, `ValueError`."""
        held = _decode_content(content)
        if self._tagged and held.type not in self._decoders:
            raise ValueError(f"it holds a {held.type or 'state without a class'}, not {' or '.join(self._decoders)}")
        decoder = self._decoders[held.type] if self._tagged else next(iter(self._decoders.values()))
        return decoder.decode(held.state), len(held.state), held.outcomes


def size_of(state: Any) -> int | None:
    """The bytes that a state takes in a snapshot; None for one that none can hold."""
    try:
        return len(_encode_state(state))
    except Exception:  # the state may raise what it likes
        return None


def form_of(decider: Decider[Any, Any, Any], sealer: Sealer | None = None) -> StateForm:
    """The form of a decider's states in snapshots. Without a sealer, what is sealed stays so. Raises `TypeError`."""
    keyed: Any = sealer  # by identity
    return _form(decider.state_types, keyed)


@lru_cache(maxsize=256)
def _form(types: tuple[Any, ...], sealer: Any) -> StateForm:
    return StateForm(types, sealer)


def name_of(type_: Any) -> str:
    """The name of a type of a union in a snapshot."""
    return type_.__name__ if isinstance(type_, type) else str(type_)


def say_once(type: str, aggregate_id: str, why: object) -> None:
    """Log that an aggregate has no snapshot, once."""
    if (type, aggregate_id) not in _said:
        text = "%s %r: no snapshot, it is read from its events: %s"
        warn(log, "no-snapshot", f"{type} {aggregate_id}", text, type, aggregate_id, why)
        _said[type, aggregate_id] = None
        if len(_said) > _MOST_SAID:
            _said.popitem(last=False)


def _by_identity(type_: type) -> bool:
    compare: Any = type_.__eq__
    return compare is object.__eq__


def _same(back: Any, state: Any) -> bool:
    # A class that compares by identity has no equal copies.
    return type(back) is type(state) and (_by_identity(type(state)) or bool(back == state))
