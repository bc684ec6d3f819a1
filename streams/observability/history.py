"""The figures of the last hour, a point every ten seconds, in memory of fixed size."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Mapping
from math import isnan, nan

POINT_SECONDS = 10
POINTS = 360


class History:
    """Some figures by name, each with its newest points. What nobody has noted is unknown.

    Points stand at whole multiples of `POINT_SECONDS` since 1970, so those of several workers can be laid side by side.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._figures = {name: array("d", [nan] * POINTS) for name in names}
        self._newest = 0
        """The point noted last, counted since 1970."""

    def note(self, moment: float, figures: Mapping[str, float | None]) -> None:
        """Note a point at a time, in seconds since 1970. What it passes over is unknown."""
        point = int(moment // POINT_SECONDS)
        for passed in range(max(self._newest + 1, point - POINTS + 1), point + 1):
            for values in self._figures.values():
                values[passed % POINTS] = nan
        for name, value in figures.items():
            self._figures[name][point % POINTS] = nan if value is None else value
        self._newest = max(self._newest, point)

    def until(self, moment: float) -> dict[str, list[float | None]]:
        """The last `POINTS` points of each figure up to a time, the oldest first."""
        last = int(moment // POINT_SECONDS)
        points = range(last - POINTS + 1, last + 1)
        return {name: [self._point(values, point) for point in points] for name, values in self._figures.items()}

    def _point(self, values: array[float], point: int) -> float | None:
        if not self._newest - POINTS < point <= self._newest or isnan(value := values[point % POINTS]):
            return None
        return value
