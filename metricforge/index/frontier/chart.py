"""The picture of a frontier: accuracy over bytes and over milliseconds."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from metricforge.arrays import Floats
from metricforge.index.frontier.choice import ALL, Choice, Frontier
from metricforge.index.kinds import KINDS
from metricforge.report.chart_style import FAINT, GRID, INK, SERIES, open_chart
from metricforge.report.save_figure import save_figure

COLOURS = dict(zip(KINDS, SERIES, strict=False))
MARKS = {ALL: "o", "pca": "s", "first": "^"}
REFINED = "D"
TICKS = {
    "bytes_a_vector": partial(LogLocator, base=2, numticks=10),
    "milliseconds_a_query": partial(LogLocator, subs=(1, 2, 5), numticks=10),
}
NEAR = 14  # points between two marks below which one's label would stand on the other's


def draw_frontier(frontier: Frontier, path: Path | str, title: str) -> None:
    """Draw ``frontier`` into the file ``path``, whose ending says the format; what is not of the Pareto set is faint.

    Raises:
        ValueError: for an unknown ending.
    """
    subtitle = (
        f"{frontier.queries:,} queries among {frontier.images:,} images; strong, with its dimensions: no other "
        "choice is better in one and as good in the rest"
    )
    figure, panels = open_chart(2, title, subtitle, footer=0.62)
    for axes, cost, label in zip(panels, TICKS, ("bytes a vector", "milliseconds a query"), strict=True):
        for choice in sorted(frontier.choices, key=lambda each: each.pareto):
            at = getattr(choice, cost), 100 * choice.score
            axes.plot(
                *at,
                marker=_mark(choice),
                color=COLOURS[choice.kind],
                markersize=7 if choice.pareto else 5,
                alpha=1.0 if choice.pareto else 0.3,
                markeredgecolor=INK if choice.pareto else "none",
                markeredgewidth=0.8,
                linestyle="none",
            )
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(TICKS[cost]())
        axes.xaxis.set_minor_locator(NullLocator())
        _write_dimensions(axes, frontier, cost)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=7))
        axes.set_xlabel(label, fontsize=9, color=INK)
        axes.grid(color=GRID, linewidth=0.8)
    panels[0].set_ylabel(f"{frontier.score}, per cent", fontsize=9, color=INK)
    figure.legend(
        handles=_legend(frontier),
        loc="lower center",
        ncols=5,
        frameon=False,
        fontsize=8.5,
        labelcolor=INK,
        handletextpad=0.4,
    )
    save_figure(figure, path)


def _write_dimensions(axes: Axes, frontier: Frontier, cost: str) -> None:
    """Label what is of the Pareto set: below right of its mark, or above left where a labelled one is near."""
    axes.get_xlim(), axes.get_ylim()  # brings the limits up to date, which place the marks
    labelled: list[Floats] = []
    for choice in (each for each in frontier.choices if each.pareto):
        at = getattr(choice, cost), 100 * choice.score
        place = axes.transData.transform(at) * 72 / axes.figure.dpi  # in points
        near = any(abs(place - other).max() < NEAR for other in labelled)
        labelled.append(place)
        axes.annotate(
            _dimensions(choice, frontier.dim),
            at,
            xytext=(-5, 4) if near else (5, -9),
            ha="right" if near else "left",
            textcoords="offset points",
            fontsize=7,
            color=FAINT,
        )


def _mark(choice: Choice) -> str:
    return REFINED if choice.refined else MARKS[choice.space.partition(":")[0]]


def _dimensions(choice: Choice, dim: int) -> str:
    return str(dim) if choice.space == ALL else choice.space.partition("+")[0].partition(":")[2]


def _legend(frontier: Frontier) -> list[Line2D]:
    kinds = dict.fromkeys(choice.kind for choice in frontier.choices)
    marks = dict.fromkeys(_mark(choice) for choice in frontier.choices)
    says = {"o": "all dimensions", "s": "principal components", "^": "first dimensions", REFINED: "refined"}
    looks = [("o", COLOURS[kind], kind) for kind in KINDS if kind in kinds]
    looks += [(mark, FAINT, says[mark]) for mark in says if mark in marks]
    return [Line2D([], [], marker=mark, linestyle="none", color=colour, label=label) for mark, colour, label in looks]
