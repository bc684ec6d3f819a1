"""Plots of what was measured: one value or more against what grows, both from zero up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot

WIDTH, HEIGHT = 7.0, 3.2
ROOM = 1.3
"""For the legend, above the highest point."""


@dataclass
class Line:
    """One line of a panel: its points, and for each the range that was seen, if that is to be shown."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()


@dataclass
class Panel:
    """Lines over the same axes; `mark` is a place on the x axis, with its label."""

    y_label: str
    lines: Sequence[Line]
    mark: tuple[float, str] | None = None


def plot(file: Path, title: str, x_label: str, panels: Sequence[Panel], logarithmic: bool = True) -> None:
    """Write the panels, one below the other, as a PNG."""
    figure, all_axes = pyplot.subplots(
        len(panels), 1, sharex=True, squeeze=False, figsize=(WIDTH, HEIGHT * len(panels)), layout="constrained"
    )
    figure.suptitle(title, fontsize=11)
    for panel, axes in zip(panels, all_axes[:, 0], strict=True):
        for line in panel.lines:
            [drawn] = axes.plot(line.x, line.y, marker="o", markersize=3.5, label=line.label)
            if line.low:
                axes.vlines(line.x, line.low, line.high, colors=drawn.get_color(), alpha=0.45, linewidth=2)
        if panel.mark is not None:
            axes.axvline(panel.mark[0], linestyle="--", color="grey", linewidth=1, label=panel.mark[1])
        if logarithmic:
            axes.set_xscale("log")
        axes.set_ylim(0, ROOM * max(max(line.high or line.y) for line in panel.lines))
        axes.set_ylabel(panel.y_label)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, loc="upper left", ncols=2)
    all_axes[-1, 0].set_xlabel(x_label)
    file.parent.mkdir(exist_ok=True)
    figure.savefig(file, dpi=130)
    pyplot.close(figure)
