"""The picture of a frontier: accuracy over bytes and over milliseconds."""

from __future__ import annotations

from pathlib import Path

from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from metricforge.index.frontier import ALL, Choice, Frontier
from metricforge.index.kinds import KINDS
from metricforge.report.chart_style import FAINT, GRID, INK, SERIES, open_chart
from metricforge.report.save_figure import save_figure

COLOURS = dict(zip(KINDS, SERIES, strict=False))
MARKS = {ALL: "o", "pca": "s", "first": "^"}
REFINED = "D"


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
    for axes, cost, label in zip(
        panels, ("bytes_a_vector", "milliseconds_a_query"), ("bytes a vector", "milliseconds a query"), strict=True
    ):
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
            if choice.pareto:
                axes.annotate(
                    _dimensions(choice, frontier.dim),
                    at,
                    xytext=(5, -9),
                    textcoords="offset points",
                    fontsize=7,
                    color=FAINT,
                )
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
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
