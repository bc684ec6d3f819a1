"""The decider: an aggregate as a value of pure functions.

Source: J. Chassaing, "Functional Event Sourcing Decider" (2021).
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, is_dataclass
from functools import cached_property, reduce
from inspect import signature
from types import UnionType
from typing import Any, Generic, TypeVar, Union, get_args, get_origin, get_type_hints

from aggregates.principal import Principal

C = TypeVar("C")
E = TypeVar("E")
S = TypeVar("S")

FORBIDDEN = "Forbidden"
"""The type of the rejection of a command that its sender may not send."""


class Rejected(Exception):
    """The domain refuses a command. Nothing is written; the sender gets the reason.

    `type` is a stable name for programs (`OutOfStock`), `message` is for people.
    """

    def __init__(self, type: str, message: str) -> None:
        super().__init__(f"{type}: {message}")
        self.type = type
        self.message = message


@dataclass(frozen=True)
class Decider(Generic[C, E, S]):
    """An aggregate type: its name, its initial state and its two pure functions.

    `decide(command, state)` returns the events that follow, `[]` for a command that was honoured before, or raises
    `Rejected`. `evolve(state, event)` returns the next state and never fails: an event is a fact. The annotations of
    `command` and `event` are the unions of the classes, from which the engine learns them. The annotation of `state` in
    `evolve` is the type that a snapshot is read as, and may be a union of classes, too. Raise `state_version` when the
    state changes its meaning: older snapshots are then ignored, and made again from the events. `internal` has the
    names of the commands that process managers send and clients may not.

    `may(principal, command, state)` is the rule on who may send what, where there is one: pure, like `decide`, before
    which it is asked, of the same state. Its principal is None for a command of nobody, which whoever may write to the
    commands topic has sent; the rule says what that means. What it refuses is rejected as `Forbidden`.
    """

    type: str
    initial: S
    decide: Callable[[C, S], list[E]]
    evolve: Callable[[S, E], S]
    state_version: int = 1
    internal: Sequence[str] = ()
    may: Callable[[Principal | None, C, S], bool] | None = None

    def check(self, principal: Principal | None, command: C, state: S) -> None:
        """Raise `Rejected` where the rule does not let a principal send a command."""
        if self.may is not None and not self.may(principal, command, state):
            who = "nobody who is known" if principal is None else str(principal)
            raise Rejected(FORBIDDEN, f"{who} may not send {builtins.type(command).__name__} here")

    @cached_property
    def accepts(self) -> Sequence[str]:
        """The names of its commands that clients may send themselves."""
        return tuple(name for name in self.commands if name not in self.internal)

    @cached_property
    def commands(self) -> dict[str, builtins.type]:
        """The command classes by name."""
        return _members(self.decide, "command")

    @cached_property
    def events(self) -> dict[str, builtins.type]:
        """The event classes by name."""
        return _members(self.evolve, "event")

    @cached_property
    def state_types(self) -> tuple[Any, ...]:
        """The types that a state may have: the annotation of `evolve`, or the members of that union."""
        annotation = _first_hint(self.evolve)
        if annotation is None or annotation is Any or isinstance(annotation, TypeVar):
            return (builtins.type(self.initial),)
        annotation = getattr(annotation, "__value__", annotation)  # type State = ..
        return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)

    def fold(self, events: Iterable[E], state: S | None = None) -> S:
        """The state after `events`, starting from `state` or else from the initial state."""
        return reduce(self.evolve, events, self.initial if state is None else state)


def _first_hint(function: Callable[..., Any]) -> Any:
    """The annotation of a function's first argument; None without one."""
    try:
        hints, names = get_type_hints(function), list(signature(function).parameters)
    except NameError as error:
        raise TypeError(f"{function.__name__} of {function.__module__}: {error}") from None
    except (TypeError, ValueError):
        return None
    return hints.get(names[0]) if names else None


def _members(function: Callable[..., Any], argument: str) -> dict[str, type]:
    where = f"{function.__name__} of {function.__module__}"
    try:
        annotation = get_type_hints(function)[argument]
    except NameError as error:
        raise TypeError(f"{where}: {error}: say there which classes it takes, as in A | B") from None
    except KeyError:
        raise TypeError(f"{where} has no argument {argument} with the union of its classes as annotation") from None
    members = get_args(annotation) or (annotation,)
    if wrong := [str(member) for member in members if not is_dataclass(member)]:
        raise TypeError(f"{where}: {argument} may be {', '.join(wrong)}, which is no dataclass")
    return {member.__name__: member for member in members}
