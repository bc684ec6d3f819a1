"""Your own deciders and process managers under thousands of schedules: what is late, comes twice, or crashes when.

One seed decides everything, so a schedule that fails can be had again. It is made small before it is shown: what is not
needed for the failure is left out.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from random import Random
from typing import Any, NamedTuple, TypeVar

from sourced.testing.play import Again, Chance, Check, Clients, Crash, Fault, Faults, Play, Script
from sourced.testing.system import System

T = TypeVar("T")

COUNT = 1_000
"""Schedules of a test, where nobody says another number."""
MOST_PLAYS = 2_000
"""Runs in which a failing schedule is made small, about."""
OTHERS = 60
"""Schedules by chance that are tried where a command is left out."""
SHOWN = 60
"""Steps of a story that are shown: the last ones."""


class ScheduleFailed(AssertionError):
    """An invariant does not hold, or the domain raised, under the schedule of `seed`. `story` has its steps once it was
    made small, those that went wrong with `!`."""

    def __init__(self, message: str, seed: int, story: Sequence[str]) -> None:
        super().__init__(message)
        self.seed = seed
        self.story = story


class Explored(NamedTuple):
    """How much was tried: schedules, their steps, and the faults in them."""

    schedules: int
    steps: int
    faults: int


@dataclass(frozen=True)
class _Case:
    """A schedule in full: what clients send, and the script."""

    clients: tuple[tuple[Any, ...], ...]
    turns: tuple[tuple[int, str], ...]
    faults: tuple[tuple[int, Fault], ...]

    @property
    def script(self) -> Script:
        wrong: dict[int, list[Fault]] = {}
        for step, fault in self.faults:
            wrong.setdefault(step, []).append(fault)
        return Script(dict(self.turns), dict(wrong))


class Schedules:
    """Runs systems under schedules by chance: `count` of them, or the one of `seed` alone.

    As a fixture of pytest it has its numbers from `--schedules` and `--schedule-seed`. `again` says with which command
    a schedule is run again, given its seed.
    """

    def __init__(
        self, count: int = COUNT, seed: int | None = None, again: Callable[[int], str] = lambda seed: f"seed={seed}"
    ) -> None:
        self._seeds: Sequence[int] = range(count) if seed is None else [seed]
        self._again = again

    def run(
        self,
        system: System,
        clients: Clients | Callable[[Random], Clients],
        *,
        always: Check | None = None,
        at_the_end: Check | None = None,
        faults: Faults = Faults(),  # noqa: B008  (frozen)
        horizon: timedelta = timedelta(days=30),
    ) -> Explored:
        """Run what `clients` send in systems like this one, and hold the invariants: `always` after each step,
        `at_the_end` when all is at rest and every timer within the `horizon` has fired.

        `clients` has for each client its commands, or makes them by chance. Each sends a command when the one before
        it is answered. Raises `ScheduleFailed` for the first schedule under which something raises.
        """
        __tracebackhide__ = True  # pytest shows the line of the test
        steps = wrong = 0
        for seed in self._seeds:
            rng = Random(seed)
            sends = _frozen(clients(rng) if callable(clients) else clients)
            chance = Chance(rng, faults)
            play = Play(system.fresh(), sends, chance, always, horizon)
            try:
                play.run(at_the_end)
            except Exception as error:
                case = _Case(sends, tuple(chance.script.turns.items()), _flat(chance.script))
                trial = _Trial(system, always, at_the_end, horizon, _signature(error))
                raise self._failed(seed, case, trial, error, play) from error
            steps, wrong = steps + play.step, wrong + play.wrong
        return Explored(len(self._seeds), steps, wrong)

    def _failed(self, seed: int, case: _Case, trial: _Trial, error: Exception, first: Play) -> ScheduleFailed:
        small = _Shrinking(trial).smallest(case)
        story, again = trial.tell(small)
        if again is None:
            what = "it does not fail when the same is done again: does the domain use a clock, chance or what it keeps?"
            return ScheduleFailed(f"seed {seed}: {_said(error)}\n{what}", seed, ())
        wrong = sum(line.startswith("!") for line in story)
        out_of_turn, of = len(small.turns), f"{first.step} steps, {len(case.turns)} and {first.wrong}"
        lines = [f"{number:4}  {line}" for number, line in enumerate(story, 1)][-SHOWN:]
        head = f"{_said(again)}\n\nunder the schedule of seed {seed}, made small: {len(story) - wrong} steps, "
        head += f"{out_of_turn} out of turn, {wrong} {'fault' if wrong == 1 else 'faults'} (it had {of})"
        return ScheduleFailed("\n".join([head, *lines, f"again: {self._again(seed)}"]), seed, story)


@dataclass(frozen=True)
class _Trial:
    """Whether another schedule fails in the same way."""

    system: System
    always: Check | None
    at_the_end: Check | None
    horizon: timedelta
    signature: object

    def fails(self, case: _Case) -> bool:
        """Whether it does."""
        return self._error(case, self.system.fresh()) is not None

    def by_chance(self, case: _Case, seed: int, faults: Faults) -> Script | None:
        """A script by chance for what is sent, if it fails in the same way."""
        chance = Chance(Random(seed), faults)
        error = self._raised(Play(self.system.fresh(), case.clients, chance, self.always, self.horizon))
        return None if error is None else chance.script

    def turns(self, case: _Case) -> list[tuple[int, str]]:
        """Who could have a turn that is not his, and when, as all goes in order."""
        script = _Noted(wrong=case.script.wrong)
        self._raised(Play(self.system.fresh(), case.clients, script, self.always, self.horizon))
        return script.others

    def tell(self, case: _Case) -> tuple[list[str], Exception | None]:
        """The story of a schedule, and what it raises."""
        system = self.system.fresh()
        story: list[str] = []
        system.world.story = story
        return story, self._error(case, system)

    def _error(self, case: _Case, system: System) -> Exception | None:
        return self._raised(Play(system, case.clients, case.script, self.always, self.horizon))

    def _raised(self, play: Play) -> Exception | None:
        try:
            play.run(self.at_the_end)
        except Exception as error:
            return error if _signature(error) == self.signature else None
        return None


@dataclass
class _Noted(Script):
    """Notes who else could have had a turn."""

    others: list[tuple[int, str]] = field(default_factory=list)

    def turn(self, step: int, names: Sequence[str]) -> str:
        self.others += [(step, name) for name in names[1:]]
        return super().turn(step, names)


class _Shrinking:
    """The way to a schedule that fails too, from which nothing can be left out."""

    def __init__(self, trial: _Trial) -> None:
        self._trial = trial
        self._left = MOST_PLAYS

    def smallest(self, case: _Case) -> _Case:
        before = None
        while case != before and self._left > 0:
            before = case
            case = self._with_fewer(case)
            for number, sent in reversed([(n, sent) for n, client in enumerate(case.clients) for sent in client]):
                case = self._without(case, number, sent) or case
            case = self._with_one_turn(case) or case
        return case

    def _fails(self, case: _Case) -> bool:
        self._left -= 1
        return self._left > 0 and self._trial.fails(case)

    def _with_fewer(self, case: _Case) -> _Case:
        """Fewer faults, simpler and sooner ones, and fewer turns out of order."""

        def faults(it: tuple[tuple[int, Fault], ...]) -> bool:
            return self._fails(replace(case, faults=it))

        def turns(it: tuple[tuple[int, str], ...]) -> bool:
            return self._fails(replace(case, turns=it))

        case = replace(case, faults=_fewest(case.faults, faults))
        case = replace(case, turns=_fewest(case.turns, turns))
        case = replace(case, faults=_first(case.faults, _simpler, faults))
        case = replace(case, faults=_first(case.faults, _sooner, faults))
        return replace(case, turns=_first(case.turns, _sooner, turns))

    def _without(self, case: _Case, number: int, sent: Any) -> _Case | None:
        """The same without one command. Steps count otherwise then, so where the script does not fail any more, others
        are tried by chance, with the kinds of faults that it had."""
        clients = tuple(
            tuple(it for it in client if at != number or it is not sent) for at, client in enumerate(case.clients)
        )
        fewer = replace(case, clients=clients)
        if self._fails(fewer):
            return fewer
        wrong = [fault for _, fault in case.faults]
        allowed = Faults(
            delays=bool(case.turns),
            crashes=any(isinstance(it, Crash) for it in wrong),
            repeats=any(isinstance(it, Again) for it in wrong),
            forgotten=any(isinstance(it, Again) and it.forgotten for it in wrong),
        )
        for seed in range(OTHERS):
            script = self._trial.by_chance(fewer, seed, allowed)
            self._left -= 1
            if script is not None and len(script.wrong) <= len(wrong):
                other = self._with_fewer(_Case(clients, tuple(script.turns.items()), _flat(script)))
                if (len(other.faults), len(other.turns)) <= (len(case.faults), len(case.turns)):
                    return other
        return None

    def _with_one_turn(self, case: _Case) -> _Case | None:
        """Where several have their turn out of order, one may be enough: another one."""
        if len(case.turns) < 2:
            return None
        for step, name in self._trial.turns(case):
            other = replace(case, turns=((step, name),))
            if self._fails(other):
                return other
        return None


def _fewest(items: tuple[T, ...], fails: Callable[[tuple[T, ...]], bool]) -> tuple[T, ...]:
    """A. Zeller, R. Hildebrandt, "Simplifying and Isolating Failure-Inducing Input" (2002): leave out as many as can
    be, first large parts, then one by one."""
    size = len(items)
    while size:
        start = 0
        while start < len(items):
            fewer = items[:start] + items[start + size :]
            if fails(fewer):
                items = fewer
            else:
                start += size
        size = min(size, len(items)) // 2 if size > 1 else 0
    return items


def _first(
    items: tuple[T, ...], simpler: Callable[[T], Iterable[T]], fails: Callable[[tuple[T, ...]], bool]
) -> tuple[T, ...]:
    """The items, each replaced by the first of its simpler forms that still fails."""
    for index, item in enumerate(items):
        others = ((*items[:index], other, *items[index + 1 :]) for other in simpler(item))
        items = next((other for other in others if fails(other)), items)
    return items


def _sooner(item: tuple[int, Any]) -> Iterable[tuple[int, Any]]:
    step, what = item
    return ((before, what) for before in range(step))


def _simpler(item: tuple[int, Fault]) -> Iterable[tuple[int, Fault]]:
    step, fault = item
    match fault:
        case Again(channel, back, forgotten):
            return [(step, Again(channel, 1, False))] * forgotten + [(step, Again(channel, 1, forgotten))] * (back > 1)
        case Crash(type, back):
            return [(step, Crash(type, 1))] * (back > 1)


def _frozen(clients: Clients) -> tuple[tuple[Any, ...], ...]:
    return tuple(tuple(client) for client in clients)


def _flat(script: Script) -> tuple[tuple[int, Fault], ...]:
    return tuple((step, fault) for step, faults in script.wrong.items() for fault in faults)


def _signature(error: Exception) -> object:
    """What tells a failure from others: its type, and the line that raised it."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return type(error), frame.filename, frame.lineno


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else _line_of(error)


def _line_of(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {frame.line} (line {frame.lineno} of {frame.filename})"
